"""Gets of one loop tick travel together, and nobody notices but the server."""

import asyncio

import pytest
from tests.micro_etcd.versions import every_version

from micro_etcd import EtcdClient, EtcdInvalidArgumentError, EtcdUnavailableError
from micro_etcd._cluster.channel import ByteStream, Metadata, StatusError
from micro_etcd._cluster.connection import Connection
from micro_etcd._direct.gets import EtcdGets
from micro_etcd._keyspace.get_batcher import GetBatcher
from micro_etcd._model.values import HostPortPair
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.testing import EtcdServer

RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"


class StubChannel:
    """A Channel whose every key holds itself; notes what is asked."""

    endpoint = "stub"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []  # method, number of keys
        self.refuse_txns = False
        self.unavailable = False
        self.value_bytes = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def connect(self, timeout: float) -> None:
        """Be there already."""

    async def unary(self, method: str, body: bytes, *, timeout: float, metadata: Metadata) -> bytes:
        if method == RANGE:
            key = pb.RangeRequest.FromString(body).key
            self.asked.append((method, 1))
            await self.go_on.wait()
            if key == b"bad":
                raise StatusError(3, "etcdserver: key is not provided", sent=True)
            return self._range(key).SerializeToString()
        request = pb.TxnRequest.FromString(body)
        self.asked.append((method, len(request.success)))
        await self.go_on.wait()
        if self.unavailable:
            raise StatusError(14, "no connection", sent=False)
        if self.refuse_txns:
            raise StatusError(3, "etcdserver: too many operations in txn request", sent=True)
        answers = [self._range(part.request_range.key) for part in request.success]
        return pb.TxnResponse(
            succeeded=True, responses=[pb.ResponseOp(response_range=answer) for answer in answers]
        ).SerializeToString()

    async def stream(self, method: str, *, timeout: float, metadata: Metadata) -> ByteStream:
        raise NotImplementedError

    async def close(self) -> None:
        """Have nothing to close."""

    def _range(self, key: bytes) -> pb.RangeResponse:
        value = key + b"." * self.value_bytes
        return pb.RangeResponse(kvs=[pb.KeyValue(key=key, value=value)])


@pytest.fixture
def channel() -> StubChannel:
    return StubChannel()


@pytest.fixture
def batcher(channel: StubChannel) -> GetBatcher[pb.KeyValue]:
    return GetBatcher(
        EtcdGets(Connection([HostPortPair("stub", 1)], lambda _, max_answer_bytes=-1: channel))
    )


async def values(batcher: GetBatcher[pb.KeyValue], *keys: bytes) -> list[bytes | None]:
    found = await asyncio.gather(*(batcher.get(key) for key in keys))
    return [None if kv is None else kv.value for kv in found]


async def test_one_tick_is_one_txn_of_distinct_keys(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel
) -> None:
    assert await values(batcher, b"a", b"b", b"a", b"c") == [b"a", b"b", b"a", b"c"]
    assert channel.asked == [(TXN, 3)]


async def test_lone_get_is_a_range(batcher: GetBatcher[pb.KeyValue], channel: StubChannel) -> None:
    assert await values(batcher, b"a") == [b"a"]
    assert await values(batcher, b"a", b"a") == [b"a", b"a"]
    assert channel.asked == [(RANGE, 1), (RANGE, 1)]


async def test_at_most_128_operations(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel
) -> None:
    keys = [str(number).encode() for number in range(300)]
    assert await values(batcher, *keys) == keys
    assert channel.asked == [(TXN, 128), (TXN, 128), (TXN, 44)]


async def test_large_values_make_small_batches(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel
) -> None:
    channel.value_bytes = 500_000
    keys = [str(number).encode() for number in range(64)]
    await values(batcher, *keys)
    channel.asked.clear()
    await values(batcher, *keys)
    assert max(count for _, count in channel.asked) <= 4


async def test_refused_batch_is_asked_key_by_key(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel
) -> None:
    """One bad key spoils only its own answer."""
    channel.refuse_txns = True
    found = await asyncio.gather(
        batcher.get(b"a"), batcher.get(b"bad"), batcher.get(b"b"), return_exceptions=True
    )
    assert isinstance(found[0], pb.KeyValue)
    assert isinstance(found[1], EtcdInvalidArgumentError)
    assert isinstance(found[2], pb.KeyValue)
    assert channel.asked == [(TXN, 3), (RANGE, 1), (RANGE, 1), (RANGE, 1)]


async def test_batch_without_an_answer_is_not_asked_again(channel: StubChannel) -> None:
    """Else a dead server would cost every caller the time-out twice."""
    channel.unavailable = True
    connection = Connection(
        [HostPortPair("stub", 1)], lambda _, max_answer_bytes=-1: channel, timeout=0.01
    )
    batcher = GetBatcher(EtcdGets(connection))
    found = await asyncio.gather(batcher.get(b"a"), batcher.get(b"b"), return_exceptions=True)
    assert [type(error) for error in found] == [EtcdUnavailableError] * 2
    assert {method for method, _ in channel.asked} == {TXN}


@pytest.mark.parametrize("when", ["before it is sent", "while it is under way"])
@pytest.mark.parametrize("who", [0, 1])
async def test_cancelled_caller_leaves_the_others_alone(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel, who: int, when: str
) -> None:
    channel.go_on.clear()
    tasks = [asyncio.create_task(batcher.get(key)) for key in (b"a", b"b", b"c")]
    await asyncio.sleep(0)
    if when == "while it is under way":
        while not channel.asked:
            await asyncio.sleep(0)
    cancelled = tasks.pop(who)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert cancelled.cancelled()
    channel.go_on.set()
    found = await asyncio.gather(*tasks)
    assert all(kv is not None for kv in found)


async def test_timed_out_caller_leaves_the_others_alone(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel
) -> None:
    channel.go_on.clear()

    async def hurried() -> None:
        async with asyncio.timeout(0.01):
            await batcher.get(b"a")

    tasks = asyncio.create_task(hurried()), asyncio.create_task(batcher.get(b"b"))
    with pytest.raises(TimeoutError):
        await tasks[0]
    channel.go_on.set()
    found = await tasks[1]
    assert found is not None
    assert channel.asked == [(TXN, 2)]


async def test_abandoned_batch_hangs_nobody(
    batcher: GetBatcher[pb.KeyValue], channel: StubChannel
) -> None:
    """Even if the sending task itself is cancelled, before its first step."""
    channel.go_on.clear()
    waiting = [asyncio.create_task(batcher.get(key)) for key in (b"a", b"b")]
    before = asyncio.all_tasks()
    while not (sending := asyncio.all_tasks() - before):
        await asyncio.sleep(0)
    sending.pop().cancel()
    for task in waiting:
        with pytest.raises(EtcdUnavailableError, match="the read was abandoned"):
            await task


@every_version
async def test_batches_on_a_real_server(shared_server: EtcdServer, prefix: str) -> None:
    """500 callers, own values, missing keys among them; reads see what was written before them."""
    client = EtcdClient(shared_server.address)
    async with client.connect() as communicator:

        async def roundtrip(number: int) -> None:
            key = f"{prefix}{number}"
            assert await communicator.get(key) is None
            await communicator.put(key, str(number))
            assert await communicator.get(key) == str(number)
            await communicator.put(key, "changed")
            assert await communicator.get(key) == "changed"

        await asyncio.gather(*(roundtrip(number) for number in range(500)))


async def test_coalescing_can_be_switched_off(shared_server: EtcdServer, prefix: str) -> None:
    client = EtcdClient(shared_server.address, coalesce=False)
    async with client.connect() as communicator:
        await communicator.put(f"{prefix}k", "v")
        found = await asyncio.gather(*(communicator.get(f"{prefix}k") for _ in range(10)))
        assert found == ["v"] * 10
