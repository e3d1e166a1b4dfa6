"""Reads and writes of keys at the level of bytes, with the revisions etcd answers."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from micro_etcd._cluster.connection import Connection
from micro_etcd._direct.gets import GetBatcher
from micro_etcd._direct.paging import pages
from micro_etcd._direct.put_batcher import PutBatcher
from micro_etcd._model.keys import Namespace
from micro_etcd._model.txn import Compare, Operation, TxnResponse
from micro_etcd._model.values import (
    DeleteResult,
    KeyValue,
    PutResult,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
)
from micro_etcd._pb import micro_etcd_pb2 as pb

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"
DELETE = "/etcdserverpb.KV/DeleteRange"
TXN = "/etcdserverpb.KV/Txn"
COMPACT = "/etcdserverpb.KV/Compact"


class RangeOptions(NamedTuple):
    """What a range read may ask for beside its keys; None and 0 mean no restriction."""

    limit: int | None = None
    max_create_revision: int | None = None
    max_mod_revision: int | None = None
    min_create_revision: int | None = None
    min_mod_revision: int | None = None
    revision: int | None = None
    serializable: bool = False
    sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE
    sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY
    keys_only: bool = False
    count_only: bool = False

    def request(self, key: bytes, range_end: bytes = b"") -> pb.RangeRequest:
        """Return the protocol message for these options."""
        return pb.RangeRequest(
            key=key,
            range_end=range_end,
            limit=self.limit,
            revision=self.revision,
            sort_order=self.sort_order.value,
            sort_target=self.sort_target.value,
            serializable=self.serializable,
            keys_only=self.keys_only,
            count_only=self.count_only,
            min_mod_revision=self.min_mod_revision,
            max_mod_revision=self.max_mod_revision,
            min_create_revision=self.min_create_revision,
            max_create_revision=self.max_create_revision,
        )


PLAIN = RangeOptions()


class Batchers(NamedTuple):
    """What joins calls of one loop tick; None sends each by itself."""

    gets: GetBatcher[pb.KeyValue] | None = None
    puts: PutBatcher | None = None


class KV:
    """Keys of one namespace. Reads are linearizable unless asked otherwise, and repeated when an endpoint fails.

    Every method raises the EtcdError that fits; writes raise EtcdOutcomeUnknownError when nobody
    can say whether they were applied.
    """

    def __init__(self, connection: Connection, namespace: Namespace, batchers: Batchers) -> None:
        self._connection = connection
        self._namespace = namespace
        self._gets, self._puts = batchers

    async def get(self, key: bytes, options: RangeOptions = PLAIN) -> KeyValue | None:
        """Return one key, None when it does not exist."""
        full = self._namespace.key(key)
        if options is PLAIN and self._gets is not None:
            kv = await self._gets.get(full)
        else:
            kvs = (await self._range(options.request(full))).kvs
            kv = kvs[0] if kvs else None
        return None if kv is None else self._namespace.read(kv)

    async def get_value(self, key: bytes) -> bytes | None:
        """Return the value of one key: what `get` does, without the rest of its answer."""
        full = self._namespace.key(key)
        if self._gets is not None:
            kv = await self._gets.get(full)
            return None if kv is None else kv.value
        kvs = (await self._range(PLAIN.request(full))).kvs
        return kvs[0].value if kvs else None

    async def range(
        self, key: bytes, range_end: bytes = b"", options: RangeOptions = PLAIN
    ) -> RangeResult:
        """Read a range in one answer; for ranges that may be large see `pages`.

        Args:
            key: First key.
            range_end: First key behind the range; empty for `key` alone, one zero byte for no end.
            options: Limits, filters and order.
        """
        answer = await self._range(
            options.request(self._namespace.key(key), self._namespace.end(range_end))
        )
        return RangeResult(
            [self._namespace.read(kv) for kv in answer.kvs],
            answer.header.revision,
            answer.more,
            answer.count,
        )

    async def pages(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[KeyValue]]:
        """Read a range piece by piece in key order, all pieces from one revision."""
        async for chunk in self.raw_pages(key, range_end, options):
            yield [self._namespace.read(kv) for kv in chunk]

    async def raw_pages(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[pb.KeyValue]]:
        """Yield `pages` as protocol messages with the namespace still on their keys."""
        request = options.request(self._namespace.key(key), self._namespace.end(range_end))
        async for chunk in pages(self._connection, request):
            yield chunk

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
        if self._puts is not None and value is not None and not prev_kv and not ignore_lease:
            revision = await self._puts.put(self._namespace.key(key), value, lease)
            return PutResult(revision, None)
        request = pb.PutRequest(key=self._namespace.key(key), value=value)
        if lease is not None:
            request.lease = lease
        if prev_kv:
            request.prev_kv = True
        if value is None:
            request.ignore_value = True
        if ignore_lease:
            request.ignore_lease = True
        body = await self._connection.call(PUT, request.SerializeToString(), repeatable=False)
        answer = pb.PutResponse.FromString(body)
        prev = self._namespace.read(answer.prev_kv) if answer.HasField("prev_kv") else None
        return PutResult(answer.header.revision, prev)

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        """Delete a key or a range."""
        request = pb.DeleteRangeRequest(
            key=self._namespace.key(key), range_end=self._namespace.end(range_end), prev_kv=prev_kv
        )
        body = await self._connection.call(DELETE, request.SerializeToString(), repeatable=False)
        answer = pb.DeleteRangeResponse.FromString(body)
        return DeleteResult(
            answer.header.revision,
            answer.deleted,
            [self._namespace.read(kv) for kv in answer.prev_kvs],
        )

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
            compares: All must hold for `success`; none given means they do.
            success: Operations done when they hold (at most 128 with default servers).
            failure: Operations done otherwise.
            repeatable: True when doing it twice does no more than once; by default, whether all
                operations are reads.
        """
        operations = (*success, *failure)
        if repeatable is None:
            repeatable = all(operation.is_read for operation in operations)
        request = pb.TxnRequest(
            compare=[part for c in compares for part in c.messages(self._namespace)],
            success=[operation.message(self._namespace) for operation in success],
            failure=[operation.message(self._namespace) for operation in failure],
        )
        body = await self._connection.call(TXN, request.SerializeToString(), repeatable=repeatable)
        return TxnResponse.from_pb(pb.TxnResponse.FromString(body), self._namespace.read)

    async def compact(self, revision: int, *, physical: bool = False) -> None:
        """Drop the history before `revision`; `physical` waits until the space is freed."""
        request = pb.CompactionRequest(revision=revision, physical=physical)
        await self._connection.call(COMPACT, request.SerializeToString(), repeatable=False)

    async def revision(self, key: bytes) -> int:
        """Return the store's revision, read through a quorum; `key` is one the user may read."""
        options = PLAIN._replace(keys_only=True)
        return (await self._range(options.request(self._namespace.key(key)))).header.revision

    async def _range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        body = await self._connection.call(
            RANGE,
            request.SerializeToString(),
            repeatable=True,
            leader=not request.serializable,
        )
        return pb.RangeResponse.FromString(body)
