"""Elections: one leader, followed by the next, seen by observers and by etcdctl."""

import asyncio
import os
import subprocess

import pytest
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import EtcdClient, EtcdLockLostError
from micro_etcd.testing import EtcdServer


@every_version
async def test_campaign_proclaim_observe_resign(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as one, etcd.connect() as two, etcd.connect() as observer:
        first, second = one.election(prefix), two.election(prefix)
        assert await first.leader() is None
        seen = observer.election(prefix).observe()
        watching = asyncio.ensure_future(anext(seen))
        await first.campaign("one")
        assert await watching == "one"
        next_leader = asyncio.create_task(second.campaign("two"))
        await first.proclaim("one, renewed")
        assert await anext(seen) == "one, renewed"
        assert await second.leader() == "one, renewed"
        token = first.leadership.token
        await first.resign()
        await first.resign()
        assert (await next_leader).token > token
        assert await anext(seen) == "two"
        with pytest.raises(EtcdLockLostError, match="campaign first"):
            await first.proclaim("late")
        await seen.aclose()
        await second.resign()
        assert await second.leader() is None


async def test_leader_that_lost_its_lease_cannot_proclaim(
    etcd: EtcdClient[str], prefix: str
) -> None:
    async with etcd.connect() as communicator, communicator.election(prefix) as election:
        held = await election.campaign("one")
        await communicator.revoke_lease(held.lease)
        with pytest.raises(EtcdLockLostError):
            await election.proclaim("late")


async def test_leaving_the_context_resigns(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:
        async with communicator.election(prefix) as election:
            held = await election.campaign("one")
            assert await election.campaign("again") is held
            assert await election.leader() == "again"
        assert await election.leader() is None


async def test_cancelled_campaign_leaves_nothing(server: EtcdServer, prefix: str) -> None:
    async with EtcdClient(server.address).connect() as communicator:
        async with communicator.election(prefix) as election:
            await election.campaign("one")
            waiting = asyncio.create_task(communicator.election(prefix).campaign("two"))
            async with asyncio.timeout(10):
                while len(await communicator.keys_prefix(f"{prefix}/")) < 2:
                    await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert len(await communicator.keys_prefix(f"{prefix}/")) == 1
        assert await communicator.leases.ids() == []


@every_version
async def test_queue_is_shared_with_etcdctl(
    shared_server: EtcdServer, binaries: Binaries, prefix: str
) -> None:
    async with EtcdClient(shared_server.address).connect() as communicator:
        election = communicator.election(prefix)
        await election.campaign("ours")
        process = await asyncio.create_subprocess_exec(
            binaries.etcdctl,
            f"--endpoints={shared_server.address}",
            "elect",
            prefix,
            "theirs",
            env={**os.environ, "ETCDCTL_API": "3"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(10):
                while len(await communicator.keys_prefix(f"{prefix}/")) < 2:
                    await asyncio.sleep(0.01)
            seen = election.observe()
            assert await anext(seen) == "ours"
            await election.resign()
            assert await anext(seen) == "theirs"
            await seen.aclose()
        finally:
            process.terminate()
            await process.wait()
