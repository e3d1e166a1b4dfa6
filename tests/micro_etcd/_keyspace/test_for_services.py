"""Live settings and leadership, directly and over NATS, and as a context lends them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel, Field, ValidationError
from tests.micro_etcd.service import instance

import micro
from micro import ConfigError, Context, options
from micro_etcd import (
    EtcdClient,
    EtcdCommunicator,
    EtcdLockLostError,
    EtcdTransactionAction,
    LiveConfig,
    NatsEtcd,
)
from micro_etcd.testing import EtcdServer

SECONDS = 60
Store = EtcdCommunicator[str] | NatsEtcd[str]


class Database(BaseModel):
    host: str = "localhost"
    port: int = 5432


class Settings(BaseModel):
    workers: int = Field(default=1, ge=1)
    name: str = "none"
    tags: list[str] = []
    ratio: float | None = None
    database: Database = Database()


@pytest.fixture(params=["direct", "nats"])
async def store(
    request: pytest.FixtureRequest,
    server_url: str,
    shared_server: EtcdServer,
    caller: NatsClient,
    prefix: str,
) -> AsyncIterator[Store]:
    if request.param == "direct":
        async with EtcdClient(shared_server.address).connect() as communicator:
            yield communicator.namespace(prefix)
    else:
        rules = {"app": {"prefix": prefix, "allow": ["all"]}}
        async with instance(server_url, shared_server, rules):
            yield NatsEtcd(caller, "app")


async def until(config: LiveConfig[Settings], count: int) -> None:
    """Wait for that many updates and refusals together."""
    async with asyncio.timeout(SECONDS):
        while config.updates + config.rejected < count:
            await asyncio.sleep(0.01)


async def test_settings_are_read_and_followed(store: Store) -> None:
    await store.put("cfg/workers", "8")
    await store.put("cfg/name", "123")
    await store.put("cfg/tags", '["a", "b"]')
    await store.put("cfg/database/port", "1")
    await store.put("cfgx", "not ours")
    async with store.config("cfg/", Settings) as config:
        expected = Settings(workers=8, name="123", tags=["a", "b"], database=Database(port=1))
        assert config.value == expected
        changed = asyncio.create_task(config.changed())
        await asyncio.sleep(0)

        def change(action: EtcdTransactionAction[str]) -> None:
            action.put("cfg/workers", "9")
            action.delete("cfg/name")

        await store.txn(change)
        assert await asyncio.wait_for(changed, SECONDS) is config.value
        assert (config.value.workers, config.value.name) == (9, "none")
        assert config.updates == 2, "a txn is one update"
        await store.put("cfg/database", '{"host": "db", "port": 2}')
        await until(config, 3)
        assert config.value.database == Database(host="db", port=2)


async def test_a_bad_update_is_refused_counted_and_logged(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.put("cfg/workers", "8")
    async with store.config("cfg/", Settings) as config:
        with caplog.at_level(logging.ERROR, "micro.etcd.config"):
            await store.put("cfg/workers", "hunter2")
            await until(config, 2)
        assert config.value.workers == 8
        assert config.stats()["rejected"] == 1
        assert config.problem == (
            "workers: Input should be a valid integer, unable to parse string as an integer"
        )
        assert "rejected: workers: Input should be a valid integer" in caplog.text
        assert "hunter2" not in caplog.text
        await store.put("cfg/name", "kept for later")
        await until(config, 3)
        assert config.value.name == "none"
        await store.put("cfg/workers", "3")
        await until(config, 4)
        assert (config.value.workers, config.value.name) == (3, "kept for later")
        assert config.stats()["problem"] is None


async def test_settings_are_read_again_when_their_history_is_gone(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> None:
    """Compacted while no instance of the service was there: what counts is what is there now."""
    rules = {"app": {"prefix": "/app/", "allow": ["all"]}}
    store = NatsEtcd(caller, "app", heartbeat=0.3)
    async with EtcdClient(server.address).connect() as direct, AsyncExitStack() as left:
        async with instance(server_url, server, rules):
            await direct.put("/app/cfg/workers", "2")
            config = await left.enter_async_context(store.config("cfg/", Settings))
        for value, name in [("3", "a"), ("0", "b"), ("5", "c")]:
            await direct.put("/app/cfg/workers", value)
            await direct.put("/app/cfg/name", name)
            await direct.kv.compact(await direct.kv.revision(b"a"))
            updates = config.updates + config.rejected
            async with instance(server_url, server, rules):
                await until(config, updates + 1)
        assert (config.value.workers, config.value.name) == (5, "c")
        assert config.rejected == 1


async def test_settings_that_cannot_be_followed_say_so(
    server_url: str, shared_server: EtcdServer, caller: NatsClient, prefix: str
) -> None:
    rules = {"app": {"prefix": prefix, "allow": ["list", "put"]}}
    async with instance(server_url, shared_server, rules):
        async with NatsEtcd(caller, "app").config("cfg/", Settings) as config:
            async with asyncio.timeout(SECONDS):
                while config.problem is None:
                    await asyncio.sleep(0.01)
        assert config.problem == "not followed any more: namespace 'app' may not watch"


async def test_settings_that_are_bad_from_the_start_are_an_error(store: Store) -> None:
    await store.put("cfg/workers", "0")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        async with store.config("cfg/", Settings):
            pytest.fail("entered")


async def test_one_leads_and_the_next_follows(store: Store) -> None:
    order: list[int] = []
    tokens: list[int] = []

    async def serve(number: int) -> None:
        async with store.leader("job") as leadership:
            order.append(number)
            tokens.append(leadership.token)
            assert len(await store.keys_prefix("job/")) >= 1
            order.append(number)

    await asyncio.wait_for(asyncio.gather(*(serve(number) for number in range(3))), SECONDS)
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == [0, 1, 2]
    assert tokens == sorted(tokens)


async def test_losing_the_leadership_cancels_the_body(store: Store) -> None:
    reached = asyncio.Event()
    cancelled = False
    with pytest.raises(EtcdLockLostError, match="the leadership of 'job'"):  # noqa: PT012 - raised on leaving
        async with store.leader("job") as leadership:
            await store.revoke_lease(leadership.lease)
            reached.set()
            try:
                await asyncio.wait_for(asyncio.Event().wait(), SECONDS)
            except asyncio.CancelledError:
                cancelled = True
                raise
    assert reached.is_set()
    assert cancelled
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_body_that_ignores_the_loss_is_told_on_leaving(store: Store) -> None:
    with pytest.raises(EtcdLockLostError):  # noqa: PT012 - raised on leaving
        async with store.leader("job") as leadership:
            await store.revoke_lease(leadership.lease)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.Event().wait(), SECONDS)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one(store: Store) -> None:
    leading = asyncio.Event()

    async def serve() -> None:
        async with store.leader("job"):
            leading.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await asyncio.wait_for(leading.wait(), SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.keys_prefix("job/") == []


async def test_a_context_lends_both(store: Store, server_url: str) -> None:
    await store.put("cfg/workers", "4")
    async with Context() as ctx:
        with pytest.raises(
            ConfigError, match="the context has no shared store: call use_store first"
        ):
            ctx.leader("job")
        await ctx.connect(options.servers(server_url))
        ctx.use_store(store)
        settings = await ctx.config("cfg/", Settings)
        assert settings.value.workers == 4
        service = await ctx.add_service("settings-user", "1.0.0")

        async def workers(request: micro.Request) -> None:
            async with ctx.leader("job") as leadership:
                assert not leadership.lost
                await request.respond(str(settings.value.workers).encode())

        await service.add_endpoint("workers", workers, stats_handler=settings.stats)
        client = micro.Client(ctx.client)
        assert (await client.request("workers", timeout=SECONDS)).data == b"4"
        stats = await client.stats("settings-user")
        assert stats[0].endpoints[0].data["updates"] == 1
