"""Watches over NATS lose and repeat nothing, and leave nothing behind, whoever dies or dawdles."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client as NatsClient
from tests.micro_etcd.service import Instance, ask, instance, process, refusal

import micro
from micro_etcd import (
    EtcdClient,
    EtcdCommunicator,
    EtcdCompactedError,
    EtcdHistoryLostError,
    EtcdPermissionDeniedError,
    EtcdTransactionAction,
    NatsEtcd,
    WatchCreateRequestFilterType,
    WatchEventType,
    WatchOptions,
)
from micro_etcd._model.keys import prefix_range
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
async def direct(shared_server: EtcdServer, prefix: str) -> AsyncIterator[EtcdCommunicator[str]]:
    """Return a direct client of the same keys."""
    async with EtcdClient(shared_server.address).connect() as communicator:
        yield communicator.namespace(prefix)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await holds():
            await asyncio.sleep(0.05)


async def watchers(etcd: EtcdServer) -> float:
    return await asyncio.to_thread(etcd.metric, "etcd_debugging_mvcc_watcher_total")


async def test_events_arrive_in_order_with_what_they_replaced(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    etcd = NatsEtcd(caller, "app")
    ready = asyncio.Event()
    seen = []
    async with etcd.watch_prefix("k", ready, prev_kv=True) as watch:
        assert ready.is_set()
        await direct.put("k1", "a")
        await direct.put("other", "x")
        await direct.put("k1", "b")
        await direct.delete("k1")
        async with asyncio.timeout(SECONDS):
            async for event in watch:
                seen.append((event.key, event.value, event.prev_value, event.event))
                if len(seen) == 3:
                    break
    assert seen == [
        ("k1", "a", None, WatchEventType.PUT),
        ("k1", "b", "a", WatchEventType.PUT),
        ("k1", "", "b", WatchEventType.DELETE),
    ]


async def test_a_txn_is_one_batch_and_bytes_survive(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    etcd = NatsEtcd(caller, "app", None)
    stream = etcd.events(*prefix_range(b"\xff\x00"))
    await stream.start()
    keys = [b"\xff\x00\xff", b"\xff\x00*.>"]

    def write(action: EtcdTransactionAction[str]) -> None:
        for key in keys:
            action.put(key, b"\x00\xfe")

    await direct.txn(write)
    async with asyncio.timeout(SECONDS):
        batch = await anext(stream)
    stream.close()
    assert sorted(event.kv.key for event in batch.events) == sorted(keys)
    assert {event.kv.value for event in batch.events} == {b"\x00\xfe"}
    assert {event.kv.mod_revision for event in batch.events} == {batch.revision}


async def test_a_revision_larger_than_a_message_comes_in_parts(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    etcd = NatsEtcd(caller, "app", None)
    stream = etcd.events(b"big")
    await stream.start()
    value = os.urandom(1_200_000)
    await direct.put("big", value)
    async with asyncio.timeout(SECONDS):
        batch = await anext(stream)
    stream.close()
    assert batch.events[0].kv.value == value


async def numbers(direct: EtcdCommunicator[str], first: int, last: int) -> None:
    for number in range(first, last):
        await direct.put(f"n{number % 7}", str(number))


@asynccontextmanager
async def reading(etcd: NatsEtcd[str]) -> AsyncIterator[list[int]]:
    """Read all numbers written below `n` in the background."""
    seen: list[int] = []
    watch = etcd.watch_prefix("n")

    async def read() -> None:
        async for event in watch:
            seen.append(int(event.value))  # noqa: PERF401 - read as it grows

    await watch.stream.start()
    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        await watch.aclose()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reach(seen: list[int], last: int) -> None:
    async def there() -> bool:
        return bool(seen) and seen[-1] == last

    await eventually(there)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_the_serving_instance_dies(
    how: signal.Signals,
    server_url: str,
    server: EtcdServer,
    caller: NatsClient,
) -> None:
    """Killed, frozen or stopped: the watch goes on elsewhere, and etcd keeps one watcher."""
    space = "app=/app/:all"
    etcd = NatsEtcd(caller, "app", heartbeat=0.5)
    async with EtcdClient(server.address).connect() as communicator:
        direct = communicator.namespace("/app/")
        async with process(server_url, server, space) as first:
            async with reading(etcd) as seen:
                await numbers(direct, 0, 50)
                await reach(seen, 49)
                async with process(server_url, server, space):
                    writing = asyncio.create_task(numbers(direct, 50, 150))
                    first.send_signal(how)
                    await writing
                    await numbers(direct, 150, 200)
                    await reach(seen, 199)
                    assert seen == list(range(200))
                    if how is signal.SIGSTOP:
                        first.send_signal(signal.SIGCONT)

                    async def one_left() -> bool:
                        return await watchers(server) == 1

                    await eventually(one_left)

            async def none_left() -> bool:
                return await watchers(server) == 0

            await eventually(none_left)


READER = """
import asyncio, sys
import nats
from micro_etcd import NatsEtcd

async def main():
    nc = await nats.connect(sys.argv[1])
    watches = [NatsEtcd(nc, "app", heartbeat=0.5).watch_prefix("n") for _ in range(10)]
    for watch in watches:
        await watch.stream.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_the_reader_dies(server_url: str, server: EtcdServer, caller: NatsClient) -> None:
    """Killed or frozen: the service ends its watches, and etcd has no watcher left."""
    rules = {"app": {"prefix": "/app/", "allow": ["all"]}}
    async with instance(server_url, server, rules) as serving:
        for how in (signal.SIGKILL, signal.SIGSTOP):
            reader = await asyncio.create_subprocess_exec(
                sys.executable, "-c", READER, server_url, stdout=asyncio.subprocess.PIPE
            )
            try:
                assert reader.stdout is not None
                assert await asyncio.wait_for(reader.stdout.readline(), SECONDS) == b"ready\n"
                assert serving.service.watches == 10
                assert await watchers(server) == 10
                reader.send_signal(how)

                async def gone() -> bool:
                    return serving.service.watches == 0 and await watchers(server) == 0

                await eventually(gone)
            finally:
                if reader.returncode is None:
                    reader.kill()
                await reader.communicate()

        feeds = [task for task in asyncio.all_tasks() if "Feed." in repr(task.get_coro())]
        assert feeds == []


HOLDER = """
import asyncio, sys
import nats
from micro_etcd import NatsEtcd

async def main():
    nc = await nats.connect(sys.argv[1])
    async with NatsEtcd(nc, "app").with_lock("l", ttl=2):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_holder_of_a_lock_dies(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> None:
    """Its lease ends by itself, since nobody else keeps it alive; the next one gets the lock."""
    rules = {"app": {"prefix": "/app/", "allow": ["all"]}}
    async with (
        instance(server_url, server, rules),
        EtcdClient(server.address).connect() as direct,
    ):
        assert await direct.leases.ids() == []
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLDER, server_url, stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdout is not None
        assert await asyncio.wait_for(holder.stdout.readline(), SECONDS) == b"ready\n"
        holder.kill()
        await holder.communicate()
        async with NatsEtcd(caller, "app").with_lock("l", timeout=SECONDS):
            pass

        async def no_lease_left() -> bool:
            return await direct.leases.ids() == []

        await eventually(no_lease_left)


async def test_a_slow_reader_is_waited_for_and_loses_nothing(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    """It stops for longer than the service waits; its buffer stays within the window."""
    etcd = NatsEtcd(caller, "app", heartbeat=0.2, window=16)
    watch = etcd.watch_prefix("n")
    await watch.stream.start()
    await numbers(direct, 0, 1)
    assert (await anext(watch)).value == "0"
    await numbers(direct, 1, 300)

    async def given_up() -> bool:
        return serving.service.watches == 0

    await eventually(given_up)
    async with asyncio.timeout(SECONDS):
        seen = [int((await anext(watch)).value) for _ in range(299)]
    assert seen == list(range(1, 300))
    await watch.aclose()


async def test_a_pause_within_the_limits_costs_no_restart(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    etcd = NatsEtcd(caller, "app", window=8)
    watch = etcd.watch_prefix("n")
    await watch.stream.start()
    await numbers(direct, 0, 200)
    async with asyncio.timeout(SECONDS):
        seen = [int((await anext(watch)).value) for _ in range(200)]
    assert seen == list(range(200))
    stats = serving.service.started_watches
    assert stats == 1
    await watch.aclose()


async def test_compaction_during_a_gap_is_an_error_of_the_reader(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> None:
    rules = {"app": {"prefix": "/app/", "allow": ["all"]}}
    etcd = NatsEtcd(caller, "app", heartbeat=0.3)
    async with EtcdClient(server.address).connect() as direct:
        async with instance(server_url, server, rules):
            watch = etcd.watch_prefix("")
            await watch.stream.start()
            await direct.put("/app/a", "1")
            assert (await anext(watch)).value == "1"
        await direct.put("/app/a", "2")
        revision = await direct.kv.revision(b"a")
        await direct.put("/app/a", "3")
        await direct.kv.compact(revision + 1)
        async with instance(server_url, server, rules):
            with pytest.raises(EtcdCompactedError) as caught:
                await asyncio.wait_for(anext(watch), SECONDS)
            assert caught.value.compact_revision == revision + 1


async def test_a_wiped_store_is_an_error_of_the_reader(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> None:
    rules = {"app": {"prefix": "/app/", "allow": ["all"]}}
    etcd = NatsEtcd(caller, "app", heartbeat=0.3)
    async with (
        EtcdClient(server.address).connect() as direct,
        instance(server_url, server, rules),
    ):
        watch = etcd.watch_prefix("")
        await watch.stream.start()
        await direct.put("/app/a", "1")
        await direct.put("/app/a", "2")
        assert [(await anext(watch)).value for _ in range(2)] == ["1", "2"]
    await asyncio.to_thread(server.stop)
    server.wipe()
    await asyncio.to_thread(server.start)
    async with instance(server_url, server, rules):
        with pytest.raises(EtcdHistoryLostError):
            await asyncio.wait_for(anext(watch), SECONDS)


async def test_dropping_a_watch_ends_it(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    etcd = NatsEtcd(caller, "app")
    async with asyncio.timeout(SECONDS):
        writing = asyncio.create_task(numbers(direct, 0, 20))
        async for _ in etcd.watch_prefix("n", start_revision=1):
            break
        await writing

    async def gone() -> bool:
        return serving.service.watches == 0

    await eventually(gone)


async def test_a_permission_missing_is_raised(
    server_url: str, shared_server: EtcdServer, caller: NatsClient
) -> None:
    rules = {"app": {"prefix": "/p/", "allow": ["get"]}}
    async with instance(server_url, shared_server, rules):
        watch = NatsEtcd(caller, "app").watch("k")
        with pytest.raises(EtcdPermissionDeniedError, match="may not watch"):
            await anext(watch)


@pytest.mark.parametrize(
    "deliver",
    [
        *(
            "",
            "orders.new",
            "_INBOX.*",
            "_INBOX.>",
            "_INBOX.a b",
            "_INBOX..a",
            "_INBOXES",
            "$SYS.x",
        ),
        "_INBOX." + "a" * 4096,
    ],
)
async def test_events_go_to_inboxes_only(
    deliver: str, serving: Instance, caller: NatsClient
) -> None:
    body = {"prefix": "", "deliver": deliver}
    error = await refusal(caller, "etcd.app.watch.start", body)
    assert (error.code, error.headers["Etcd-Error"]) == (400, "INVALID_ARGUMENT")


async def test_more_watches_than_allowed_are_refused(
    server_url: str, shared_server: EtcdServer, caller: NatsClient
) -> None:
    rules = {"app": {"prefix": "/w/", "allow": ["all"]}}
    async with instance(server_url, shared_server, rules, max_watches=0):
        body = {"prefix": "", "deliver": caller.new_inbox()}
        error = await refusal(caller, "etcd.app.watch.start", body)
        assert (error.code, error.headers["Etcd-Error"]) == (429, "TOO_MANY_REQUESTS")


async def test_another_namespace_cannot_stop_a_watch(
    server_url: str, shared_server: EtcdServer, caller: NatsClient
) -> None:
    rules = {
        "app": {"prefix": "/w1/", "allow": ["all"]},
        "other": {"prefix": "/w2/", "allow": ["all"]},
    }
    async with instance(server_url, shared_server, rules) as serving:
        inbox = caller.new_inbox()
        await caller.subscribe(inbox)
        found = await ask(caller, "etcd.app.watch.start", {"prefix": "", "deliver": inbox})
        stop = f"watch.stop.{found['instance']}"
        await ask(caller, f"etcd.other.{stop}", {"watch_id": found["watch_id"]})
        assert serving.service.watches == 1
        await ask(caller, f"etcd.app.{stop}", {"watch_id": found["watch_id"]})
        assert serving.service.watches == 0


async def test_numbers_events_without_a_gap_and_asks_for_acknowledgement(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    """The protocol as another language sees it."""
    inbox = caller.new_inbox()
    subscription = await caller.subscribe(inbox)
    body = {"key": "k", "deliver": inbox, "heartbeat_s": 0.2}
    found = await ask(caller, "etcd.app.watch.start", body)
    await direct.put("k", "1")
    await direct.put("k", "2")
    events: list[tuple[str, int]] = []
    while len(events) < 2:
        message = await subscription.next_msg(SECONDS)
        headers = message.headers or {}
        assert headers["Etcd-Watch"] == found["watch_id"]
        if "Etcd-Heartbeat" in headers:
            await caller.publish(message.reply, headers={"Etcd-Ack": headers["Etcd-Seq"]})
        else:
            events.append((headers["Etcd-Seq"], int(headers["Etcd-Revision"])))
    assert [seq for seq, _ in events] == ["1", "2"]
    assert found["revision"] < events[0][1] < events[1][1]


async def test_options_of_a_watch_pass_through(
    serving: Instance, caller: NatsClient, direct: EtcdCommunicator[str]
) -> None:
    await direct.put("n0", "1")
    start = await direct.kv.revision(b"n0")
    await direct.put("n0", "2")
    await direct.delete("n0")
    options = WatchOptions(start_revision=start, filters=[WatchCreateRequestFilterType.NODELETE])
    stream = NatsEtcd(caller, "app").events(b"n0", options=options)
    async with asyncio.timeout(SECONDS):
        values = [(await anext(stream)).events[0].kv.value for _ in range(2)]
    stream.close()
    assert values == [b"1", b"2"]


async def test_heartbeats_outlive_the_deadline_of_the_request_for_the_watch(
    serving: Instance, caller: NatsClient
) -> None:
    """A `micro.Client` tells the service how long it waits for the answer, and no longer."""
    inbox = caller.new_inbox()
    subscription = await caller.subscribe(inbox)
    client = micro.Client(caller)
    body = {"key": "k", "deliver": inbox, "heartbeat_s": 0.1}
    patience = 0.5
    answer = await client.request(
        "etcd.app.watch.start", json.dumps(body).encode(), timeout=patience
    )
    end = asyncio.get_running_loop().time() + 2 * patience
    beats = 0
    while asyncio.get_running_loop().time() < end or beats < 3:
        message = await subscription.next_msg(SECONDS)
        headers = message.headers or {}
        assert "Etcd-Heartbeat" in headers
        assert headers["Etcd-Watch"] == json.loads(answer.data)["watch_id"]
        await caller.publish(message.reply, headers={"Etcd-Ack": headers["Etcd-Seq"]})
        beats += 1
    assert serving.service.watches == 1
