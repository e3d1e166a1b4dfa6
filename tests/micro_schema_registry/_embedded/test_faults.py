"""The embedded registry when writers are killed, servers restart and a node of a cluster dies."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from tests.micro_schema_registry import dying_writer
from tests.micro_schema_registry.jetstream import JetStreamServer, cluster, single

from micro_schema_registry._embedded.registry import EmbeddedRegistry
from micro_schema_registry._errors import (
    IncompatibleSchemaError,
    RegistryConnectionError,
    SchemaExistsError,
    SchemaNotFoundError,
)
from micro_schema_registry._model.models import CachedSchema


def schema(*names: str) -> dict[str, Any]:
    """Return a record of fields without defaults: dropping one is backward compatible."""
    fields = [{"name": name, "type": "int"} for name in names]
    return {"type": "record", "name": "R", "fields": fields}


@pytest.fixture
async def registry(nc: Client, bucket: str) -> EmbeddedRegistry:
    return EmbeddedRegistry(nc, "g", bucket=bucket)


class Dying:
    """Writers that are killed between the version and the head."""

    def __init__(self, url: str, bucket: str) -> None:
        self._arguments = (url, bucket)

    async def register(self, artifact_id: str, content: dict[str, Any]) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            dying_writer.__file__,
            *self._arguments,
            artifact_id,
            json.dumps(content),
        )
        assert await process.wait() == dying_writer.STATUS


@pytest.fixture
def dying(jetstream: JetStreamServer, bucket: str) -> Dying:
    return Dying(jetstream.url, bucket)


async def test_a_version_whose_writer_died_is_found_by_the_next_one(
    registry: EmbeddedRegistry, dying: Dying
) -> None:
    await dying.register("A", schema("a"))

    # Nobody was told of it, so it need not be visible yet.
    with pytest.raises(SchemaNotFoundError):
        await registry.get_schema("A")
    found = await registry.register_schema("A", schema("a"))

    assert found.version == "1"
    assert await registry.get_schema("A") == found
    assert (await registry.list_versions("A")).count == 1


async def test_the_next_writer_goes_on_after_the_dead_ones(
    registry: EmbeddedRegistry, dying: Dying
) -> None:
    first = await registry.register_schema("A", schema("a"))
    await dying.register("A", schema("b"))

    assert await registry.get_schema("A") == first
    third = await registry.register_schema("A", schema("c"))

    assert third.version == "3"
    second = await registry.get_schema("A", version="2")
    assert second.schema == schema("b")
    assert first.global_id < second.global_id < third.global_id
    assert await registry.get_schema_by_global_id(second.global_id) == schema("b")


async def test_a_version_without_head_is_served_by_its_id(
    registry: EmbeddedRegistry, dying: Dying
) -> None:
    first = await registry.register_schema("A", schema("a"))
    await dying.register("A", schema("b"))

    # The dead writer wrote two values: the content, then the version.
    assert await registry.get_schema_by_content_id(first.global_id + 2) == schema("b")
    assert await registry.get_schema_by_global_id(first.global_id + 3) == schema("b")


async def test_what_a_dead_writer_left_counts_for_rules_and_if_exists(
    registry: EmbeddedRegistry, dying: Dying
) -> None:
    await registry.set_rule("COMPATIBILITY", "BACKWARD")
    await registry.register_schema("A", schema("a", "b", "c"))
    await dying.register("A", schema("a"))

    # Fine after version 1, but not after the version that has no head yet.
    with pytest.raises(IncompatibleSchemaError):
        await registry.register_schema("A", schema("a", "b"))
    assert (await registry.get_schema("A")).version == "2"

    await dying.register("B", schema("a"))
    with pytest.raises(SchemaExistsError):
        await registry.register_schema("B", schema("a"), "FAIL")


async def test_a_cancelled_registration_leaves_a_sound_registry(
    registry: EmbeddedRegistry, jetstream: JetStreamServer, bucket: str
) -> None:
    """Cancel after every possible number of requests, also between version and head."""
    ended: list[object] = []
    for stop_after in range(14):
        async with jetstream.connect() as connection:
            limited = _Limited(connection, stop_after)
            other = EmbeddedRegistry(limited, "g", bucket=bucket)  # type: ignore[arg-type]  # not a whole client
            task = asyncio.create_task(other.register_schema("A", schema(f"f{stop_after}")))
            limited.task = task
            await asyncio.wait([task])
        ended.append(task.cancelled() or task.result().version)

    # First the bucket is made and everything read; the last one had requests enough.
    assert True in ended
    assert isinstance(ended[-1], str)
    made = await registry.register_schema("A", schema("last"))
    versions = (await registry.list_versions("A")).items
    assert made.version == str(len(versions))
    assert [v.version for v in versions] == [str(n + 1) for n in range(len(versions))]
    for version in versions:
        served = await registry.get_schema_by_global_id(version.global_id)
        assert served == (await registry.get_schema("A", version=version.version)).schema


class _Limited:
    """A connection that cancels its user at the n-th request: for a server, the user vanished."""

    def __init__(self, nc: Client, requests: int) -> None:
        self._nc = nc
        self._left = requests
        self.task: asyncio.Task[Any] | None = None

    @property
    def max_payload(self) -> int:
        return self._nc.max_payload

    def jetstream(self, **options: Any) -> Any:
        return JetStreamContext(self, **options)  # type: ignore[arg-type]  # not a whole client

    async def request(self, *args: Any, **options: Any) -> Any:
        if self._left == 0 and self.task is not None:
            self.task.cancel()
        self._left -= 1
        return await self._nc.request(*args, **options)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_everything_survives_a_restart_of_the_server(
    tmp_path: Path, how: signal.Signals
) -> None:
    with single(tmp_path) as server:
        async with server.connect() as nc:
            registry = EmbeddedRegistry(nc, "g", timeout=30)
            await registry.set_rule("COMPATIBILITY", "BACKWARD", artifact_id=None)
            before = [await registry.register_schema(f"A{n}", schema("a")) for n in range(20)]

            server.kill(how)
            pending = asyncio.create_task(registry.register_schema("A0", schema()))
            server.start()
            during = await pending

            assert during.version == "2"
            for number, made in enumerate(before):
                assert await registry.get_schema(f"A{number}", version="1") == made
            after = await registry.register_schema("New", schema("n"))
            assert after.global_id > during.global_id > max(m.global_id for m in before)
            assert await registry.get_rules() == {"COMPATIBILITY": "BACKWARD"}


async def test_a_server_that_stays_away_is_a_connection_error(tmp_path: Path) -> None:
    with single(tmp_path) as server:
        async with server.connect() as nc:
            registry = EmbeddedRegistry(nc, "g", timeout=0.5)
            await registry.register_schema("A", schema("a"))
            server.kill()
            with pytest.raises(RegistryConnectionError, match="no usable answer from 'nats-kv://"):
                await registry.register_schema("A", schema("b"))


async def test_more_replicas_than_servers_are_refused_at_once(nc: Client, bucket: str) -> None:
    registry = EmbeddedRegistry(nc, "g", bucket=bucket, replicas=3)
    with pytest.raises(RegistryConnectionError, match="replicas > 1 not supported"):
        await registry.info()


async def test_a_server_without_jetstream_is_named_as_such(tmp_path: Path) -> None:
    with single(tmp_path, jetstream=False) as server:
        async with server.connect() as nc:
            registry = EmbeddedRegistry(nc, "g", timeout=0.2)
            with pytest.raises(RegistryConnectionError, match="JetStream is not enabled"):
                await registry.info()


async def test_a_bucket_that_forgets_is_refused(nc: Client, bucket: str) -> None:
    await nc.jetstream().create_key_value(bucket=bucket, ttl=3600)
    with pytest.raises(RegistryConnectionError, match="drops values after 3600 s"):
        await EmbeddedRegistry(nc, "g", bucket=bucket).info()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[JetStreamServer]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture
async def connections(nodes: list[JetStreamServer]) -> AsyncIterator[list[Client]]:
    """Two connections to each node, which move on when it dies."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(nodes[index % 3].connect(*nodes)) for index in range(6)
        ]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["leader", "follower"])
async def test_a_cluster_loses_nothing_when_a_node_dies_during_registrations(
    nodes: list[JetStreamServer], connections: list[Client], bucket: str, victim: str
) -> None:
    clients = [
        EmbeddedRegistry(connections[n % 6], "g", bucket=bucket, replicas=3, timeout=60)
        for n in range(20)
    ]
    await clients[0].set_rule("COMPATIBILITY", "BACKWARD", group_id="ruled")
    enough = asyncio.Event()
    acknowledged: list[tuple[str, CachedSchema]] = []
    outcomes: list[BaseException] = []

    async def write(number: int) -> None:
        """Register the contents that all share, own ones, and ones that exclude each other."""
        for step in range(6):
            for artifact_id, content, group_id in (
                ("Shared", schema(f"s{step}"), "g"),
                ("Own", schema(f"o{number}", f"o{step}"), "g"),
                (f"Ruled{step}", schema(f"r{number}"), "ruled"),
            ):
                try:
                    made = await clients[number].register_schema(
                        artifact_id, content, group_id=group_id
                    )
                except IncompatibleSchemaError as error:
                    outcomes.append(error)
                else:
                    acknowledged.append((artifact_id, made))
            if len(acknowledged) > 40:
                enough.set()

    writers = [asyncio.create_task(write(number)) for number in range(20)]
    await enough.wait()
    dead = await _node(connections[0], nodes, bucket, victim)
    dead.kill()
    try:
        await asyncio.gather(*writers)
    finally:
        dead.start()

    assert len(outcomes) == 6 * 19
    assert len(acknowledged) == 6 * 20 * 3 - len(outcomes)
    await _check(clients[0], acknowledged)


async def _node(
    nc: Client, nodes: list[JetStreamServer], bucket: str, victim: str
) -> JetStreamServer:
    state = (await nc.jetstream().stream_info(f"KV_{bucket}")).cluster
    assert state is not None
    return next(node for node in nodes if (node.name == state.leader) is (victim == "leader"))


async def _check(registry: EmbeddedRegistry, acknowledged: list[tuple[str, CachedSchema]]) -> None:
    """Compare the acknowledged versions with the stored ones."""
    by_id = {made.global_id: (artifact_id, made) for artifact_id, made in acknowledged}
    for artifact_id, made in acknowledged:
        assert by_id[made.global_id] == (artifact_id, made)
        assert await registry.get_schema_by_global_id(made.global_id) == made.schema
        assert await registry.get_schema_by_content_id(made.content_id) == made.schema
    for group_id in ("g", "ruled"):
        for artifact in await registry.list_artifacts(group_id=group_id, limit=100):
            versions = (
                await registry.list_versions(artifact.artifact_id, limit=500, group_id=group_id)
            ).items
            assert [v.version for v in versions] == [str(n + 1) for n in range(len(versions))]
            assert len({v.content_id for v in versions}) == len(versions)
            assert {v.global_id for v in versions} == {
                made.global_id for name, made in acknowledged if name == artifact.artifact_id
            }
    assert (await registry.list_versions("Shared")).count == 6
    assert (await registry.list_versions("Own")).count == 120
    for step in range(6):
        assert (await registry.list_versions(f"Ruled{step}", group_id="ruled")).count == 1
