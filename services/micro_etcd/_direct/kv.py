"""Reads and writes of keys at the level of bytes, with the revisions etcd answers."""

from collections.abc import AsyncIterator, Callable, Sequence

from micro_etcd._cluster.connection import Connection
from micro_etcd._direct.messages import (
    compare_messages,
    delete_request,
    delete_result,
    keyvalue,
    operation_message,
    put_request,
    put_result,
    range_request,
    range_result,
    txn_response,
)
from micro_etcd._direct.paging import pages
from micro_etcd._direct.watch import EventStream
from micro_etcd._keyspace.get_batcher import GetBatcher
from micro_etcd._model.keys import Namespace
from micro_etcd._model.options import PLAIN, RangeOptions, WatchOptions
from micro_etcd._model.txn import Compare, DeleteOp, GetOp, Operation, PutOp, TxnResponse
from micro_etcd._model.values import DeleteResult, KeyValue, PutResult, RangeResult
from micro_etcd._pb import micro_etcd_pb2 as pb

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"
DELETE = "/etcdserverpb.KV/DeleteRange"
TXN = "/etcdserverpb.KV/Txn"
COMPACT = "/etcdserverpb.KV/Compact"


class KV:
    """Keys of one namespace. Reads are linearizable by default, and repeated on other endpoints.

    Every method raises the EtcdError that fits; writes raise EtcdOutcomeUnknownError when it is
    unknown whether they were applied.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: Namespace,
        gets: GetBatcher[pb.KeyValue] | None = None,
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._gets = gets

    async def get(self, key: bytes, options: RangeOptions = PLAIN) -> KeyValue | None:
        """Return one key, None when it does not exist."""
        kv = await self._get(key, options)
        return None if kv is None else keyvalue(self._namespace, kv)

    async def get_value(self, key: bytes) -> bytes | None:
        """Return the value of one key, None when it does not exist."""
        kv = await self._get(key, PLAIN)
        return None if kv is None else kv.value

    async def range(
        self, key: bytes, range_end: bytes = b"", options: RangeOptions = PLAIN
    ) -> RangeResult:
        """Read a range in one answer; for large ranges see `pages`.

        Args:
            key: First key.
            range_end: First key behind the range; empty for `key` alone, one zero byte for no end.
            options: Limits, filters and order.
        """
        answer = await self._range(key, range_end, options)
        return range_result(self._namespace, answer, answer.header.revision)

    async def pages(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[KeyValue]]:
        """Read a range page by page in the order asked for, all pages from one revision."""
        request = range_request(self._namespace, key, range_end, options)
        async for page in pages(self._connection, request):
            yield [keyvalue(self._namespace, kv) for kv in page]

    async def items(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[tuple[bytes, bytes]]]:
        """Read the keys and values of a range as `pages` does."""
        request = range_request(self._namespace, key, range_end, options)
        skip = len(self._namespace.prefix)
        async for page in pages(self._connection, request):
            yield [(kv.key[skip:], kv.value) for kv in page]

    async def put(
        self,
        key: bytes,
        value: bytes | None,
        *,
        lease: int | None = None,
        prev_kv: bool = False,
        ignore_lease: bool = False,
    ) -> PutResult:
        """Write a key; a value of None keeps the value and changes only the lease."""
        request = put_request(self._namespace, PutOp(key, value, lease, ignore_lease, prev_kv))
        body = await self._connection.call(PUT, request.SerializeToString(), repeatable=False)
        answer = pb.PutResponse.FromString(body)
        return put_result(self._namespace, answer, answer.header.revision)

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        """Delete a key or a range."""
        request = delete_request(self._namespace, DeleteOp(key, range_end, prev_kv))
        body = await self._connection.call(DELETE, request.SerializeToString(), repeatable=False)
        answer = pb.DeleteRangeResponse.FromString(body)
        return delete_result(self._namespace, answer, answer.header.revision)

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        repeatable: bool | None = None,
    ) -> TxnResponse:
        """Compare, then do one of two lists of operations, all at one revision.

        Args:
            compares: All must hold for `success`; without any, `success` is done.
            success: Operations done when they hold (at most 128 with default servers).
            failure: Operations done otherwise.
            repeatable: True when doing it twice does no more than once; by default, whether all
                operations are reads.
        """
        if repeatable is None:
            repeatable = all(isinstance(operation, GetOp) for operation in (*success, *failure))
        space = self._namespace
        request = pb.TxnRequest(
            compare=[part for compare in compares for part in compare_messages(space, compare)],
            success=[operation_message(space, operation) for operation in success],
            failure=[operation_message(space, operation) for operation in failure],
        )
        body = await self._connection.call(TXN, request.SerializeToString(), repeatable=repeatable)
        return txn_response(space, pb.TxnResponse.FromString(body))

    def events(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        options: WatchOptions | None = None,
        on_ready: Callable[[], object] | None = None,
    ) -> EventStream:
        """Iterate over the changes of a range revision by revision.

        `on_ready` is called once the server has the watch.
        """
        return EventStream(
            self._connection, self._namespace, key, range_end, options=options, on_ready=on_ready
        )

    async def compact(self, revision: int, *, physical: bool = False) -> None:
        """Drop the history before `revision`; `physical` waits until the space is freed."""
        request = pb.CompactionRequest(revision=revision, physical=physical)
        await self._connection.call(COMPACT, request.SerializeToString(), repeatable=False)

    async def revision(self, key: bytes) -> int:
        """Return the store's revision by a linearizable read of `key`."""
        answer = await self._range(key, b"", RangeOptions(keys_only=True))
        return answer.header.revision

    async def _get(self, key: bytes, options: RangeOptions) -> pb.KeyValue | None:
        if options is PLAIN and self._gets is not None:
            return await self._gets.get(self._namespace.key(key))
        kvs = (await self._range(key, b"", options)).kvs
        return kvs[0] if kvs else None

    async def _range(self, key: bytes, range_end: bytes, options: RangeOptions) -> pb.RangeResponse:
        request = range_request(self._namespace, key, range_end, options)
        body = await self._connection.call(
            RANGE,
            request.SerializeToString(),
            repeatable=True,
            leader=not request.serializable,
        )
        return pb.RangeResponse.FromString(body)
