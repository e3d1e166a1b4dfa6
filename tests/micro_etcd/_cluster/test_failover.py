"""P11 to P13: which endpoint is asked, what is asked again, and what an unanswered write means."""

import asyncio
import time

import pytest
from tests.micro_etcd.history import history
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries, every_version

import micro
from micro_etcd import (
    EtcdClient,
    EtcdClosedError,
    EtcdCommunicator,
    EtcdDeadlineExceededError,
    EtcdError,
    EtcdOutcomeUnknownError,
    EtcdUnavailableError,
    HostPortPair,
)
from micro_etcd.testing import EtcdCluster, EtcdServer, free_port


@every_version
async def test_reads_are_linearizable_unless_asked_otherwise(
    binaries: Binaries, prefix: str
) -> None:
    """P11: a member without a quorum answers only who wants a stale answer."""
    with EtcdCluster(3, binaries.etcd) as cluster:
        alone, *rest = cluster.members
        async with EtcdClient(cluster.addresses).connect() as communicator:
            await communicator.put(f"{prefix}k", "old")
        async with EtcdClient(alone.address, timeout=2.5).connect() as communicator:
            while await communicator.get(f"{prefix}k", serializable=True) != "old":
                await asyncio.sleep(0.01)
            for member in rest:
                member.kill()
            with pytest.raises((EtcdUnavailableError, EtcdDeadlineExceededError)):
                await communicator.get(f"{prefix}k")
            assert await communicator.get(f"{prefix}k", serializable=True) == "old"


@every_version
@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_dead_first_endpoint_is_skipped(
    shared_server: EtcdServer, prefix: str, how: str
) -> None:
    """P13: within 3 s, whether nobody listens or nothing is answered."""
    async with Proxy(shared_server.address) as proxy:
        if how == "silent":
            proxy.hold()
            dead = proxy.address
        else:
            dead = HostPortPair("127.0.0.1", free_port())
        start = time.monotonic()
        async with EtcdClient([dead, shared_server.address]).connect() as communicator:
            await communicator.put(f"{prefix}k", "v")
            assert await communicator.get(f"{prefix}k") == "v"
        assert time.monotonic() - start < 3


@every_version
async def test_frozen_member_costs_a_read_three_seconds_at_most(
    binaries: Binaries, prefix: str
) -> None:
    """P11, P13: the attempt times out and the next endpoint answers; writes follow the reads."""
    with EtcdCluster(3, binaries.etcd) as cluster:
        leader = cluster.leader()
        frozen = next(member for member in cluster.members if member is not leader)
        others = [member.address for member in cluster.members if member is not frozen]
        async with EtcdClient([frozen.address, *others]).connect() as communicator:
            await communicator.put(f"{prefix}k", "v")
            frozen.freeze()
            start = time.monotonic()
            assert await communicator.get(f"{prefix}k") == "v"
            assert time.monotonic() - start < 4
            await communicator.put(f"{prefix}k", "w")
            frozen.thaw()


@every_version
async def test_leader_killed_under_load(binaries: Binaries, prefix: str) -> None:
    """P11: no read fails while the cluster elects another leader."""
    with EtcdCluster(3, binaries.etcd) as cluster:
        leader = cluster.leader().address
        others = [address for address in cluster.addresses if address != leader]
        async with EtcdClient([leader, *others]).connect() as communicator:
            await communicator.put(f"{prefix}k", "v")
            stop = asyncio.Event()

            async def read() -> int:
                count = 0
                while not stop.is_set():
                    assert await communicator.get(f"{prefix}k") == "v"
                    count += 1
                return count

            readers = [asyncio.create_task(read()) for _ in range(8)]
            await asyncio.to_thread(cluster.leader().kill)
            await asyncio.to_thread(cluster.leader)  # there is another
            stop.set()
            assert all(count > 0 for count in await asyncio.gather(*readers))


async def test_nobody_answers(binaries: Binaries) -> None:
    """P13: a typed error within the time allowed, never a hang."""
    dead = [HostPortPair("127.0.0.1", free_port()) for _ in range(3)]
    start = time.monotonic()
    with pytest.raises(EtcdUnavailableError, match="no answer from"):
        async with EtcdClient(dead, timeout=2).connect():
            pass
    assert time.monotonic() - start < 5


@every_version
async def test_frozen_server_is_an_error_in_time(server: EtcdServer) -> None:
    """P13: for a read a time-out, for a write an unknown outcome."""
    async with EtcdClient(server.address, timeout=2).connect() as communicator:
        server.freeze()
        read = asyncio.create_task(communicator.get("k"))
        with pytest.raises(EtcdOutcomeUnknownError) as caught:
            await communicator.put("k", "v")
        with pytest.raises((EtcdDeadlineExceededError, EtcdUnavailableError)):
            await read
        server.thaw()

    assert caught.value.outcome == "unknown"
    assert int(caught.value) == 4
    assert caught.value.name == "OUTCOME_UNKNOWN"


@every_version
async def test_write_that_was_never_sent_waits_for_the_server(
    server: EtcdServer, prefix: str
) -> None:
    """P12: surely unprocessed, so it is sent when the server is back."""
    async with EtcdClient(server.address, timeout=30).connect() as communicator:
        await asyncio.to_thread(server.kill)
        while True:  # until the loss of the connection is known
            with pytest.raises(EtcdError):
                async with EtcdClient(server.address, timeout=0.2).connect():
                    pass
            break
        writing = asyncio.create_task(communicator.put(f"{prefix}k", "v"))
        await asyncio.to_thread(server.start)
        await writing
        assert await communicator.get(f"{prefix}k") == "v"


@every_version
async def test_write_is_applied_at_most_once(shared_server: EtcdServer, prefix: str) -> None:
    """P12: through cuts at any byte; each success once, each unknown outcome once or not at all."""
    key = f"{prefix}k"
    done: list[str] = []
    unknown: list[str] = []
    async with (
        EtcdClient(shared_server.address).connect() as direct,
        Proxy(shared_server.address) as proxy,
        EtcdClient(proxy.address).connect() as cut,
    ):
        first = await direct.kv.revision(b"x") + 1

        async def write(communicator: EtcdCommunicator[str], value: str) -> None:
            try:
                await communicator.put(key, value)
            except EtcdOutcomeUnknownError:
                unknown.append(value)
            else:
                done.append(value)

        for number in range(60):
            if number % 3 == 0:
                proxy.cut_after(number * 7 % 900 + 1)
            await asyncio.gather(*(write(cut, f"{number}.{part}") for part in range(8)))
        last = await direct.kv.revision(b"x")
        applied = [value.decode() for _, _, value in await history(direct, prefix, first, last)]

    assert unknown  # else the cuts did not fall where they matter
    assert len(applied) == len(set(applied))
    assert set(done) <= set(applied) <= set(done) | set(unknown)


async def test_write_that_hangs_makes_the_next_go_elsewhere(
    shared_server: EtcdServer, prefix: str
) -> None:
    async with Proxy(shared_server.address) as proxy:
        client = EtcdClient([proxy.address, shared_server.address], timeout=1)
        async with client.connect() as communicator:
            await communicator.put(f"{prefix}k", "1")
            proxy.hold()
            with pytest.raises(EtcdOutcomeUnknownError):
                await communicator.put(f"{prefix}k", "2")
            await communicator.put(f"{prefix}k", "3")
            assert await communicator.get(f"{prefix}k") == "3"


async def test_status_tells_who_answers(binaries: Binaries) -> None:
    with EtcdServer(binaries.etcd) as server:
        dead = HostPortPair("127.0.0.1", free_port())
        async with EtcdClient([server.address, dead]).connect() as communicator:
            alive, gone = await communicator.status()

    assert alive.version.startswith("3.5")
    assert alive.leader == alive.member_id
    assert alive.errors == []
    refused = "Failed to connect to remote host: Connection refused"
    assert gone.errors == [f"cannot connect to {dead}: {refused}"]


async def test_call_after_close_is_an_error(etcd: EtcdClient[str]) -> None:
    async with etcd.connect() as communicator:
        reading = asyncio.create_task(communicator.get("k"))
    with pytest.raises(EtcdUnavailableError) as caught:
        await communicator.put("k", "v")
    assert isinstance(caught.value, EtcdClosedError)
    assert isinstance(caught.value, micro.ClosedError)
    with pytest.raises(EtcdUnavailableError):
        await reading
    await communicator.close()
