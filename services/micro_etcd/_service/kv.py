"""The key endpoints of the service: get, put, delete and list, as JSON or raw."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from micro import Middleware, NextHandler, Request, Response
from micro_etcd._cluster.connection import EtcdAnswerTooLargeError
from micro_etcd._model.options import RangeOptions
from micro_etcd._model.txn import (
    Compare,
    CompareKey,
    DeleteOp,
    GetOp,
    Operation,
    OperationResult,
    PutOp,
)
from micro_etcd._model.values import (
    DeleteResult,
    KeyValue,
    PutResult,
    RangeResult,
)
from micro_etcd._service.namespaces import Namespaces, View
from micro_etcd._service.read_backs import ReadBacks
from micro_etcd._wire.errors import EtcdConditionFailedError, EtcdPayloadTooLargeError
from micro_etcd._wire.headers import KEY, LEASE, MARGIN, REVISION, history_headers
from micro_etcd._wire.kv import (
    Condition,
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
from micro_etcd._wire.values import Item
from micro_etcd.errors import (
    EtcdInvalidArgumentError,
    EtcdLockLostError,
)

FIRST_READ = 64  # keys
MAX_READ = 4000  # keys
LISTS = 4  # that are read at a time: each may hold several times the size of a message


class KeyEndpoints:
    """Handlers of `kv.*`; `max_payload` returns how large a message may be now."""

    def __init__(self, namespaces: Namespaces, max_payload: Callable[[], int]) -> None:
        self._namespaces = namespaces
        self._max_payload = max_payload
        self._read_backs = ReadBacks(max_payload)
        self._lists = asyncio.Semaphore(LISTS)

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by operation."""
        return {
            "kv.get": self.get,
            "kv.get.many": self.get_many,
            "kv.put": self.put,
            "kv.delete": self.delete,
            "kv.list": self.list,
        }

    def raw(self) -> dict[str, Middleware]:
        """Return the middlewares for requests with the header `Etcd-Key`, by operation."""
        return {"kv.get": self._raw_get, "kv.put": self._raw_put}

    async def get(self, body: GetBody, request: Request) -> GetReply:
        """Answer `kv.get`."""
        view = self._namespaces.view(request, "get")
        options = RangeOptions(revision=body.revision, serializable=body.serializable)
        kv = await view.reads.get(body.key, options)
        item = None if kv is None else view.item(kv)
        return GetReply(found=item is not None, kv=item)

    async def get_many(self, body: GetManyBody, request: Request) -> GetManyReply:
        """Answer `kv.get.many`."""
        view = self._namespaces.view(request, "get")
        answer = await view.reads.txn([], [GetOp(key) for key in body.keys])
        parts = [part.kvs for part in answer.responses if isinstance(part, RangeResult)]
        items = [view.item(kvs[0]) if kvs else None for kvs in parts]
        return GetManyReply.model_construct(items=items)

    async def put(self, body: PutBody, request: Request) -> PutReply:
        """Answer `kv.put`."""
        view = self._namespaces.view(request, "put")
        await view.check_lease(body.lease)
        put = PutOp(body.key, body.value, body.lease, body.ignore_lease, body.prev_kv)
        await self._read_backs.check(view, [put])
        if body.condition is None and body.guard is None:
            result: OperationResult = await view.kv.put(
                put.key,
                put.value,
                lease=put.lease,
                prev_kv=put.prev_kv,
                ignore_lease=put.ignore_lease,
            )
        else:
            result = await _conditional(view, put, body.key, body.condition, body.guard)
        assert isinstance(result, PutResult)  # noqa: S101 - a put answers a put
        prev = None if result.prev is None else view.item(result.prev)
        reply = PutReply(revision=result.revision, prev_kv=prev)
        return self._read_backs.fitting(reply) if body.prev_kv else reply

    async def delete(self, body: DeleteBody, request: Request) -> DeleteReply:
        """Answer `kv.delete`."""
        view = self._namespaces.view(request, "delete")
        key, end = body.range()
        delete = DeleteOp(key, end, body.prev_kv)
        await self._read_backs.check(view, [delete])
        if body.condition is None and body.guard is None:
            result: OperationResult = await view.kv.delete(key, end, prev_kv=body.prev_kv)
        else:
            result = await _conditional(view, delete, key, body.condition, body.guard)
        assert isinstance(result, DeleteResult)  # noqa: S101 - a delete answers a delete
        prev = [view.item(kv) for kv in result.prev]
        reply = DeleteReply(revision=result.revision, deleted=result.deleted, prev_kvs=prev)
        return self._read_backs.fitting(reply) if body.prev_kv else reply

    async def list(self, body: ListBody, request: Request) -> ListReply:
        """Answer `kv.list` with the keys that fit into a message; the cursor keeps the revision."""
        view = self._namespaces.view(request, "list")
        key, end = body.range()
        revision = body.revision
        if body.cursor is not None:
            revision, last = read_cursor(body.cursor)
            key = max(key, last + b"\x00")
        page = _Page(view, self._max_payload() - MARGIN, keys_only=body.keys_only)
        async with self._lists:
            return await self._fill(page, body, (key, end), revision)

    async def _fill(
        self, page: "_Page", body: ListBody, keys: tuple[bytes, bytes], revision: int | None
    ) -> ListReply:
        key, end = keys
        result = None
        wanted = body.limit
        while result is None or (result.more and not page.full and wanted != 0):
            count = page.next_read(wanted)
            options = RangeOptions(
                limit=count,
                revision=revision,
                serializable=body.serializable,
                keys_only=body.keys_only,
            )
            try:
                result = await page.view.reads.range(key, end, options)
            except EtcdAnswerTooLargeError as error:
                page.refused(count, error)
                continue
            revision = revision if revision else result.revision
            taken = page.take(result.kvs)
            wanted = None if wanted is None else wanted - taken
            if page.items:
                key = page.items[-1].key + b"\x00"
            if not result.kvs:
                break
        more = page.full or (result.more and bool(page.items))
        cursor = make_cursor(revision, page.items[-1].key) if more and revision else None
        return ListReply(revision=revision or result.revision, items=page.items, cursor=cursor)

    async def _raw_get(self, request: Request, following: NextHandler) -> Response:
        headers = request.headers()
        if KEY not in headers:
            return await following(request)
        view = self._namespaces.view(request, "get")
        kv = await view.reads.get(raw_key(headers))
        shown = None if kv is None else view.shown(kv)
        return Response(b"" if shown is None else shown.value, history_headers(shown))

    async def _raw_put(self, request: Request, following: NextHandler) -> Response:
        headers = request.headers()
        if KEY not in headers:
            return await following(request)
        view = self._namespaces.view(request, "put")
        lease = _lease(headers)
        await view.check_lease(lease)
        result = await view.kv.put(raw_key(headers), request.data(), lease=lease)
        return Response(b"", {REVISION: str(result.revision)})


class _Page:
    """The keys of a reply, until the message is full."""

    def __init__(self, view: View, limit: int, *, keys_only: bool) -> None:
        self.view = view
        self.items: list[Item] = []
        self.full = False
        self._keys_only = keys_only
        self._room = limit - 256  # bytes around the items
        self._used = 0
        self._most = FIRST_READ

    def next_read(self, wanted: int | None) -> int:
        """Return the number of keys to read next: about as many as there is room for."""
        count = self._most
        if self.items:
            mean = max(1, self._used // len(self.items))
            count = max(1, min(self._most, (self._room - self._used) // mean + 1))
        return count if wanted is None else min(count, wanted)

    def refused(self, count: int, error: EtcdAnswerTooLargeError) -> None:
        """Ask for fewer keys after an answer that was too large.

        Raises:
            EtcdAnswerTooLargeError: There was one key, and the page is empty.
        """
        if count > 1:
            self._most = max(1, min(count // 2, self._room * count // max(1, error.size)))
        elif self.items:
            self.full = True
        else:
            raise error

    def take(self, kvs: Sequence[KeyValue]) -> int:
        """Add the keys that fit and return their number.

        Raises:
            EtcdPayloadTooLargeError: A single key does not fit into a message.
        """
        self._most = MAX_READ
        for number, kv in enumerate(kvs):
            item = self.view.item(kv, keys_only=self._keys_only)
            size = len(item.model_dump_json()) + 1
            if self._used + size > self._room:
                if not self.items:
                    raise EtcdPayloadTooLargeError(
                        f"key {kv.key!r} has {size} bytes, a message carries {self._room}",
                        size=size,
                    )
                self.full = True
                return number
            self.items.append(item)
            self._used += size
        return len(kvs)


def make_cursor(revision: int, key: bytes) -> str:
    """Return the cursor of a list."""
    return base64.urlsafe_b64encode(b"%d:%b" % (revision, key)).decode()


def read_cursor(cursor: str) -> tuple[int, bytes]:
    """Return the pinned revision and the last key of a cursor.

    Raises:
        EtcdInvalidArgumentError: The cursor is not valid.
    """
    try:
        number, colon, key = base64.b64decode(cursor, altchars=b"-_", validate=True).partition(b":")
    except (binascii.Error, ValueError) as error:
        raise EtcdInvalidArgumentError("invalid cursor: expected one of a list reply") from error
    if not colon or not number.isdigit() or len(number) > 18 or not key:
        raise EtcdInvalidArgumentError("invalid cursor: expected one of a list reply")
    return int(number), key


def raw_key(headers: dict[str, str]) -> bytes:
    """Return the key of a raw request.

    Raises:
        EtcdInvalidArgumentError: The header is not base64 of at least one byte.
    """
    try:
        key = base64.b64decode(headers[KEY], validate=True)
    except (binascii.Error, ValueError) as error:
        raise EtcdInvalidArgumentError(f"invalid {KEY} header: expected base64") from error
    if not key:
        raise EtcdInvalidArgumentError(f"invalid {KEY} header: expected a key")
    return key


def _lease(headers: dict[str, str]) -> int | None:
    text = headers.get(LEASE)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < 1 << 63:
        raise EtcdInvalidArgumentError(f"invalid {LEASE} header: expected a lease id")
    return int(text)


async def _conditional(
    view: View, operation: Operation, key: bytes, condition: Condition | None, guard: Guard | None
) -> OperationResult:
    """Apply a write if its condition and guard hold.

    Raises:
        EtcdLockLostError: The guard does not hold.
        EtcdConditionFailedError: The condition does not hold.
    """
    compares: list[Compare] = []
    lookups: list[Operation] = []
    if guard is not None:
        compares.append(CompareKey(guard.key).create == guard.create_revision)
        lookups.append(GetOp(guard.key, options=RangeOptions(keys_only=True)))
    if condition is not None:
        compares.append(_compare(key, condition))
    answer = await view.kv.txn(compares, [operation], lookups)
    if answer.succeeded:
        return answer.responses[0]
    if guard is not None:
        lookup = answer.responses[0]
        held = isinstance(lookup, RangeResult) and [kv.create_revision for kv in lookup.kvs]
        if held != [guard.create_revision]:
            raise EtcdLockLostError(f"the lock of key {guard.key!r} is lost")
    raise EtcdConditionFailedError(f"the condition on key {key!r} does not hold")


def _compare(key: bytes, condition: Condition) -> Compare:
    if condition.mod_revision is not None:
        return CompareKey(key).mod == condition.mod_revision
    return CompareKey(key).version == (condition.version or 0)
