"""The memory of the service: its content, its age limits, and its requests to the registry."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.jetstream import JetStreamServer

import micro
from micro_schema_registry import (
    CachedSchema,
    CacheOptions,
    EmbeddedRegistry,
    NatsRegistryClient,
    RegistryConnectionError,
    SchemaNotFoundError,
    ServiceOptions,
    add_registry_service,
)
from micro_schema_registry._service.byte_cache import ByteCache

USER = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
WITH_COUNTRY = {
    **USER,
    "fields": [*USER["fields"], {"name": "country", "type": "string", "default": ""}],
}


class Counted:
    """A registry that counts, delays and fails calls before it passes them on."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self._registry = registry
        self.calls: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            self.arrived.set()
            result = (
                None
                if self.failure
                else await asyncio.gather(method(*args, **kwargs), return_exceptions=True)
            )
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            assert result is not None
            if isinstance(result[0], BaseException):
                raise result[0]
            return result[0]

        return call


NewService = Callable[..., Awaitable[tuple[Counted, NatsRegistryClient]]]


@pytest.fixture
async def new_service(jetstream: JetStreamServer, bucket: str) -> AsyncIterator[NewService]:
    """Start a service of its own subjects over a counted registry, with a client of it."""
    async with AsyncExitStack() as stack:

        async def new(
            prefix: str | None = None, timeout: float = 20, **cache: Any
        ) -> tuple[Counted, NatsRegistryClient]:
            ctx = await stack.enter_async_context(micro.Context())
            await ctx.connect(micro.options.servers(jetstream.url))
            counted = Counted(EmbeddedRegistry(ctx.client, "g", bucket=bucket))
            group = f"registry-{uuid.uuid4().hex}" if prefix is None else prefix
            options = ServiceOptions(group=group, cache=CacheOptions(**cache))
            registry: Any = counted
            await add_registry_service(ctx, lambda: registry, options=options)
            nc = await stack.enter_async_context(jetstream.connect())
            return counted, NatsRegistryClient(nc, "g", prefix=group, timeout=timeout)

        yield new


async def test_a_hundred_callers_are_one_question(new_service: NewService) -> None:
    counted, client = await new_service()
    made = await client.register_schema("user", USER)
    counted.gate.clear()

    asked = asyncio.gather(*(client.get_schema("user") for _ in range(100)))
    await counted.arrived.wait()
    counted.gate.set()

    assert {each.global_id for each in await asked} == {made.global_id}
    assert counted.calls["get_schema"] == 1
    assert (await client.get_schema("user")).global_id == made.global_id
    assert counted.calls["get_schema"] == 1


async def test_content_by_id_is_asked_for_once(new_service: NewService) -> None:
    counted, client = await new_service(latest_ttl=0, negative_ttl=0)
    made = await client.register_schema("user", USER)

    for _ in range(3):
        batch = await asked(client, "by-id", ids=[made.global_id])
        assert batch["found"][0]["content"] == made.content

    assert counted.calls["get_content"] == 1


async def test_fifty_equal_registrations_at_once_are_one(new_service: NewService) -> None:
    counted, client = await new_service()
    counted.gate.clear()

    made = asyncio.gather(*(client.register_schema("user", USER) for _ in range(50)))
    other = asyncio.create_task(client.register_schema("user", USER, canonical=True))
    await counted.arrived.wait()
    with pytest.raises(micro.ServiceError, match="no schema"):
        await asked(client, "by-id", global_id=0)  # answered after those before have come in
    counted.gate.set()

    assert len({each.global_id for each in [*await made, await other]}) == 1
    assert counted.calls["register_schema"] == 2
    await client.register_schema("user", USER)
    assert counted.calls["register_schema"] == 3


async def test_registrations_that_always_make_a_version_are_not_shared(
    new_service: NewService,
) -> None:
    counted, client = await new_service()

    made = await asyncio.gather(
        *(client.register_schema("user", USER, "CREATE_VERSION") for _ in range(5))
    )

    assert len({each.version for each in made}) == counted.calls["register_schema"] == 5


async def test_many_ids_are_read_only_as_far_as_they_fit_an_answer(
    new_service: NewService, embedded: EmbeddedRegistry
) -> None:
    counted, client = await new_service()
    text = "x" * 200_000
    made = [
        await embedded.register_schema(str(number), {**USER, "doc": f"{number}{text}"})
        for number in range(40)
    ]

    with pytest.raises(micro.ServiceError, match="expected fewer ids") as caught:
        await asked(client, "by-id", ids=[each.global_id for each in made])

    assert caught.value.code == 413
    assert counted.calls["get_content"] == 16


async def asked(client: NatsRegistryClient, endpoint: str, **request: Any) -> Any:
    """Ask the service in plain JSON, past the memory of the client."""
    caller = client._caller
    answer = await caller._client.request(
        f"{caller.prefix}.{endpoint}", json.dumps(request).encode(), timeout=20
    )
    return json.loads(answer.data)


async def test_a_new_version_is_served_at_once(new_service: NewService) -> None:
    counted, client = await new_service(latest_ttl=3600)
    await client.register_schema("user", USER)
    await client.get_schema("user")

    second = await client.register_schema("user", WITH_COUNTRY)

    assert await client.get_schema("user") == second
    assert counted.calls["get_schema"] == 2


async def test_other_instances_are_told(
    new_service: NewService, jetstream: JetStreamServer
) -> None:
    """Each look-up is answered by one of two instances: all of them by the new version."""
    prefix = f"registry-{uuid.uuid4().hex}"
    first, client = await new_service(prefix, latest_ttl=3600)
    second, _ = await new_service(prefix, latest_ttl=3600)
    await client.register_schema("user", USER)
    while not (first.calls["get_schema"] and second.calls["get_schema"]):
        await client.get_schema("user")

    made = await client.register_schema("user", WITH_COUNTRY)
    answers = [await client.get_schema("user") for _ in range(30)]

    assert {each.global_id for each in answers} == {made.global_id}


async def test_what_changed_behind_its_back_is_seen_after_the_ttl(
    new_service: NewService, embedded: EmbeddedRegistry
) -> None:
    _, long = await new_service(latest_ttl=3600)
    _, none = await new_service(latest_ttl=0)
    first = await long.register_schema("user", USER)
    await long.get_schema("user")
    await none.get_schema("user")

    second = await embedded.register_schema("user", WITH_COUNTRY, group_id="g")

    assert (await long.get_schema("user")).global_id == first.global_id
    assert (await none.get_schema("user")).global_id == second.global_id


async def test_what_is_missing_is_believed_to_be_missing(new_service: NewService) -> None:
    counted, client = await new_service(negative_ttl=3600)
    for _ in range(3):
        with pytest.raises(SchemaNotFoundError) as caught:
            await client.get_schema("user")
        assert caught.value.artifact_id == "user"
        with pytest.raises(SchemaNotFoundError):
            await client.get_content("globalId", 2**40)
    assert (counted.calls["get_schema"], counted.calls["get_content"]) == (1, 1)

    made = await client.register_schema("user", USER)

    assert await client.get_schema("user") == made
    assert (await asked(client, "by-id", global_id=made.global_id))["content"] == made.content


async def test_an_answer_that_was_overtaken_by_a_change_is_not_kept(
    new_service: NewService,
) -> None:
    """A look-up has read the first version when the second one is registered."""
    counted, client = await new_service(latest_ttl=3600)
    await client.register_schema("user", USER)
    counted.gate.clear()
    counted.arrived.clear()
    late = asyncio.ensure_future(client.get_schema("user"))
    await counted.arrived.wait()

    registering = asyncio.ensure_future(client.register_schema("user", WITH_COUNTRY))
    while counted.calls["register_schema"] != 2:
        await asyncio.sleep(0)
    counted.gate.set()
    second = await registering
    await late

    assert (await client.get_schema("user")).global_id == second.global_id


async def test_a_disabled_version_is_not_served_by_id_from_memory(new_service: NewService) -> None:
    _, client = await new_service()
    made = await client.register_schema("user", USER)
    await asked(client, "by-id", global_id=made.global_id)

    await client.set_state("user", "1", "DISABLED")

    with pytest.raises(micro.ServiceError) as caught:
        await asked(client, "by-id", global_id=made.global_id)
    assert caught.value.code == 404


class Drafts(EmbeddedRegistry):
    """A registry whose registrations return drafts."""

    async def register_schema(self, *args: Any, **kwargs: Any) -> CachedSchema:
        return replace(await super().register_schema(*args, **kwargs), draft=True)


async def test_the_answer_to_a_registration_says_when_it_is_a_draft(
    jetstream: JetStreamServer, bucket: str
) -> None:
    group = f"registry-{uuid.uuid4().hex}"
    async with micro.Context() as ctx, jetstream.connect() as nc:
        await ctx.connect(micro.options.servers(jetstream.url))
        drafts = Drafts(ctx.client, "g", bucket=bucket)
        await add_registry_service(ctx, drafts, options=ServiceOptions(group=group))
        client = NatsRegistryClient(nc, "g", prefix=group, timeout=20)

        assert (await client.register_schema("user", USER)).draft


async def test_after_a_reconnection_names_are_asked_for_again(
    bucket: str, new_jetstream: JetStreamServer
) -> None:
    """A change may have been announced while the connection was lost."""
    group = "registry.v1"
    async with micro.Context() as ctx, new_jetstream.connect() as nc:
        await ctx.connect(micro.options.servers(new_jetstream.url))
        back = asyncio.Event()

        async def reconnected() -> None:
            back.set()

        counted = Counted(EmbeddedRegistry(ctx.client, "g", bucket=bucket))
        registry: Any = counted
        await add_registry_service(
            ctx, lambda: registry, options=ServiceOptions(cache=CacheOptions(latest_ttl=3600))
        )
        ctx.add_reconnected_callback(reconnected)
        client = NatsRegistryClient(nc, "g", prefix=group, timeout=20)
        await client.register_schema("user", USER)
        await client.get_schema("user")

        new_jetstream.kill()
        new_jetstream.start()
        await asyncio.wait_for(back.wait(), 60)
        while not nc.is_connected:
            await asyncio.sleep(0.01)
        await client.get_schema("user")

    assert counted.calls["get_schema"] == 2


async def test_old_answers_are_given_when_allowed(new_service: NewService) -> None:
    for allowed in (True, False):
        counted, client = await new_service(latest_ttl=0, serve_stale=allowed)
        made = await client.register_schema("user", USER)
        await client.get_schema("user")
        counted.failure = RegistryConnectionError("http://registry", "gone")

        if allowed:
            answer = await asked(client, "get", group="g", artifact="user")
            assert (answer["global_id"], answer["stale"]) == (made.global_id, True)
        else:
            with pytest.raises(RegistryConnectionError, match="gone"):
                await client.get_schema("user")


async def test_a_silent_registry_is_not_waited_for_when_there_is_an_old_answer(
    new_service: NewService,
) -> None:
    counted, client = await new_service(latest_ttl=0, serve_stale=True)
    await client.register_schema("user", USER)
    await client.get_schema("user")
    counted.gate.clear()

    answer = await asked(client, "get", group="g", artifact="user")

    assert answer["stale"] is True


async def test_the_callers_time_is_the_limit(new_service: NewService) -> None:
    counted, client = await new_service(timeout=0.5)
    counted.gate.clear()

    with pytest.raises(
        RegistryConnectionError, match=r"504 the registry did not answer within 0\.45 s"
    ):
        await client.get_schema("user")


async def test_a_registration_that_took_too_long_is_seen_all_the_same(
    new_service: NewService,
) -> None:
    counted, client = await new_service(timeout=2, latest_ttl=3600)
    await client.register_schema("user", USER)
    await client.get_schema("user")
    counted.gate.clear()
    with pytest.raises(RegistryConnectionError):
        await client.register_schema("user", WITH_COUNTRY)
    counted.gate.set()

    assert (await client.get_schema("user")).schema == WITH_COUNTRY


async def test_a_caller_that_leaves_does_not_end_what_others_wait_for(
    new_service: NewService, nc: Client
) -> None:
    counted, patient = await new_service()
    made = await patient.register_schema("user", USER)
    hasty = NatsRegistryClient(nc, "g", prefix=patient._caller.prefix, timeout=0.2)
    counted.gate.clear()
    counted.arrived.clear()

    waiting = asyncio.ensure_future(patient.get_schema("user"))
    await counted.arrived.wait()
    with pytest.raises(RegistryConnectionError, match=r"504|in time"):
        await hasty.get_schema("user")
    counted.gate.set()

    assert (await waiting).global_id == made.global_id
    assert counted.calls["get_schema"] == 1


def test_the_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    cache = ByteCache[str](100)
    for key in "abc":
        cache.put(key, key, 30, tag="t")
    cache.get("a")

    cache.put("d", "d", 30, tag="u")
    cache.put("huge", "huge", 101, tag="u")

    assert [key for key in ("a", "b", "c", "d", "huge") if cache.get(key)] == ["a", "c", "d"]
    assert (cache.size, len(cache)) == (90, 3)
    cache.discard("t")
    assert (cache.size, len(cache), cache.tags()) == (30, 1, ["u"])


def test_the_cache_tells_old_from_fresh() -> None:
    now = [0.0]
    cache = ByteCache[str](100, clock=lambda: now[0])
    cache.put("a", "old", 1, tag="t", ttl=5)
    assert cache.get("a") == "old"

    now[0] = 5.0

    assert (cache.get("a"), cache.expired("a")) == (None, "old")
    cache.put("a", "new", 1, tag="t", ttl=5)
    assert (cache.get("a"), cache.size) == ("new", 1)
