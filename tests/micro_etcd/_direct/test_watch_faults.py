"""P1: whatever happens to servers and connections, a watch loses nothing and repeats nothing."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.micro_etcd.history import Line, history, reading
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import EtcdClient, EtcdCommunicator, EtcdError
from micro_etcd.testing import EtcdCluster, EtcdServer


@asynccontextmanager
async def writing(communicator: EtcdCommunicator[str], prefix: str) -> AsyncIterator[list[int]]:
    """Write numbered values while the body runs; yield their count."""
    count = [0]

    async def write() -> None:
        while True:
            with contextlib.suppress(EtcdError):  # the history says what came of an unknown outcome
                await communicator.put(f"{prefix}{count[0] % 5}", str(count[0]))
            count[0] += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(write())
    try:
        yield count
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reach(count: list[int], more: int) -> None:
    """Return when `more` further writes were made."""
    goal = count[0] + more
    async with asyncio.timeout(60):
        while count[0] < goal:
            await asyncio.sleep(0.01)


async def check(
    watched: EtcdClient[str],
    direct: EtcdClient[str],
    prefix: str,
    harm: Callable[[list[int]], Awaitable[None]],
) -> list[Line]:
    """Watch through `watched`, write through `direct`, and compare with the history."""
    async with watched.connect() as reader_side, direct.connect() as writer_side:
        first = await writer_side.kv.revision(b"x") + 1
        async with reading(reader_side, prefix) as reader:
            async with writing(writer_side, prefix) as count:
                await reach(count, 10)
                await harm(count)
                await reach(count, 10)
            last = (await writer_side.kv.put(f"{prefix}end".encode(), b"end")).revision
            await reader.until(last)
        expected = await history(writer_side, prefix, first, last)
    assert reader.lines == expected
    assert len(expected) > 15
    return expected


@every_version
@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_restarted_server(server: EtcdServer, prefix: str, how: str) -> None:
    async def harm(count: list[int]) -> None:
        await asyncio.to_thread(server.kill if how == "kill" else server.stop)
        await asyncio.to_thread(server.start)

    client = EtcdClient(server.address)
    await check(client, client, prefix, harm)


@every_version
async def test_twenty_random_cuts(shared_server: EtcdServer, prefix: str) -> None:
    async with Proxy(shared_server.address) as proxy:

        async def harm(count: list[int]) -> None:
            for _ in range(20):
                proxy.cut_after(random.randint(1, 2000))
                await reach(count, random.randint(1, 20))
                proxy.cut()

        await check(EtcdClient(proxy.address), EtcdClient(shared_server.address), prefix, harm)
        assert proxy.accepted > 10


@every_version
async def test_leader_lost(binaries: Binaries, prefix: str) -> None:
    with EtcdCluster(3, binaries.etcd) as cluster:

        async def harm(count: list[int]) -> None:
            leader = cluster.leader()
            await asyncio.to_thread(leader.kill)
            await reach(count, 10)
            await asyncio.to_thread(leader.start)

        # The watch is first on the leader, so that it loses its own member too.
        leader = cluster.leader().address
        others = [address for address in cluster.addresses if address != leader]
        writing_side = EtcdClient(others, timeout=2)
        await check(EtcdClient([leader, *others]), writing_side, prefix, harm)


async def test_rolling_restart(binaries: Binaries, prefix: str) -> None:
    with EtcdCluster(3, binaries.etcd) as cluster:

        async def harm(count: list[int]) -> None:
            for member in cluster.members:
                await asyncio.to_thread(member.stop)
                await reach(count, 5)
                await asyncio.to_thread(member.start)
                await reach(count, 5)

        client = EtcdClient(cluster.addresses)
        await check(client, client, prefix, harm)
