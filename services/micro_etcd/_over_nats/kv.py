"""Keys over NATS, with the methods of `KV`."""

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Literal

from micro_etcd._keyspace.get_batcher import GetBatcher
from micro_etcd._model.options import PLAIN, SORT_KEYS, RangeOptions, WatchOptions
from micro_etcd._model.txn import Compare, GetOp, Operation, TxnResponse
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
from micro_etcd._over_nats.watch import NatsEventStream
from micro_etcd._wire.headers import KEY, LEASE, REVISION, read_history
from micro_etcd._wire.kv import (
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
from micro_etcd._wire.txn import TxnBody, TxnReply
from micro_etcd._wire.watch import WatchBody

MAX_BATCH_BYTES = 256 << 10  # of values in one reply, which may be sent as base64
_DESCEND = RangeRequestSortOrder.DESCEND


class NatsGets:
    """Single keys read through the service."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def one(self, key: bytes) -> KeyValue | None:
        """Read one key, raw."""
        headers = {KEY: base64.b64encode(key).decode()}
        reply = await self._caller.send("kv.get", b"", headers)
        return read_history(key, reply.data, reply.headers or {})

    async def many(self, keys: Iterable[bytes]) -> list[KeyValue | None]:
        """Read several keys at once."""
        body = GetManyBody.model_construct(keys=list(keys))
        reply = await self._caller.call("kv.get.many", body, GetManyReply)
        return [None if item is None else item.keyvalue() for item in reply.items]


class NatsKV:
    """Keys of one namespace of the service, with the errors of `KV`."""

    def __init__(self, caller: Caller, *, heartbeat: float, window: int) -> None:
        self._caller = caller
        self._heartbeat = heartbeat
        self._window = window
        self._gets = GetBatcher(NatsGets(caller), max_bytes=MAX_BATCH_BYTES)

    async def get(self, key: bytes, options: RangeOptions = PLAIN) -> KeyValue | None:
        """Return one key, None when it does not exist."""
        if options == PLAIN:
            return await self._gets.get(key)
        body = GetBody(key=key, revision=options.revision, serializable=options.serializable)
        reply = await self._caller.call("kv.get", body, GetReply)
        kv = None if reply.kv is None else reply.kv.keyvalue()
        return kv if kv is not None and _passes(kv, options) else None

    async def get_value(self, key: bytes) -> bytes | None:
        """Return the value of one key, None when it does not exist."""
        kv = await self._gets.get(key)
        return None if kv is None else kv.value

    async def range(
        self, key: bytes, range_end: bytes = b"", options: RangeOptions = PLAIN
    ) -> RangeResult:
        """Read a range, all of it from one revision; `count` is the number of keys returned."""
        revision, kvs = 0, list[KeyValue]()
        async for revision, page in self._ordered(key, range_end, options):  # noqa: B007 - returned
            kvs += page
        return RangeResult(kvs, revision, False, len(kvs))

    async def pages(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[KeyValue]]:
        """Read a range page by page in the order asked for, all pages from one revision."""
        async for _, page in self._ordered(key, range_end, options):
            yield page

    async def items(
        self, key: bytes, range_end: bytes, options: RangeOptions = PLAIN
    ) -> AsyncIterator[Sequence[tuple[bytes, bytes]]]:
        """Read the keys and values of a range as `pages` does."""
        async for _, page in self._ordered(key, range_end, options):
            yield [(kv.key, kv.value) for kv in page]

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
                headers[LEASE] = str(lease)
            answer = await self._caller.send("kv.put", value, headers, write=True)
            return PutResult(int((answer.headers or {}).get(REVISION, "0")), None)
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
        prev = None if reply.prev_kv is None else reply.prev_kv.keyvalue()
        return PutResult(reply.revision, prev)

    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult:
        """Delete a key or a range."""
        keys = span(key, range_end).model_dump(exclude_none=True)
        body = DeleteBody(**keys, prev_kv=prev_kv)
        reply = await self._caller.call("kv.delete", body, DeleteReply, write=True)
        prev = [item.keyvalue() for item in reply.prev_kvs]
        return DeleteResult(reply.revision, reply.deleted, prev)

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
        write = not all(isinstance(operation, GetOp) for operation in (*success, *failure))
        reply = await self._caller.call("txn", body, TxnReply, write=write)
        responses = tuple(operation_result(part, reply.revision) for part in reply.responses)
        return TxnResponse(reply.succeeded, reply.revision, responses)

    def events(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        options: WatchOptions | None = None,
        on_ready: Callable[[], object] | None = None,
    ) -> NatsEventStream:
        """Iterate over the changes of a range revision by revision, as bytes."""
        asked = options if options is not None else WatchOptions()
        filters: list[Literal["noput", "nodelete"]] = [
            "noput" if kind.value == 0 else "nodelete" for kind in asked.filters
        ]
        body = WatchBody(
            **span(key, range_end).model_dump(exclude_none=True),
            deliver="",
            start_revision=asked.start_revision,
            prev_kv=asked.prev_kv,
            filters=filters,
            heartbeat_s=self._heartbeat,
            window=self._window,
        )
        return NatsEventStream(self._caller, body, on_ready=on_ready)

    async def _ordered(
        self, key: bytes, range_end: bytes, options: RangeOptions
    ) -> AsyncIterator[tuple[int, Sequence[KeyValue]]]:
        """Yield pages in the order asked for, each with the revision of the store that it shows."""
        by_key = options.sort_target is RangeRequestSortTarget.KEY
        if by_key and options.sort_order is not _DESCEND and not _is_filtered(options):
            async for revision, page in self._listed(key, range_end, options):
                yield revision, page
            return
        # The service has no other order and no filters, so both are done here; etcd, too, sorts
        # and filters what it has read.
        revision, kvs = 0, list[KeyValue]()
        unlimited = options._replace(limit=None, keys_only=options.keys_only and by_key)
        async for revision, page in self._listed(key, range_end, unlimited):  # noqa: B007 - yielded
            kvs += [kv for kv in page if _passes(kv, options)]
        kvs.sort(key=SORT_KEYS[options.sort_target], reverse=options.sort_order is _DESCEND)
        yield revision, kvs[: options.limit] if options.limit else kvs

    async def _listed(
        self, key: bytes, range_end: bytes, options: RangeOptions
    ) -> AsyncIterator[tuple[int, Sequence[KeyValue]]]:
        """Yield the replies of `kv.list`, which are in key order."""
        body = ListBody(
            **span(key, range_end).model_dump(exclude_none=True),
            limit=options.limit if options.limit else None,
            revision=options.revision,
            serializable=options.serializable,
            keys_only=options.keys_only,
        )
        while True:
            reply = await self._caller.call("kv.list", body, ListReply)
            yield reply.revision, [item.keyvalue() for item in reply.items]
            if reply.cursor is None:
                return
            left = None if body.limit is None else body.limit - len(reply.items)
            if left is not None and left <= 0:
                return
            body = body.model_copy(update={"cursor": reply.cursor, "limit": left})


def _is_filtered(options: RangeOptions) -> bool:
    return any(
        (
            options.min_mod_revision,
            options.max_mod_revision,
            options.min_create_revision,
            options.max_create_revision,
        )
    )


def _passes(kv: KeyValue, options: RangeOptions) -> bool:
    bounds = (
        (options.min_mod_revision, options.max_mod_revision, kv.mod_revision),
        (options.min_create_revision, options.max_create_revision, kv.create_revision),
    )
    return all(
        (not low or number >= low) and (not high or number <= high) for low, high, number in bounds
    )
