"""Batched writes: only on request, all or nothing, never reordered."""

import asyncio

import pytest
from tests.micro_etcd.history import reading
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import every_version

from micro_etcd import EtcdClient, EtcdLeaseNotFoundError, EtcdOutcomeUnknownError
from micro_etcd.testing import EtcdServer


@pytest.fixture
def batching(shared_server: EtcdServer) -> EtcdClient[str]:
    return EtcdClient(shared_server.address, batch_writes=True)


@every_version
async def test_puts_of_one_tick_share_a_revision(shared_server: EtcdServer, prefix: str) -> None:
    client = EtcdClient(shared_server.address, batch_writes=True)
    async with client.connect() as communicator, reading(communicator, prefix) as reader:
        puts = [communicator.kv.put(f"{prefix}{n:03}".encode(), b"v") for n in range(300)]
        revisions = [result.revision for result in await asyncio.gather(*puts)]
        await reader.until(max(revisions))

    assert len(set(revisions)) == 3  # 128 + 128 + 44
    assert [revision for revision, _, _ in reader.lines] == revisions


async def test_puts_are_single_unless_asked_for(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:
        puts = [communicator.kv.put(f"{prefix}{n}".encode(), b"v") for n in range(10)]
        revisions = {result.revision for result in await asyncio.gather(*puts)}

    assert len(revisions) == 10


async def test_two_puts_of_a_key_keep_their_order(batching: EtcdClient[str], prefix: str) -> None:
    key = f"{prefix}k"
    async with batching.connect() as communicator:
        await asyncio.gather(*(communicator.put(key, str(number)) for number in range(5)))
        kv = await communicator.kv.get(key.encode())
        assert kv is not None
        assert (kv.value, kv.version) == (b"4", 5)
        assert await communicator.put(key, "5", prev_kv=True) == "4"


async def test_one_bad_lease_refuses_all(batching: EtcdClient[str], prefix: str) -> None:
    async with batching.connect() as communicator:
        results = await asyncio.gather(
            communicator.put(f"{prefix}a", "1"),
            communicator.put(f"{prefix}b", "1", lease=12345),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [EtcdLeaseNotFoundError] * 2
        assert await communicator.get_prefix(prefix) == {}


async def test_unknown_outcome_is_everybodys(shared_server: EtcdServer, prefix: str) -> None:
    async with Proxy(shared_server.address) as proxy:
        client = EtcdClient(proxy.address, batch_writes=True, timeout=1)
        async with client.connect() as communicator:
            proxy.hold()
            results = await asyncio.gather(
                *(communicator.put(f"{prefix}{n}", "1") for n in range(3)), return_exceptions=True
            )

    assert [type(result) for result in results] == [EtcdOutcomeUnknownError] * 3
