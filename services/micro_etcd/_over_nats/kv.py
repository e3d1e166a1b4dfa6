"""Keys over NATS, with the methods they have on a direct connection."""

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from micro_etcd._direct.gets import GetBatcher
from micro_etcd._direct.kv import PLAIN, RangeOptions
from micro_etcd._model.txn import (
    Compare,
    Operation,
    TxnResponse,
)
from micro_etcd._model.values import (
    DeleteResult,
    KeyValue,
    PutResult,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
)
from micro_etcd._over_nats.caller import Caller
from micro_etcd._over_nats.txn import (
    checked_key,
    compare_body,
    operation_body,
    operation_result,
    span,
)
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd._service.kv import FOUND, KEY
from micro_etcd._service.kv import LEASE as LEASE_HEADER
from micro_etcd._wire.models import (
    DeleteBody,
    DeleteReply,
    GetBody,
    GetManyBody,
    GetManyReply,
    GetReply,
    Guard,
    ListBody,
    ListReply,
    PutBody,
    PutReply,
)
from micro_etcd._wire.txn_models import (
    TxnBody,
    TxnReply,
)

MAX_BATCH_BYTES = 256 << 10  # of values in one answer, which may be sent as base64


class NatsGets:
    """Reads keys through the service."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def one(self, key: bytes) -> KeyValue | None:
        """Read one key, raw."""
        headers = {KEY: base64.b64encode(key).decode()}
        answer = await self._caller.send("kv.get", b"", headers)
        found = answer.headers or {}
        if found.get(FOUND) != "true":
            return None
        return KeyValue(
            key,
            answer.data,
            int(found["Etcd-Create-Revision"]),
            int(found["Etcd-Mod-Revision"]),
            int(found["Etcd-Version"]),
            int(found[LEASE_HEADER]),
        )

    async def many(self, keys: Iterable[bytes]) -> list[KeyValue | None]:
        """Read several keys at once."""
        body = GetManyBody.model_construct(keys=list(keys))
        reply = await self._caller.call("kv.get.many", body, GetManyReply)
        return [None if item is None else item.keyvalue() for item in reply.items]


class NatsKV:
    """Keys of one namespace of the service; errors as of KV."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._gets = GetBatcher(NatsGets(caller), max_bytes=MAX_BATCH_BYTES)

    async def get(self, key: bytes, options: RangeOptions = PLAIN) -> KeyValue | None:
        """Return one key, None when it does not exist."""
        if options == PLAIN:
            return await self._gets.get(key)
        body = GetBody(key=key, revision=options.revision, serializable=options.serializable)
        reply = await self._caller.call("kv.get", body, GetReply)
        found = None if reply.kv is None else reply.kv.keyvalue()
        return found if found is not None and _passes(found, options) else None

    async def get_value(self, key: bytes) -> bytes | None:
        """Return the value of one key."""
        found = await self._gets.get(key)
        return None if found is None else found.value

    async def range(
        self, key: bytes, range_end: bytes = b"", options: RangeOptions = PLAIN
    ) -> RangeResult:
        """Read a range, all of it from one revision; `count` is that of the keys returned."""
        revision, found = 0, list[KeyValue]()
        async for revision, kvs in self.revisions(key, range_end, options):  # noqa: B007 - the last one is returned
            found += kvs
        return RangeResult(found, revision, False, len(found))

    async def pages(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[KeyValue]]:
        """Read a range message by message in key order, all from one revision."""
        async for _, kvs in self.revisions(key, range_end, options):
            yield kvs

    async def revisions(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[tuple[int, Sequence[KeyValue]]]:
        """Yield `pages` with the revision of the store they show."""
        cursor: str | None = None
        while True:
            body = ListBody(
                **span(key, range_end).model_dump(exclude_none=True),
                limit=options.limit,
                cursor=cursor,
                revision=options.revision,
                serializable=options.serializable,
                keys_only=options.keys_only,
            )
            reply = await self._caller.call("kv.list", body, ListReply)
            yield reply.revision, [item.keyvalue() for item in reply.items]
            cursor = reply.cursor
            if cursor is None or options.limit:
                return

    async def raw_pages(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[pb.KeyValue]]:
        """Yield a range as protocol messages, in the order asked for."""
        by_key = options.sort_target is RangeRequestSortTarget.KEY
        forward = options.sort_order is not RangeRequestSortOrder.DESCEND
        if by_key and forward and options._replace(limit=None) == _unfiltered(options):
            left = options.limit
            async for page in self.pages(key, range_end, options._replace(limit=None)):
                taken = page if not left else page[:left]
                yield [_message(kv) for kv in taken]
                if left:
                    left -= len(taken)
                    if not left:
                        return
            return
        # What the service has no word for is done here: etcd, too, sorts and filters what it has read.
        wanted = _unfiltered(options)._replace(keys_only=False)
        found = [
            kv
            async for page in self.pages(key, range_end, wanted)
            for kv in page
            if _passes(kv, options)
        ]
        found.sort(key=_SORT_KEYS[options.sort_target], reverse=not forward)
        yield [_message(kv) for kv in (found[: options.limit] if options.limit else found)]

    async def put(
        self,
        key: bytes,
        value: bytes | None,
        *,
        lease: int | None = None,
        prev_kv: bool = False,
        ignore_lease: bool = False,
        guard: Compare | None = None,
    ) -> PutResult:
        """Write a key; with the `guard` of a lock only while that is held."""
        if value is not None and not prev_kv and not ignore_lease and guard is None:
            headers = {KEY: base64.b64encode(key).decode()}
            if lease:
                headers[LEASE_HEADER] = str(lease)
            answer = await self._caller.send("kv.put", value, headers, write=True)
            return PutResult(int((answer.headers or {}).get("Etcd-Revision", "0")), None)
        held = None if guard is None else Guard(key=guard.key, create_revision=int(guard.operand))
        body = PutBody(
            key=checked_key(key),
            value=value,
            lease=lease if lease else None,
            prev_kv=prev_kv,
            ignore_lease=ignore_lease,
            guard=held,
        )
        reply = await self._caller.call("kv.put", body, PutReply, write=True)
        return PutResult(
            reply.revision, None if reply.prev_kv is None else reply.prev_kv.keyvalue()
        )

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        """Delete a key or a range."""
        keys = span(key, range_end).model_dump(exclude_none=True)
        body = DeleteBody(**keys, prev_kv=prev_kv)
        reply = await self._caller.call("kv.delete", body, DeleteReply, write=True)
        return DeleteResult(
            reply.revision, reply.deleted, [item.keyvalue() for item in reply.prev_kvs]
        )

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
    ) -> TxnResponse:
        """Compare, then do one of two lists of operations, all at one revision."""
        body = TxnBody(
            compare=[compare_body(part) for one in compares for part in (one, *one.also)],
            success=[operation_body(operation) for operation in success],
            failure=[operation_body(operation) for operation in failure],
        )
        write = not all(operation.is_read for operation in (*success, *failure))
        reply = await self._caller.call("txn", body, TxnReply, write=write)
        responses = tuple(operation_result(found, reply.revision) for found in reply.responses)
        return TxnResponse(reply.succeeded, reply.revision, responses)


_SORT_KEYS: dict[RangeRequestSortTarget, Callable[[KeyValue], Any]] = {
    RangeRequestSortTarget.KEY: lambda kv: kv.key,
    RangeRequestSortTarget.VERSION: lambda kv: kv.version,
    RangeRequestSortTarget.CREATE: lambda kv: kv.create_revision,
    RangeRequestSortTarget.MOD: lambda kv: kv.mod_revision,
    RangeRequestSortTarget.VALUE: lambda kv: kv.value,
}


def _unfiltered(options: RangeOptions) -> RangeOptions:
    return RangeOptions(
        revision=options.revision,
        serializable=options.serializable,
        keys_only=options.keys_only,
        sort_order=options.sort_order,
    )


def _passes(kv: KeyValue, options: RangeOptions) -> bool:
    bounds = (
        (options.min_mod_revision, options.max_mod_revision, kv.mod_revision),
        (options.min_create_revision, options.max_create_revision, kv.create_revision),
    )
    return all(
        (not low or number >= low) and (not high or number <= high) for low, high, number in bounds
    )


def _message(kv: KeyValue) -> pb.KeyValue:
    return pb.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )
