"""Watches: where they start and resume, what ends them, what they cost, what they leave behind."""

import asyncio
import gc
import resource

import pytest
from tests.micro_etcd.history import history, reading
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import (
    EtcdClient,
    EtcdCommunicator,
    EtcdCompactedError,
    EtcdHistoryLostError,
    EtcdInvalidArgumentError,
    EtcdTransactionAction,
    EtcdUnavailableError,
    WatchCreateRequestFilterType,
    WatchEvent,
    WatchEventType,
    WatchOptions,
)
from micro_etcd.testing import EtcdCluster, EtcdServer, free_port


async def watchers(server: EtcdServer, expected: int) -> None:
    """Return when the server has `expected` watchers."""
    async with asyncio.timeout(20):
        while (
            await asyncio.to_thread(server.metric, "etcd_debugging_mvcc_watcher_total") != expected
        ):
            await asyncio.sleep(0.02)


async def fill(communicator: EtcdCommunicator[str], prefix: str, count: int) -> tuple[int, int]:
    """Put `count` keys one by one; return the first and the last revision."""
    first = (await communicator.kv.put(f"{prefix}0".encode(), b"0")).revision
    for start in range(1, count, 64):
        numbers = range(start, min(start + 64, count))
        await asyncio.gather(*(communicator.put(f"{prefix}{n}", str(n)) for n in numbers))
    return first, await communicator.kv.revision(b"x")


@every_version
async def test_cut_inside_a_backlog_loses_nothing(shared_server: EtcdServer, prefix: str) -> None:
    """P2: while a watch catches up, the header's revision is far ahead of its events."""
    async with (
        EtcdClient(shared_server.address).connect() as direct,
        Proxy(shared_server.address) as proxy,
        EtcdClient(proxy.address).connect() as cut,
    ):
        first, last = await fill(direct, prefix, 4000)
        options = WatchOptions(start_revision=first)
        stream = cut.events(prefix.encode(), prefix[:-1].encode() + b"0", options=options)
        seen: list[int] = []
        async for batch in stream:
            seen += [event.kv.mod_revision for event in batch.events]
            if len(seen) in (5, 1200, 2500):
                proxy.cut()
            if seen[-1] == last:
                break

    assert seen == sorted(set(seen))
    assert len(seen) == 4000


@every_version
async def test_from_now_means_after_the_call(shared_server: EtcdServer, prefix: str) -> None:
    """P3: an idle cut replays no older event, and the first event after the call is shown."""
    async with (
        EtcdClient(shared_server.address).connect() as direct,
        Proxy(shared_server.address) as proxy,
        EtcdClient(proxy.address).connect() as cut,
    ):
        await direct.put(f"{prefix}k", "before")
        async with reading(cut, prefix) as reader:
            proxy.cut()
            last = 0
            for number in range(3):
                last = (await direct.kv.put(f"{prefix}k".encode(), str(number).encode())).revision
            await reader.until(last)

    assert [value for _, _, value in reader.lines] == [b"0", b"1", b"2"]


async def test_ready_event_comes_after_the_server_has_the_watch(
    etcd: EtcdClient[str], prefix: str
) -> None:
    async with etcd.connect() as communicator:
        ready = asyncio.Event()
        watch = communicator.watch(f"{prefix}k", ready_event=ready)

        async def write() -> None:
            await ready.wait()
            await communicator.put(f"{prefix}k", "v")

        writing = asyncio.create_task(write())
        event = await anext(watch)
        await writing

    assert event == WatchEvent(f"{prefix}k", "v", None, WatchEventType.PUT)


async def test_start_revision_in_past_and_future(etcd: EtcdClient[str], prefix: str) -> None:
    """P4: nothing older than asked for is shown, whatever the server sends."""
    async with etcd.connect() as communicator:
        key = f"{prefix}k"
        for number in range(3):
            await communicator.put(key, str(number))
        revision = await communicator.kv.revision(b"x")
        past = communicator.watch(key, start_revision=revision - 1)
        assert [(await anext(past)).value for _ in range(2)] == ["1", "2"]
        future = communicator.watch(key, start_revision=revision + 2)
        async with future:
            await communicator.put(key, "3")
            await communicator.put(key, "4")
            assert (await anext(future)).value == "4"


async def test_negative_start_revision_is_refused(etcd: EtcdClient[str]) -> None:
    async with etcd.connect() as communicator:
        with pytest.raises(
            EtcdInvalidArgumentError, match="invalid start_revision -1: expected 0 or more"
        ):
            communicator.watch("k", start_revision=-1)


async def test_filters_and_previous_values(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:
        key = f"{prefix}k"
        deletes = communicator.watch(
            key, filters=[WatchCreateRequestFilterType.NOPUT], prev_kv=True
        )
        puts = communicator.watch(key, filters=[WatchCreateRequestFilterType.NODELETE])
        async with deletes, puts:
            await communicator.put(key, "1")
            await communicator.delete(key)
            await communicator.put(key, "2")
            assert await anext(deletes) == WatchEvent(key, "", "1", WatchEventType.DELETE)
            assert [(await anext(puts)).value for _ in range(2)] == ["1", "2"]


async def test_one_txn_is_one_batch(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator, reading(communicator, prefix) as reader:

        def puts(action: EtcdTransactionAction[str]) -> None:
            for number in range(20):
                action.put(f"{prefix}{number}", str(number))

        result = await communicator.txn(puts)
        await reader.until(result.revision)

    assert len(reader.lines) == 20
    assert {revision for revision, _, _ in reader.lines} == {result.revision}


@every_version
async def test_compacted_start_is_an_error(server: EtcdServer, prefix: str) -> None:
    """P5, at the start."""
    async with EtcdClient(server.address).connect() as communicator:
        first, last = await fill(communicator, prefix, 10)
        await communicator.kv.compact(last)
        with pytest.raises(EtcdCompactedError) as caught:
            await anext(communicator.watch_prefix(prefix, start_revision=first))

    assert caught.value.compact_revision == last
    assert caught.value.name == "COMPACTED"


@every_version
async def test_compaction_during_a_gap_is_an_error(
    server: EtcdServer, binaries: Binaries, prefix: str
) -> None:
    """P5, during a gap: events the watch never saw are gone."""
    async with (
        EtcdClient(server.address).connect() as direct,
        Proxy(server.address) as proxy,
        EtcdClient(proxy.address).connect() as cut,
        reading(cut, prefix) as reader,
    ):
        await reader.until((await direct.kv.put(f"{prefix}a".encode(), b"seen")).revision)
        await proxy.refuse()
        _, last = await fill(direct, prefix, 10)
        await direct.kv.compact(last)
        await proxy.accept()
        with pytest.raises(EtcdCompactedError):
            await reader.until(last)

    assert [value for _, _, value in reader.lines] == [b"seen"]


@every_version
async def test_wiped_store_is_an_error(server: EtcdServer, prefix: str) -> None:
    """P6: a watch does not wait for ever for revisions that will not come."""
    async with (
        EtcdClient(server.address).connect() as communicator,
        reading(communicator, prefix) as reader,
    ):
        _, last = await fill(communicator, prefix, 10)
        await reader.until(last)
        await asyncio.to_thread(server.kill)
        server.wipe()
        await asyncio.to_thread(server.start)
        with pytest.raises(EtcdHistoryLostError, match=f"but {last} was seen before"):
            await reader.until(last + 1)


@every_version
async def test_backlog_beyond_any_message_limit(shared_server: EtcdServer, prefix: str) -> None:
    """P7: 8 x 1 MB arrive, also when the connection is cut in the middle of them."""
    value = b"x" * 1_000_000
    async with (
        EtcdClient(shared_server.address).connect() as direct,
        Proxy(shared_server.address) as proxy,
        EtcdClient(proxy.address).connect() as cut,
    ):
        first = 0
        for number in range(8):
            put = await direct.kv.put(f"{prefix}{number}".encode(), value)
            first = first if first else put.revision
        proxy.cut_after(3_500_000)
        options = WatchOptions(start_revision=first)
        stream = cut.events(prefix.encode(), prefix[:-1].encode() + b"0", options=options)
        keys = []
        async for batch in stream:
            keys += [event.kv.key.decode() for event in batch.events]
            assert all(event.kv.value == value for event in batch.events)
            if len(keys) == 8:
                break

    assert keys == [f"{prefix}{number}" for number in range(8)]
    assert proxy.accepted > 1


@every_version
async def test_frozen_member_is_left(binaries: Binaries, prefix: str) -> None:
    """P8: a member that keeps its sockets and answers nothing costs a watch 15 s or so."""
    with EtcdCluster(3, binaries.etcd) as cluster:
        leader = cluster.leader()
        frozen = next(member for member in cluster.members if member is not leader)
        others = [m.address for m in cluster.members if m is not frozen]
        async with (
            EtcdClient([frozen.address, *others]).connect() as watching,
            EtcdClient(others).connect() as direct,
            reading(watching, prefix) as reader,
        ):
            await reader.until((await direct.kv.put(f"{prefix}a".encode(), b"1")).revision)
            frozen.freeze()
            await reader.until((await direct.kv.put(f"{prefix}b".encode(), b"2")).revision, 25)
            frozen.thaw()

    assert [value for _, _, value in reader.lines] == [b"1", b"2"]


def rss_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


async def test_reader_that_stops_keeps_memory_bounded(etcd: EtcdClient[str], prefix: str) -> None:
    """P9: 120 MB of events are written past a reader that has stopped; others are not held up."""
    value = "x" * 500_000
    async with (
        etcd.connect() as slow,
        etcd.connect() as direct,
        slow.watch_prefix(prefix) as stopped,
    ):
        await direct.put(f"{prefix}0", value)
        await anext(stopped)
        gc.collect()
        before = rss_kib()
        for number in range(240):
            await direct.put(f"{prefix}{number % 4}", value)
            await slow.get(f"{prefix}other")
        grown = rss_kib() - before
        assert grown < 60_000
        for _ in range(240):
            await anext(stopped)


@every_version
async def test_leaving_a_watch_removes_it_from_the_server(server: EtcdServer, prefix: str) -> None:
    """P10: by break, by cancellation, by aclose, by closing the connection."""
    async with EtcdClient(server.address).connect() as communicator:

        async def first_event() -> None:
            async for _ in communicator.watch_prefix(prefix):
                break

        async def for_ever() -> None:
            async for _ in communicator.watch_prefix(prefix):
                pass

        breaking = asyncio.create_task(first_event())
        cancelled = asyncio.create_task(for_ever())
        closed = communicator.watch_prefix(prefix)
        await closed.stream.start()
        left = communicator.watch_prefix(prefix)
        await left.stream.start()
        await watchers(server, 4)
        await communicator.put(f"{prefix}a", "1")
        await breaking
        await watchers(server, 3)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        await watchers(server, 2)
        await closed.aclose()
        await closed.aclose()
        await watchers(server, 1)
        assert [event async for event in closed] == []
    await watchers(server, 0)


async def test_cancelled_read_loses_nothing(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator, communicator.watch_prefix(prefix) as watch:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0.05)
        await communicator.put(f"{prefix}a", "1")
        await communicator.put(f"{prefix}a", "2")

        assert [(await anext(watch)).value for _ in range(2)] == ["1", "2"]


async def test_closing_from_another_task_ends_the_loop(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:
        watch = communicator.watch_prefix(prefix)
        await watch.stream.start()

        async def read() -> list[str]:
            return [event.value async for event in watch]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        await watch.aclose()
        assert await reading == []
        assert await communicator.get("none") is None


async def test_hundred_watches_share_a_connection(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:
        watches = [communicator.watch(f"{prefix}{number}") for number in range(100)]
        await asyncio.gather(*(watch.stream.start() for watch in watches))
        await asyncio.gather(*(communicator.put(f"{prefix}{n}", str(n)) for n in range(100)))
        events = await asyncio.gather(*(anext(watch) for watch in watches))

    assert [event.value for event in events] == [str(number) for number in range(100)]


async def test_watch_without_a_server_is_an_error(server: EtcdServer) -> None:
    async with EtcdClient(server.address, timeout=1).connect() as communicator:
        await asyncio.to_thread(server.kill)
        with pytest.raises(EtcdUnavailableError):
            await anext(communicator.watch("k"))


async def test_client_without_a_server_is_an_error() -> None:
    client = EtcdClient(f"127.0.0.1:{free_port()}", timeout=1)
    with pytest.raises(EtcdUnavailableError, match=r"no answer from 127\.0\.0\.1:"):
        async with client.connect():
            pass


async def test_progress_is_yielded_when_asked_for(binaries: Binaries, prefix: str) -> None:
    arguments = ["--experimental-watch-progress-notify-interval=100ms"]
    with EtcdServer(binaries.etcd, arguments=arguments) as server:
        async with EtcdClient(server.address).connect() as communicator:
            options = WatchOptions(progress=True)
            stream = communicator.events(prefix.encode(), options=options)
            await stream.start()
            other = (await communicator.kv.put(b"other", b"1")).revision
            batch = await anext(stream)
            while batch.revision < other:
                batch = await anext(stream)
            # A quiet watch is ahead of compaction: its resume point has moved on.
            assert batch.events == ()
            assert stream.next_revision == other + 1
            await communicator.kv.compact(other)
            assert await history(communicator, prefix, other, other) == []
