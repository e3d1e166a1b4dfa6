"""NatsEtcd: the methods of EtcdCommunicator over NATS, and their errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from tests.micro_etcd.service import Instance, ask, instance, process

from micro import Client, Context, options
from micro.testing import nats_server
from micro_etcd import (
    CompareKey,
    EtcdClient,
    EtcdDeadlineExceededError,
    EtcdInvalidArgumentError,
    EtcdLockLostError,
    EtcdOutcomeUnknownError,
    EtcdPayloadTooLargeError,
    EtcdTransactionAction,
    EtcdUnavailableError,
    EtcdUnknownError,
    NatsEtcd,
    PutOp,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
)
from micro_etcd.testing import EtcdServer

SECONDS = 60


@pytest.fixture
async def serving(
    server_url: str, shared_server: EtcdServer, prefix: str
) -> AsyncIterator[Instance]:
    rules = {"app": {"prefix": prefix, "allow": ["all"]}}
    async with instance(server_url, shared_server, rules) as running:
        yield running


@pytest.fixture
def store(serving: Instance, caller: NatsClient) -> NatsEtcd[str]:
    return NatsEtcd(caller, "app")


async def test_keys(store: NatsEtcd[str]) -> None:
    assert await store.put("a", "1") is None
    assert await store.put("a", "2", prev_kv=True) == "1"
    assert await store.get("a") == "2"
    assert await store.get("missing") is None
    await store.put("b", "x")
    await store.put("c/1", "y")
    assert await store.get_prefix("") == {"a": "2", "b": "x", "c/1": "y"}
    assert await store.keys_prefix("c") == ["c/1"]
    assert await store.get_range("a", "c") == {"a": "2", "b": "x"}
    assert await store.get_range("a", "d", limit=1) == {"a": "2"}
    assert await store.put("b", None) is None
    assert await store.get("b") == "x"
    assert await store.delete("b", prev_kv=True) == "x"
    assert await store.delete_prefix("", prev_kv=True) == ["2", "y"]
    with pytest.raises(EtcdInvalidArgumentError, match="invalid key b''"):
        await store.put("", None)


async def test_history_filters_and_order(store: NatsEtcd[str]) -> None:
    await store.put("a", "3")
    first = await store.kv.get(b"a")
    assert first is not None
    await store.put("b", "1")
    await store.put("a", "2")
    assert await store.get("a", revision=first.mod_revision) == "3"
    assert await store.get("a", min_mod_revision=first.mod_revision + 1) == "2"
    assert await store.get("a", max_create_revision=first.mod_revision - 1) is None
    changed = await store.get_prefix("", min_create_revision=first.mod_revision + 1)
    assert changed == {"b": "1"}
    by_value = await store.get_prefix("", sort_target=RangeRequestSortTarget.VALUE)
    assert list(by_value) == ["b", "a"]
    backwards = await store.get_range("a", "z", 1, sort_order=RangeRequestSortOrder.DESCEND)
    assert backwards == {"b": "1"}


async def test_txns(store: NatsEtcd[str]) -> None:
    def build(success: EtcdTransactionAction[str], failure: EtcdTransactionAction[str]) -> None:
        success.put("t", "new")
        success.get("t")
        success.delete("old")
        failure.get("t")
        failure.get("", range_end="\0")

    await store.put("t", "was")
    done = await store.txn_compare([CompareKey("t").value == "was"], build)
    assert done == [None, "new", None]
    assert done.succeeded
    refused = await store.txn_compare([CompareKey("t", target_version=9).mod > 0], build)
    assert (refused.succeeded, refused[0]) == (False, "new")


async def test_a_page_is_not_the_end(store: NatsEtcd[str]) -> None:
    for number in range(30):
        await store.put(f"k{number:02}", "x" * 80_000)
    found = await store.get_prefix("k")
    assert list(found) == [f"k{number:02}" for number in range(30)]
    assert len(await store.get_range("k", "l", limit=20)) == 20


async def test_gets_of_one_moment_travel_together(
    serving: Instance, store: NatsEtcd[str], caller: NatsClient
) -> None:
    for number in range(5):
        await store.put(f"g{number}", str(number))
    found = await asyncio.gather(*(store.get(f"g{number}") for number in (3, 9, 0, 3)))
    assert found == ["3", None, "0", "3"]
    stats = await Client(caller).stats("etcd")
    asked = {endpoint.name: endpoint.num_requests for endpoint in stats[0].endpoints}
    assert (asked["kv-get-many"], asked["kv-get"]) == (1, 0)


async def test_together_too_large_gets_are_answered_one_by_one(store: NatsEtcd[str]) -> None:
    for number in range(4):
        await store.put(f"g{number}", str(number) * 600_000)
    found = await asyncio.gather(*(store.get(f"g{number}") for number in range(4)))
    assert [value and value[0] for value in found] == ["0", "1", "2", "3"]


async def test_bytes_and_leases(serving: Instance, caller: NatsClient) -> None:
    store = NatsEtcd(caller, "app", None)
    lease = await store.grant_lease(30)
    await store.put(b"\xff\x00", b"\x00\xff", lease=lease)
    assert await store.get_prefix(b"\xff") == {b"\xff\x00": b"\x00\xff"}
    state = await store.leases.time_to_live(lease, keys=True)
    assert state is not None
    assert (state.granted_ttl, state.keys) == (30, [b"\xff\x00"])
    await store.revoke_lease(lease)
    assert await store.get(b"\xff\x00") is None
    assert await store.leases.time_to_live(lease) is None
    with pytest.raises(EtcdInvalidArgumentError, match="the service chooses it"):
        await store.grant_lease(30, id=7)


async def test_values_that_fit_no_message_are_refused(store: NatsEtcd[str]) -> None:
    with pytest.raises(EtcdPayloadTooLargeError) as caught:
        await store.put("k", "x" * 1_200_000)
    assert caught.value.outcome == "not-applied"


async def test_a_lock_excludes_renews_and_fences(store: NatsEtcd[str]) -> None:
    tokens = []
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with store.with_lock("l") as held:
            inside += 1
            assert inside == 1
            tokens.append(held.token)
            answer = await store.kv.txn([held.guard], [PutOp(b"done", b"%d" % held.token)])
            assert answer.succeeded
            inside -= 1

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(5))), SECONDS)
    assert tokens == sorted(set(tokens))
    assert await store.get("done") == str(tokens[-1])
    assert await store.keys_prefix("l/") == []


async def test_a_lock_that_ends_is_noticed_and_its_writes_are_refused(
    store: NatsEtcd[str],
) -> None:
    lost = asyncio.Event()
    with pytest.raises(EtcdLockLostError):  # noqa: PT012 - raised on leaving
        async with store.with_lock("l", ttl=2, on_lost=lost.set) as held:
            await store.kv.put(b"k", b"1", guard=held.guard)
            await asyncio.wait_for(lost.wait(), SECONDS)
            # By the holder's clock it is over before it is by etcd's.
            while await store.keys_prefix("l/"):
                await asyncio.sleep(0.02)
            with pytest.raises(EtcdLockLostError):
                await store.kv.put(b"k", b"2", guard=held.guard)
    assert await store.get("k") == "1"


async def test_waiting_for_a_lock_ends_in_time_and_leaves_nothing(store: NatsEtcd[str]) -> None:
    async with store.with_lock("l"):
        before = await store.keys_prefix("l/")
        with pytest.raises(TimeoutError):
            async with store.with_lock("l", timeout=0.5):
                pytest.fail("not exclusive")
        assert await store.keys_prefix("l/") == before


async def test_locks_queue_with_direct_clients(
    store: NatsEtcd[str], shared_server: EtcdServer, prefix: str
) -> None:
    async with EtcdClient(shared_server.address).connect() as communicator:
        direct = communicator.namespace(prefix)
        async with store.with_lock("l"):
            with pytest.raises(TimeoutError):
                async with direct.with_lock("l", timeout=0.5):
                    pytest.fail("not exclusive")
        async with direct.with_lock("l", timeout=SECONDS):
            assert len(await store.keys_prefix("l/")) == 1


@pytest.mark.slow
async def test_a_waiter_keeps_its_place_when_the_instance_dies(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> None:
    store = NatsEtcd(caller, "app")
    order: list[str] = []

    async def wait(name: str) -> None:
        async with store.with_lock("l"):
            order.append(name)

    async with (
        process(server_url, server, "app=/app/:all") as first,
        process(server_url, server, "app=/app/:all"),
    ):
        waiting = []
        async with store.with_lock("l"):
            for count, name in enumerate("ab"):
                waiting.append(asyncio.create_task(wait(name)))
                while len(await store.keys_prefix("l/")) < count + 2:
                    await asyncio.sleep(0.02)
            first.kill()
            await first.wait()
            assert len(await store.keys_prefix("l/")) == 3
        await asyncio.wait_for(asyncio.gather(*waiting), SECONDS)
    assert order == ["a", "b"]


async def test_without_a_service_nothing_was_applied(caller: NatsClient) -> None:
    store = NatsEtcd(caller, "nowhere", timeout=0.3)
    for call in (store.put("k", "v"), store.get("k"), store.delete("k")):
        with pytest.raises(EtcdUnavailableError) as caught:
            await call
        assert caught.value.outcome == "not-applied"
        assert "no etcd service listens on 'etcd.nowhere." in str(caught.value)


async def test_a_write_without_answer_is_not_repeated_and_unknown(caller: NatsClient) -> None:
    """A service that takes requests and never answers: reads are asked again, writes are not."""
    asked: list[str] = []

    async def swallow(message: Msg) -> None:
        asked.append(message.subject)

    await caller.subscribe("etcd.mute.>", cb=swallow)
    store = NatsEtcd(caller, "mute", timeout=0.5)
    with pytest.raises(EtcdOutcomeUnknownError) as caught:
        await store.put("k", "v")
    assert caught.value.outcome == "unknown"
    assert asked == ["etcd.mute.kv.put"]
    with pytest.raises(EtcdDeadlineExceededError):
        await store.get("k")


async def test_an_answer_nobody_can_read_is_an_error(caller: NatsClient) -> None:
    async def babble(message: Msg) -> None:
        await caller.publish(message.reply, b"{}")

    await caller.subscribe("etcd.babble.>", cb=babble)
    store = NatsEtcd(caller, "babble")
    with pytest.raises(EtcdUnknownError, match=r"unreadable answer to kv\.list"):
        await store.get_prefix("")
    with pytest.raises(EtcdOutcomeUnknownError, match=r"unreadable answer to kv\.delete"):
        await store.delete("k")


async def test_refused_work_is_tried_again(caller: NatsClient) -> None:
    """What an overloaded instance refused was not run, so even a write is repeated."""
    asked = 0

    async def refuse_twice(message: Msg) -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            headers = {
                "Nats-Service-Error": "overloaded",
                "Nats-Service-Error-Code": "503",
                "Retry-After": "1",
            }
            await caller.publish(message.reply, b"", headers=headers)
        else:
            await caller.publish(message.reply, b"", headers={"Etcd-Revision": "9"})

    await caller.subscribe("etcd.busy.>", cb=refuse_twice)
    result = await NatsEtcd(caller, "busy").kv.put(b"k", b"v")
    assert (result.revision, asked) == (9, 3)


async def test_etcd_that_is_away_is_said_so(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> None:
    rules = {"app": {"prefix": "/a/", "allow": ["all"]}}
    async with instance(server_url, server, rules):
        store = NatsEtcd(caller, "app", timeout=30)
        await store.put("k", "v")
        # A single etcd 3.5.1 answers before its log is on disk; the next write waits for that.
        await store.put("other", "v")
        await asyncio.to_thread(server.kill)
        reading = asyncio.create_task(store.get("k"))
        await asyncio.to_thread(server.start)
        assert await reading == "v"


async def test_a_watch_outlives_the_nats_server(server: EtcdServer) -> None:
    """The server restarts on the same port: readers and instances find each other again."""
    rules = {"app": {"prefix": "/a/", "allow": ["all"]}}
    with ExitStack() as servers, nats_server() as first:
        async with instance(first.url, server, rules), Context() as ctx:
            await ctx.connect(options.servers(first.url))
            store = NatsEtcd(ctx, "app", heartbeat=0.3)
            watch = store.watch_prefix("")
            await watch.stream.start()
            await store.put("k", "1")
            assert (await anext(watch)).value == "1"
            first.stop()
            async with EtcdClient(server.address).connect() as direct:
                await direct.put("/a/k", "2")
                servers.enter_context(nats_server(port=first.port))
                await direct.put("/a/k", "3")
                async with asyncio.timeout(SECONDS):
                    assert [(await anext(watch)).value for _ in range(2)] == ["2", "3"]
                await watch.aclose()


async def test_answers_are_json_for_everybody(
    serving: Instance, store: NatsEtcd[str], server_url: str
) -> None:
    await store.put("k", "v")
    other = await nats.connect(server_url)
    found: Any = await ask(other, "etcd.app.kv.get", {"key": "k"})
    await other.close()
    assert json.dumps(found["kv"]["value"]) == '{"s": "v"}'
