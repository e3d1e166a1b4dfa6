"""A member that only learns is among the endpoints."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.micro_etcd.versions import Binaries, every_version

from micro_etcd import EtcdClient, EtcdUnavailableError
from micro_etcd.testing import EtcdServer


@dataclass
class Learning:
    """A cluster of one voter and one learner."""

    voter: EtcdServer
    learner: EtcdServer
    binaries: Binaries

    def promote(self) -> None:
        """Make the learner a voter, once it has caught up."""
        listed = self.ctl("member", "list")
        name = next(line.split(",")[0] for line in listed.splitlines() if ", l," in line)
        self.ctl("member", "promote", name)

    def ctl(self, *command: str) -> str:
        """Run etcdctl."""
        return subprocess.run(
            [self.binaries.etcdctl, f"--endpoints={self.voter.address}", *command],
            env={**os.environ, "ETCDCTL_API": "3"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@pytest.fixture
def learning(binaries: Binaries) -> Iterator[Learning]:
    with EtcdServer(binaries.etcd, name="v") as voter:
        learner = EtcdServer(
            binaries.etcd,
            name="l",
            arguments=["--initial-cluster-state=existing"],
            initial_cluster="",
        )
        cluster = f"v={voter.peer_url},l={learner.peer_url}"
        learner = EtcdServer(
            binaries.etcd,
            name="l",
            ports=learner.ports,
            arguments=["--initial-cluster-state=existing"],
            initial_cluster=cluster,
        )
        servers = Learning(voter, learner, binaries)
        servers.ctl("member", "add", "l", "--learner", f"--peer-urls={learner.peer_url}")
        with learner:
            yield servers


@every_version
async def test_a_learner_is_asked_once_and_makes_no_outcome_unknown(learning: Learning) -> None:
    endpoints = [learning.learner.address, learning.voter.address]
    async with EtcdClient(endpoints).connect() as client:
        await client.put("k", "1")
        assert await client.get("k") == "1"
        watch = client.watch("k")
        await watch.stream.start()
        await asyncio.gather(*(client.put(f"k{number}", "1") for number in range(20)))
        await client.put("k", "2")
        assert (await anext(watch)).value == "2"
        await watch.aclose()
        async with client.with_lock("lock", timeout=10):
            pass
        statuses = await client.status()

    assert [status.is_learner for status in statuses] == [True, False]
    assert [status.errors for status in statuses] == [[], []]


@pytest.mark.parametrize("first", ["watch", "lock", "lease", "get", "txn"])
async def test_whatever_comes_first_goes_to_the_voter(first: str, learning: Learning) -> None:
    endpoints = [learning.learner.address, learning.voter.address]
    async with EtcdClient(endpoints).connect() as client:
        if first == "watch":
            watch = client.watch("k")
            await watch.stream.start()
            await client.put("k", "1")
            assert (await anext(watch)).value == "1"
            await watch.aclose()
        elif first == "lock":
            async with client.with_lock("lock", timeout=10):
                pass
        elif first == "lease":
            await client.revoke_lease(await client.grant_lease(5))
        elif first == "get":
            assert await client.get("k") is None
        else:
            await client.txn(lambda action: action.put("k", "1"))


@every_version
async def test_a_learner_alone_is_unavailable_at_once(learning: Learning) -> None:
    async with EtcdClient(learning.learner.address, timeout=30).connect() as client:
        async with asyncio.timeout(10):
            with pytest.raises(EtcdUnavailableError, match="rpc not supported for learner"):
                await client.put("k", "1")
        assert await client.get("k", serializable=True) is None


async def test_a_learner_that_was_promoted_is_used_when_the_others_are_gone(
    learning: Learning,
) -> None:
    endpoints = [learning.learner.address, learning.voter.address]
    async with EtcdClient(endpoints).connect() as client:
        await client.put("k", "1")
        await asyncio.to_thread(learning.promote)
        await asyncio.to_thread(learning.voter.freeze)
        try:
            assert await client.get("k", serializable=True) == "1"
        finally:
            learning.voter.thaw()
