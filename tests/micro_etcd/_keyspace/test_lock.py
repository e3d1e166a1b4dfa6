"""Locks: exclusive, renewed or capped, known to be lost, fenced, and gone without a trace."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import EtcdClient, EtcdCommunicator, EtcdLockLostError, HeldLock
from micro_etcd.testing import EtcdServer

SESSION_TTL = 15  # of a lock without ttl


async def waiting(communicator: EtcdCommunicator[str], name: str, count: int) -> None:
    """Return when `count` keys queue for a lock."""
    async with asyncio.timeout(30):
        while len(await communicator.keys_prefix(f"{name}/")) != count:
            await asyncio.sleep(0.01)


async def leftovers(communicator: EtcdCommunicator[str], name: str) -> tuple[list[str], int]:
    return await communicator.keys_prefix(f"{name}/"), len(await communicator.leases.ids())


@every_version
async def test_lock_is_exclusive_and_fair(etcd: EtcdClient[str], prefix: str) -> None:
    """P19: first come, first served; P18: tokens grow."""
    order: list[int] = []
    tokens: list[int] = []
    holders = 0

    async def hold(number: int) -> None:
        nonlocal holders
        async with etcd.with_lock(prefix) as communicator:
            holders += 1
            assert holders == 1
            order.append(number)
            tokens.append(communicator.lock.token)
            await communicator.get("x")
            holders -= 1

    async with etcd.connect() as communicator, communicator.with_lock(prefix):
        tasks = []
        for number in range(8):
            tasks.append(asyncio.create_task(hold(number)))
            await waiting(communicator, prefix, number + 2)
    await asyncio.gather(*tasks)

    assert order == list(range(8))
    assert tokens == sorted(set(tokens))


@every_version
async def test_lock_without_ttl_is_renewed(etcd: EtcdClient[str], prefix: str) -> None:
    """P16: its lease is always younger than a third of its ttl, so it can last for ever."""
    async with etcd.with_lock(prefix) as communicator:
        lease = communicator.lock.lease
        granted = await communicator.leases.time_to_live(lease)
        assert granted is not None
        assert granted.granted_ttl == SESSION_TTL
        seen = granted.ttl
        async with asyncio.timeout(SESSION_TTL):
            while True:  # until the time to live has risen again
                info = await communicator.leases.time_to_live(lease)
                assert info is not None
                if info.ttl > seen:
                    break
                seen = info.ttl
                await asyncio.sleep(0.2)
        assert seen >= SESSION_TTL * 2 // 3 - 1
        assert not communicator.lock.lost
        assert communicator.lock.remaining > SESSION_TTL / 2


@every_version
async def test_ttl_is_a_hard_cap_and_the_holder_is_told(etcd: EtcdClient[str], prefix: str) -> None:
    """P16: by flag, by callback, by an error on leaving; the cap counts from acquisition."""
    told = asyncio.Event()
    entered = asyncio.Event()
    times: dict[str, float] = {}

    async def overrun() -> None:
        async with etcd.with_lock(prefix, ttl=3, on_lost=told.set) as communicator:
            times["first"] = time.monotonic()
            entered.set()
            await communicator.lock.wait_lost()
            assert communicator.lock.lost
            assert communicator.lock.remaining == 0

    overrunning = asyncio.create_task(overrun())
    await entered.wait()
    async with etcd.with_lock(prefix, ttl=3) as second:
        times["second"] = time.monotonic()
        # Queueing for longer than its own ttl has not shortened what the second holder has.
        assert second.lock.remaining > 2
    with pytest.raises(EtcdLockLostError, match="was lost before it was released"):
        await overrunning

    assert told.is_set()
    assert 2.5 < times["second"] - times["first"] < 8


async def test_error_of_the_body_is_not_replaced(etcd: EtcdClient[str], prefix: str) -> None:
    async def fail() -> None:
        async with etcd.with_lock(prefix, ttl=2) as communicator:
            await communicator.lock.wait_lost()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


@every_version
async def test_loss_is_known_without_hearing_from_the_server(
    server: EtcdServer, prefix: str
) -> None:
    """P17: a partition; the holder's own clock tells."""
    async with Proxy(server.address) as proxy:
        client = EtcdClient(proxy.address)
        async with client.connect() as communicator:
            keeper = await communicator.leases.keep(3)
            proxy.hold()
            start = time.monotonic()
            await keeper.wait_lost()
            assert keeper.lost
            assert time.monotonic() - start < 3.5
            proxy.release()
            await keeper.stop()


async def test_blocked_loop_does_not_hide_the_loss(etcd: EtcdClient[str]) -> None:
    """P17: asked after a block, before any timer could run, the answer is already right."""
    async with etcd.connect() as communicator, await communicator.leases.keep(2) as keeper:
        time.sleep(2.1)
        assert keeper.lost


@every_version
async def test_frozen_server_costs_the_lock(server: EtcdServer, prefix: str) -> None:
    """P17: the server is stopped while the lock is held, so no renewal is answered."""
    async with EtcdClient(server.address).connect() as communicator:
        keeper = await communicator.leases.keep(2)
        server.freeze()
        await keeper.wait_lost()
        server.thaw()
        await keeper.stop()

        assert keeper.lost


@every_version
async def test_guarded_write_is_refused_after_loss(etcd: EtcdClient[str], prefix: str) -> None:
    """P18: fencing. An unguarded late write would go through; a guarded one cannot."""
    async with etcd.connect() as communicator:

        async def write(lock: HeldLock, value: str) -> bool:
            result = await communicator.txn_compare(
                [lock.guard], lambda success, _: success.put(f"{prefix}v", value)
            )
            return result.succeeded

        async def overrun() -> None:
            async with communicator.with_lock(prefix, ttl=2) as first:
                assert await write(first, "first")
                async with communicator.with_lock(
                    prefix
                ) as second:  # had after first's two seconds
                    assert second.token > first.token
                    assert not await write(first, "late")
                    assert await write(second, "second")

        with pytest.raises(EtcdLockLostError):
            await overrun()
        assert await communicator.get(f"{prefix}v") == "second"


@every_version
async def test_waiter_whose_lease_ended_does_not_get_the_lock(
    server: EtcdServer, prefix: str
) -> None:
    """P18: the own key is read again after the wait (etcd 11456)."""
    etcd = EtcdClient(server.address)
    async with etcd.connect() as communicator:
        async with communicator.with_lock(prefix) as first:

            async def wait() -> None:
                async with etcd.with_lock(prefix):
                    raise AssertionError("entered without a lock")

            waiter = asyncio.create_task(wait())
            await waiting(communicator, prefix, 2)
            (lease,) = set(await communicator.leases.ids()) - {first.lease}
            await communicator.revoke_lease(lease)
        with pytest.raises(EtcdLockLostError, match="lost the place in the queue"):
            await waiter


@every_version
@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_waiter_that_gives_up_leaves_nothing(
    server: EtcdServer, prefix: str, how: str
) -> None:
    """P19: no key, no lease, no socket."""
    async with (
        Proxy(server.address) as proxy,
        EtcdClient(server.address).connect() as communicator,
        communicator.with_lock(prefix),
    ):
        before = await leftovers(communicator, prefix)
        client = EtcdClient(proxy.address)

        async def wait() -> None:
            async with client.with_lock(prefix, timeout=0.3 if how == "timeout" else None):
                raise AssertionError("entered a lock that is held")

        task = asyncio.create_task(wait())
        if how == "cancel":
            await waiting(communicator, prefix, 2)
            task.cancel()
        with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
            await task
        assert await leftovers(communicator, prefix) == before
        async with asyncio.timeout(10):
            while proxy.open_connections:
                await asyncio.sleep(0.01)


CRASHING = """
import asyncio, sys
from micro_etcd import EtcdClient

async def main():
    async with EtcdClient(sys.argv[1]).with_lock(sys.argv[2], ttl=3):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@every_version
async def test_crash_releases_the_lock(shared_server: EtcdServer, prefix: str) -> None:
    """P19: within the ttl and what etcd takes to notice."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, str(shared_server.address), prefix, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    async with EtcdClient(shared_server.address).with_lock(prefix, timeout=10):
        pass


@every_version
async def test_queue_is_shared_with_etcdctl(
    shared_server: EtcdServer, binaries: Binaries, prefix: str, tmp_path: Path
) -> None:
    """P19: `etcdctl lock` waits for us, and we for it."""
    etcd = EtcdClient(shared_server.address)
    marker, go_on = tmp_path / "held", tmp_path / "go-on"
    script = f"touch {marker}; while [ ! -e {go_on} ]; do sleep 0.02; done"
    async with etcd.connect() as communicator:
        async with communicator.with_lock(prefix):
            process = await asyncio.create_subprocess_exec(
                binaries.etcdctl,
                f"--endpoints={shared_server.address}",
                "lock",
                prefix,
                "--",
                "sh",
                "-c",
                script,
                env={**os.environ, "ETCDCTL_API": "3"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            await waiting(communicator, prefix, 2)
            assert not marker.exists()
        async with asyncio.timeout(20):
            while not marker.exists():
                await asyncio.sleep(0.02)
        third = asyncio.create_task(enter(etcd, prefix))
        await waiting(communicator, prefix, 2)
        assert not third.done()
        go_on.touch()
        assert await process.wait() == 0
        await third


async def enter(etcd: EtcdClient[str], name: str) -> None:
    async with etcd.with_lock(name, timeout=20):
        pass


async def test_connection_that_holds_no_lock_says_so(etcd: EtcdClient[str]) -> None:
    async with etcd.connect() as communicator:
        with pytest.raises(EtcdLockLostError, match=r"no lock is held: use EtcdClient\.with_lock"):
            _ = communicator.lock


async def test_place_under_a_lease_of_somebody_else(etcd: EtcdClient[str], prefix: str) -> None:
    """What a service needs that takes locks for its callers."""
    async with etcd.connect() as communicator:
        lease = await communicator.grant_lease(30)
        place = communicator.queue_place(prefix, lease)
        await place.enter()
        token = place.token
        await place.enter()  # again: nothing changes
        assert place.token == token > 0
        await place.wait()
        with pytest.raises(TimeoutError):
            async with communicator.with_lock(prefix, timeout=0.2):
                pass
        result = await communicator.txn_compare(
            [place.guard], lambda success, _: success.put(f"{prefix}v", "1")
        )
        assert result.succeeded
        await communicator.revoke_lease(lease)
        async with communicator.with_lock(prefix, timeout=5):
            pass


HOLDING = """
import asyncio, sys
from micro_etcd import EtcdClient

async def main():
    async with EtcdClient(sys.argv[1]).connect() as communicator:
        keeper = await communicator.leases.keep(2)
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.timeout(20):
            await keeper.wait_lost()
        print("lost", flush=True)

asyncio.run(main())
"""


async def test_stopped_holder_learns_of_its_loss(server: EtcdServer) -> None:
    """P17: the holder's process is stopped for longer than its lease lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLDING,
        str(server.address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"held\n"
    os.kill(process.pid, signal.SIGSTOP)
    async with EtcdClient(server.address).connect() as communicator:
        async with asyncio.timeout(30):
            while await communicator.leases.ids():
                await asyncio.sleep(0.05)
    os.kill(process.pid, signal.SIGCONT)
    process.stdin.write(b"\n")
    assert await process.stdout.readline() == b"lost\n"
    assert await process.wait() == 0
