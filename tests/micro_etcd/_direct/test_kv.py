"""Keys: reads, writes, ranges, prefixes, bytes, big ranges."""

import asyncio
import time

import pytest
from tests.micro_etcd.versions import every_version

from micro_etcd import (
    EtcdAnswerTooLargeError,
    EtcdClient,
    EtcdCompactedError,
    EtcdFutureRevisionError,
    EtcdInvalidArgumentError,
    EtcdLeaseExistsError,
    EtcdLeaseNotFoundError,
    EtcdRequestTooLargeError,
    EtcdTransactionAction,
    PutResult,
    RangeOptions,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
)
from micro_etcd.testing import EtcdServer


@every_version
async def test_put_get_delete(etcd: EtcdClient[str], prefix: str) -> None:
    key = f"{prefix}k"
    async with etcd.connect() as communicator:
        assert await communicator.get(key) is None
        assert await communicator.put(key, "1") is None
        assert await communicator.put(key, "2", prev_kv=True) == "1"
        assert await communicator.get(key) == "2"
        assert await communicator.get(key, serializable=True) == "2"
        assert await communicator.delete(key, prev_kv=True) == "2"
        assert await communicator.delete(key, prev_kv=True) is None
        assert await communicator.delete(key) is None
        assert await communicator.get(key) is None


@every_version
async def test_prefixes_end_where_they_should(etcd: EtcdClient[str], prefix: str) -> None:
    """P20: a trailing slash is part of the prefix."""
    async with etcd.connect() as communicator:
        for name in ("", "/", "/1", "/2", "0", "x"):
            await communicator.put(f"{prefix}dir{name}", name)
        assert await communicator.keys_prefix(f"{prefix}dir/") == [
            f"{prefix}dir/",
            f"{prefix}dir/1",
            f"{prefix}dir/2",
        ]
        assert await communicator.delete_prefix(f"{prefix}dir/", prev_kv=True) == ["/", "/1", "/2"]
        assert await communicator.keys_prefix(prefix) == [
            f"{prefix}dir",
            f"{prefix}dir0",
            f"{prefix}dirx",
        ]
        assert await communicator.delete_prefix(prefix) is None
        assert await communicator.get_prefix(prefix) == {}


async def test_prefixes_of_0xff_and_nothing(server: EtcdServer) -> None:
    """P20: a prefix without an end reaches to the last key."""
    async with EtcdClient(server.address, encoding=None).connect() as communicator:
        keys = [b"\x00", b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff1"]
        for key in keys:
            await communicator.put(key, key)
        assert await communicator.keys_prefix(b"") == keys
        assert await communicator.keys_prefix(b"\xff") == [b"\xff", b"\xff\xff1"]
        assert await communicator.keys_prefix(b"a\xff") == [b"a\xff", b"a\xff\xff"]
        assert await communicator.keys_range(b"a", b"b") == keys[1:4]
        assert await communicator.delete_range(b"a", b"b", prev_kv=True) == keys[1:4]
        assert await communicator.delete_prefix(b"", prev_kv=True) == [*keys[:1], *keys[4:]]


async def test_text_and_bytes(etcd: EtcdClient[str], prefix: str) -> None:
    """P20: any bytes are stored and read back; text is a view of them."""
    binary = bytes(range(256))
    async with etcd.connect() as communicator:
        await communicator.put(f"{prefix}b", binary)
        assert await communicator.raw.get(f"{prefix}b") == binary
        assert await communicator.get(f"{prefix}b", encoding="latin-1") == binary.decode("latin-1")
        with pytest.raises(UnicodeDecodeError):
            await communicator.get(f"{prefix}b")
        await communicator.put(f"{prefix}t", "grün", encoding="latin-1")
        assert await communicator.raw.get(f"{prefix}t") == b"gr\xfcn"
        assert await communicator.raw.get_prefix(prefix) == {
            f"{prefix}b".encode(): binary,
            f"{prefix}t".encode(): b"gr\xfcn",
        }


async def test_value_of_none_keeps_the_value(etcd: EtcdClient[str], prefix: str) -> None:
    key = f"{prefix}k"
    async with etcd.connect() as communicator:
        lease = await communicator.grant_lease(60)
        await communicator.put(key, "kept")
        await communicator.put(key, None, lease=lease)
        found = await communicator.kv.get(key.encode())
        assert found is not None
        assert (found.value, found.lease, found.version) == (b"kept", lease, 2)
        await communicator.revoke_lease(lease)
        assert await communicator.get(key) is None


@every_version
async def test_revisions_and_filters(server: EtcdServer) -> None:
    async with EtcdClient(server.address).connect() as communicator:
        results = [await communicator.kv.put(b"k", value) for value in (b"1", b"2", b"3")]
        assert all(isinstance(result, PutResult) for result in results)
        one, two, three = (result.revision for result in results)
        assert await communicator.get("k", revision=one) == "1"
        assert await communicator.get("k", min_mod_revision=three) == "3"
        assert await communicator.get("k", max_mod_revision=two) is None
        assert await communicator.get("k", max_create_revision=one) == "3"
        assert await communicator.get("k", min_create_revision=two) is None
        with pytest.raises(EtcdFutureRevisionError):
            await communicator.get("k", revision=three + 10)
        await communicator.kv.compact(two)
        with pytest.raises(EtcdCompactedError):
            await communicator.get("k", revision=one)


@every_version
async def test_order_and_limit(etcd: EtcdClient[str], prefix: str) -> None:
    ascend, descend = RangeRequestSortOrder.ASCEND, RangeRequestSortOrder.DESCEND
    async with etcd.connect() as communicator:
        # 90 keys, so that the answer comes in more than one page
        for number in range(90):
            await communicator.put(f"{prefix}{number:02}", f"{89 - number:02}")
        await communicator.put(f"{prefix}00", "89")

        keys = await communicator.keys_prefix(prefix)
        assert keys == [f"{prefix}{number:02}" for number in range(90)]
        assert await communicator.keys_prefix(prefix, sort_order=descend) == keys[::-1]
        by_value = await communicator.get_prefix(
            prefix, sort_order=ascend, sort_target=RangeRequestSortTarget.VALUE
        )
        assert list(by_value) == keys[::-1]
        by_version = await communicator.keys_prefix(
            prefix, sort_order=descend, sort_target=RangeRequestSortTarget.VERSION
        )
        assert by_version[0] == keys[0]
        end = prefix[:-1] + "0"
        for limit in (1, 63, 64, 65, 80):
            found = await communicator.get_range(prefix, end, limit=limit)
            assert list(found) == keys[:limit]
        last = await communicator.keys_range(
            prefix, end, limit=2, sort_order=descend, sort_target=RangeRequestSortTarget.MOD
        )
        assert last == [keys[0], keys[-1]]
        page = await communicator.kv.range(
            prefix.encode(), end.encode(), RangeOptions(limit=3, keys_only=True)
        )
        assert (page.more, page.count, len(page.kvs)) == (True, 90, 3)
        counted = await communicator.kv.range(
            prefix.encode(), end.encode(), RangeOptions(count_only=True)
        )
        assert (counted.count, counted.kvs) == (90, [])


@every_version
async def test_big_prefix_does_not_hold_up_the_loop(shared_server: EtcdServer, prefix: str) -> None:
    """28 MB in 28,000 keys: no step of the loop takes 100 ms of processor time."""
    worst = 0.0
    async with EtcdClient(shared_server.address).connect() as communicator:
        value = "x" * 1000
        for start in range(0, 28_000, 100):

            def puts(action: EtcdTransactionAction[str], start: int = start) -> None:
                for number in range(start, start + 100):
                    action.put(f"{prefix}{number:05}", value)

            await communicator.txn(puts)

        async def measure() -> None:
            nonlocal worst
            while True:
                begun = time.thread_time()
                await asyncio.sleep(0)
                worst = max(worst, time.thread_time() - begun)

        measuring = asyncio.create_task(measure())
        found = await communicator.get_prefix(prefix)
        measuring.cancel()
        chunks = [len(c) async for c in communicator.kv.pages(*_range(prefix))]
        await communicator.delete_prefix(prefix)

    assert len(found) == sum(chunks) == 28_000
    assert list(found) == sorted(found)
    assert len(chunks) > 5
    assert worst < 0.1


def _range(prefix: str) -> tuple[bytes, bytes]:
    return prefix.encode(), (prefix[:-1] + "0").encode()


@every_version
async def test_big_range_is_one_snapshot(etcd: EtcdClient[str], prefix: str) -> None:
    """Pages and streams show one revision, whatever is written between them."""
    async with etcd.connect() as communicator:

        def puts(action: EtcdTransactionAction[str]) -> None:
            for number in range(100):
                action.put(f"{prefix}{number:02}", "old")

        await communicator.txn(puts)
        values: list[bytes] = []
        async for chunk in communicator.kv.pages(*_range(prefix)):
            if not values:
                await communicator.put(f"{prefix}99", "new")
                await communicator.delete(f"{prefix}98")
            values += [kv.value for kv in chunk]

    assert values == [b"old"] * 100


@every_version
async def test_refusals_have_types(etcd: EtcdClient[str], prefix: str) -> None:
    """P20: nothing of gRPC shows, whatever goes wrong."""
    async with etcd.connect() as communicator:
        with pytest.raises(EtcdInvalidArgumentError, match="key is not provided"):
            await communicator.put("", "v")
        with pytest.raises(EtcdRequestTooLargeError):
            await communicator.put(f"{prefix}k", "x" * 1_800_000)
        with pytest.raises(EtcdLeaseNotFoundError):
            await communicator.put(f"{prefix}k", "v", lease=12345)
        with pytest.raises(EtcdLeaseNotFoundError):
            await communicator.revoke_lease(12345)
        with pytest.raises(EtcdInvalidArgumentError, match="key not found"):
            await communicator.put(f"{prefix}none", None)


@every_version
async def test_leases(server: EtcdServer) -> None:
    async with EtcdClient(server.address).connect() as communicator:
        lease = await communicator.grant_lease(60, id=777)
        assert lease == 777
        with pytest.raises(EtcdLeaseExistsError):
            await communicator.grant_lease(60, id=777)
        await communicator.put("k", "v", lease=777)
        info = await communicator.leases.time_to_live(777, keys=True)
        assert info is not None
        assert (info.granted_ttl, info.keys) == (60, [b"k"])
        assert await communicator.leases.ids() == [777]
        assert await communicator.leases.keep_alive(777) == 60
        assert await communicator.leases.time_to_live(1) is None
        task = communicator.create_lease_keepalive_task(777, 0.01)
        await communicator.revoke_lease(777)
        with pytest.raises(EtcdLeaseNotFoundError, match="lease 309 has expired or was revoked"):
            await task


@pytest.mark.parametrize("limit", [1, 3, None])
@pytest.mark.parametrize("target", list(RangeRequestSortTarget))
@every_version
async def test_a_sort_target_without_an_order_sorts_ascending(
    target: RangeRequestSortTarget, limit: int | None, etcd: EtcdClient[str], prefix: str
) -> None:
    """The limit cuts what is sorted, on the server and here alike."""
    async with etcd.connect() as client:
        for name, value in zip("dbac", "1324", strict=True):
            await client.put(f"{prefix}{name}", value)
        for _ in range(2):
            await client.put(f"{prefix}b", "5")
        end = prefix[:-1] + "0"
        ordered = RangeRequestSortOrder.ASCEND
        expected = await client.get_range(
            prefix, end, limit, sort_order=ordered, sort_target=target
        )
        got = await client.get_range(prefix, end, limit, sort_target=target)
        options = RangeOptions(limit=limit, sort_target=target)
        read = await client.kv.range(prefix.encode(), end.encode(), options)
        answer = await client.txn(
            lambda action: action.get(prefix, limit, sort_target=target, range_end=end)
        )

    assert list(got) == list(expected)
    assert [kv.key.decode() for kv in read.kvs] == list(expected)
    assert [kv.key.decode() for kv in answer.responses[0].kvs] == list(expected)  # type: ignore[union-attr]  # a get


@pytest.mark.parametrize("size", [1_600_000, 2_200_000, 3_000_000, 20_000_000])
@every_version
async def test_a_request_above_a_limit_is_too_large(
    size: int, etcd: EtcdClient[str], prefix: str
) -> None:
    """Above etcd's limit, and above that of its gRPC server."""
    async with etcd.connect() as client:
        with pytest.raises(EtcdRequestTooLargeError) as error:
            await client.put(f"{prefix}k", "x" * size)
        with pytest.raises(EtcdRequestTooLargeError):
            await client.txn(lambda action: action.put(f"{prefix}k", "x" * size))

        assert error.value.outcome == "not-applied"
        assert await client.get(f"{prefix}k") is None


@every_version
async def test_a_bounded_communicator_refuses_larger_answers(
    etcd: EtcdClient[str], prefix: str
) -> None:
    async with etcd.connect() as client:
        await client.put(f"{prefix}k", "x" * 500_000)
        bounded = client.bounded(100_000)
        try:
            with pytest.raises(EtcdAnswerTooLargeError) as error:
                await bounded.get(f"{prefix}k")
            assert await bounded.keys_prefix(prefix) == [f"{prefix}k"]
        finally:
            await bounded.close()
        assert error.value.size > 500_000
        assert await client.get(f"{prefix}k") == "x" * 500_000
