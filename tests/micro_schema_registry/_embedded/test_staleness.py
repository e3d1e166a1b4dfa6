"""Reads are never behind acknowledged writes, whatever replicas and mirrors the bucket has."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig, StreamSource
from tests.micro_schema_registry.jetstream import JetStreamServer, cluster, single

from micro_schema_registry import EmbeddedRegistry, RegistryConnectionError

ARTIFACTS = 8
STEPS = 20


def schema(number: int) -> dict[str, Any]:
    """Return a record that differs by its documentation only."""
    return {"type": "record", "name": "R", "doc": str(number), "fields": []}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[JetStreamServer]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture
async def connections(nodes: list[JetStreamServer]) -> AsyncIterator[list[Client]]:
    """One connection to each node."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node.connect()) for node in nodes]


async def mirror(nc: Client, bucket: str) -> None:
    """Add a mirror that answers direct gets of the bucket without its present values."""
    last = (await nc.jetstream().stream_info(f"KV_{bucket}")).state.last_seq
    source = StreamSource(name=f"KV_{bucket}", opt_start_seq=last + 1)
    await nc.jetstream().add_stream(
        StreamConfig(name=f"KV_{bucket}_copy", mirror=source, mirror_direct=True, allow_direct=True)
    )


async def scale(nc: Client, bucket: str) -> None:
    config = (await nc.jetstream().stream_info(f"KV_{bucket}")).config
    config.num_replicas = 3
    await nc.jetstream().update_stream(config)


async def stale_reads(registries: list[EmbeddedRegistry], artifact: str, steps: int) -> int:
    """Count reads that do not see the version and the rule acknowledged before them."""
    stale = 0
    for step in range(steps):
        writer = registries[step % len(registries)]
        made = await writer.register_schema(artifact, schema(step), "CREATE_VERSION")
        rule = "FULL" if step % 2 else "NONE"
        await writer.set_rule("INTEGRITY", rule, group_id=artifact)
        seen = await asyncio.gather(*(each.get_schema(artifact) for each in registries))
        rules = await asyncio.gather(*(each.get_rules(group_id=artifact) for each in registries))
        stale += sum(each != made for each in seen)
        stale += sum(each != {"INTEGRITY": rule} for each in rules)
    return stale


@pytest.mark.parametrize("kind", ["replicated", "mirrored", "scaled while open"])
async def test_no_read_is_stale_on_a_cluster(
    connections: list[Client], bucket: str, kind: str
) -> None:
    replicas = 3 if kind == "replicated" else 1
    registries = [
        EmbeddedRegistry(nc, "g", bucket=bucket, replicas=replicas, timeout=30)
        for nc in connections
    ]
    for registry in registries:
        await registry.info()  # opened before the bucket changes
    if kind == "mirrored":
        await mirror(connections[0], bucket)
    if kind == "scaled while open":
        await scale(connections[0], bucket)

    artifacts = [f"R{number}" for number in range(ARTIFACTS)]
    counts = await asyncio.gather(*(stale_reads(registries, each, STEPS) for each in artifacts))

    assert sum(counts) == 0


async def test_a_mirror_without_a_value_is_not_believed(nc: Client, bucket: str) -> None:
    registry = EmbeddedRegistry(nc, "g", bucket=bucket)
    made = await registry.register_schema("R", schema(0))
    await registry.set_rule("INTEGRITY", "FULL")
    await mirror(nc, bucket)

    for step in range(50):
        reader = EmbeddedRegistry(nc, "g", bucket=bucket)
        await registry.register_schema("Other", schema(step), "CREATE_VERSION")
        assert await reader.get_schema("R") == made
        assert await reader.register_schema("R", schema(0)) == made
        assert await reader.get_rules() == {"INTEGRITY": "FULL"}
        assert (await reader.get_content("contentId", made.content_id)).content == made.content
        assert (await reader.list_artifacts()).count == 2


async def test_a_deleted_bucket_is_named_by_reads_and_writes(nc: Client, bucket: str) -> None:
    registry = EmbeddedRegistry(nc, "g", bucket=bucket, timeout=5)
    made = await registry.register_schema("R", schema(0))
    await nc.jetstream().delete_stream(f"KV_{bucket}")

    for call in (
        registry.get_schema("R"),
        registry.register_schema("R", schema(1)),
        registry.set_rule("VALIDITY", "FULL"),
        registry.get_content("globalId", made.global_id),
        registry.list_artifacts(),
        registry.info(),
    ):
        with pytest.raises(RegistryConnectionError) as caught:
            await call
        assert str(caught.value) == (
            f"no usable answer from 'nats-kv://{bucket}': bucket '{bucket}' does not exist any more"
        )


async def test_a_mirror_cannot_be_the_bucket(nc: Client, bucket: str) -> None:
    await EmbeddedRegistry(nc, "g", bucket=bucket).info()
    await mirror(nc, bucket)

    with pytest.raises(RegistryConnectionError, match=f"is a mirror of 'KV_{bucket}'"):
        await EmbeddedRegistry(nc, "g", bucket=f"{bucket}_copy").info()


ACCOUNTS = "accounts { A { users: [{ user: u, password: p }] } }"


@pytest.mark.parametrize(("jetstream", "config"), [(False, ""), (True, ACCOUNTS)])
async def test_missing_jetstream_is_named_at_once(
    tmp_path: Path, jetstream: bool, config: str
) -> None:
    with single(tmp_path, jetstream=jetstream, config=config) as server:
        nc = Client()
        await nc.connect(server.url, user="u", password="p")
        began = time.monotonic()
        with pytest.raises(RegistryConnectionError, match="JetStream is not enabled"):
            await EmbeddedRegistry(nc, "g", timeout=30).info()
        await nc.close()

    assert time.monotonic() - began < 5
