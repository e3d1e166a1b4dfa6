"""The key endpoints of the service: get, put, delete and list, as JSON or raw."""

import base64
import binascii
from collections.abc import Callable, Sequence

from micro import Request
from micro_etcd._direct.kv import RangeOptions
from micro_etcd._model.txn import Compare, DeleteOp, GetOp, Operation, OperationResult, PutOp
from micro_etcd._model.values import (
    CompareCompareResult,
    CompareCompareTarget,
    DeleteResult,
    KeyValue,
    PutResult,
    RangeResult,
)
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd._service.namespaces import View, parse
from micro_etcd._wire.errors import EtcdConditionFailedError, EtcdPayloadTooLargeError
from micro_etcd._wire.models import (
    Condition,
    DeleteBody,
    DeleteReply,
    GetBody,
    GetManyBody,
    GetManyReply,
    GetReply,
    Guard,
    Item,
    ListBody,
    ListReply,
    PutBody,
    PutReply,
    Reply,
)
from micro_etcd.errors import EtcdInvalidArgumentError, EtcdLockLostError

KEY = "Etcd-Key"
FOUND = "Etcd-Found"
LEASE = "Etcd-Lease"
MARGIN = 4096  # bytes of a message left for headers
FIRST_READ = 64  # keys
MAX_READ = 4000  # keys
EQUAL = CompareCompareResult.EQUAL
JSON_HEADERS = {"Content-Type": "application/json"}

MaxPayload = Callable[[], int]


class KeyEndpoints:
    """Handlers of `kv.*`; `max_payload` tells how large a message may be at the moment."""

    def __init__(self, max_payload: MaxPayload) -> None:
        self._max_payload = max_payload

    async def get(self, request: Request, view: View) -> None:
        """Answer `kv.get`: with the header `Etcd-Key` (base64) raw, else as GetBody."""
        view.need("get")
        headers = request.headers()
        if KEY in headers:
            found = await view.kv.get(raw_key(headers))
            if found is None:
                await request.respond(b"", {FOUND: "false"})
                return
            self._check_size(len(found.value))
            await request.respond(found.value, _history(found))
            return
        body = parse(GetBody, request.data())
        options = RangeOptions(revision=body.revision, serializable=body.serializable)
        found = await view.kv.get(body.key, options)
        item = None if found is None else Item.of(found)
        await self.answer(request, GetReply(found=item is not None, kv=item))

    async def get_many(self, request: Request, view: View) -> None:
        """Answer `kv.get.many`."""
        view.need("get")
        body = parse(GetManyBody, request.data())
        reads = [GetOp(pb.RangeRequest(key=key)) for key in body.keys]
        answer = await view.kv.txn([], reads)
        found = [part.kvs for part in answer.responses if isinstance(part, RangeResult)]
        items = [Item.of(kvs[0]) if kvs else None for kvs in found]
        await self.answer(request, GetManyReply.model_construct(items=items))

    async def put(self, request: Request, view: View) -> None:
        """Answer `kv.put`: with the header `Etcd-Key` (base64) raw, the payload being the value."""
        view.need("put")
        headers = request.headers()
        if KEY in headers:
            lease = _lease(headers)
            result = await view.kv.put(raw_key(headers), request.data(), lease=lease)
            await request.respond(b"", {"Etcd-Revision": str(result.revision)})
            return
        body = parse(PutBody, request.data())
        if body.condition is None and body.guard is None:
            result = await view.kv.put(
                body.key,
                body.value,
                lease=body.lease,
                prev_kv=body.prev_kv,
                ignore_lease=body.ignore_lease,
            )
        else:
            put = PutOp(body.key, body.value, body.lease, body.ignore_lease, body.prev_kv)
            done = await _conditional(view, put, body.key, body.condition, body.guard)
            assert isinstance(done, PutResult)  # noqa: S101 - a put answers a put
            result = done
        prev = None if result.prev is None else Item.of(result.prev)
        await self.answer(request, PutReply(revision=result.revision, prev_kv=prev))

    async def delete(self, request: Request, view: View) -> None:
        """Answer `kv.delete`."""
        view.need("delete")
        body = parse(DeleteBody, request.data())
        key, end = body.range()
        if body.condition is None and body.guard is None:
            result = await view.kv.delete(key, end, prev_kv=body.prev_kv)
        else:
            delete = DeleteOp(key, end, body.prev_kv)
            done = await _conditional(view, delete, key, body.condition, body.guard)
            assert isinstance(done, DeleteResult)  # noqa: S101 - a delete answers a delete
            result = done
        gone = [Item.of(kv) for kv in result.prev]
        await self.answer(
            request,
            DeleteReply(revision=result.revision, deleted=result.deleted, prev_kvs=gone),
        )

    async def list(self, request: Request, view: View) -> None:
        """Answer `kv.list`: as many keys as fit a message; the cursor goes on at the same revision."""
        view.need("list")
        body = parse(ListBody, request.data())
        key, end = body.range()
        revision = body.revision
        if body.cursor is not None:
            revision, last = read_cursor(body.cursor)
            key = max(key, last + b"\x00")
        page = _Page(self._max_payload() - MARGIN, keys_only=body.keys_only)
        found = None
        wanted = body.limit
        while found is None or (found.more and not page.full and wanted != 0):
            options = RangeOptions(
                limit=page.next_read(wanted),
                revision=revision,
                serializable=body.serializable,
                keys_only=body.keys_only,
            )
            found = await view.kv.range(key, end, options)
            revision = revision if revision else found.revision
            taken = page.take(found.kvs)
            wanted = None if wanted is None else wanted - taken
            if page.items:
                key = page.items[-1].key + b"\x00"
            if not found.kvs:
                break
        more = page.full or (found.more and bool(page.items))
        cursor = make_cursor(revision, page.items[-1].key) if more and revision else None
        reply = ListReply(revision=revision or found.revision, items=page.items, cursor=cursor)
        await self.answer(request, reply)

    async def answer(self, request: Request, reply: Reply) -> None:
        """Answer with a model as JSON.

        Raises:
            EtcdPayloadTooLargeError: It does not fit a message.
        """
        data = reply.model_dump_json().encode()
        self._check_size(len(data))
        await request.respond(data, JSON_HEADERS)

    def _check_size(self, size: int) -> None:
        limit = self._max_payload() - MARGIN
        if size > limit:
            raise EtcdPayloadTooLargeError(
                f"the answer has {size} bytes, a message carries {limit}", size=size
            )


class _Page:
    """Collects keys until a message is full."""

    def __init__(self, limit: int, *, keys_only: bool) -> None:
        self.items: list[Item] = []
        self.full = False
        self._keys_only = keys_only
        self._room = limit - 256  # what stands around the items
        self._used = 0

    def next_read(self, wanted: int | None) -> int:
        """Return how many keys to ask for: about as many as there is room for."""
        count = FIRST_READ
        if self.items:
            mean = max(1, self._used // len(self.items))
            count = max(1, min(MAX_READ, (self._room - self._used) // mean + 1))
        return count if wanted is None else min(count, wanted)

    def take(self, kvs: Sequence[KeyValue]) -> int:
        """Take what fits and return how many that were.

        Raises:
            EtcdPayloadTooLargeError: A key alone does not fit a message.
        """
        for number, kv in enumerate(kvs):
            item = Item.of(kv, keys_only=self._keys_only)
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
    """Return where a list goes on."""
    return base64.urlsafe_b64encode(b"%d:%b" % (revision, key)).decode()


def read_cursor(cursor: str) -> tuple[int, bytes]:
    """Return the pinned revision and the last key of a cursor.

    Raises:
        EtcdInvalidArgumentError: It is none.
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


def _history(kv: KeyValue) -> dict[str, str]:
    return {
        FOUND: "true",
        "Etcd-Mod-Revision": str(kv.mod_revision),
        "Etcd-Create-Revision": str(kv.create_revision),
        "Etcd-Version": str(kv.version),
        LEASE: str(kv.lease),
    }


async def _conditional(
    view: View, operation: Operation, key: bytes, condition: Condition | None, guard: Guard | None
) -> OperationResult:
    """Do a write if its condition and guard hold.

    Raises:
        EtcdLockLostError: The guard does not hold.
        EtcdConditionFailedError: The condition does not.
    """
    compares: list[Compare] = []
    lookups: list[Operation] = []
    if guard is not None:
        compares.append(
            Compare(guard.key, CompareCompareTarget.CREATE, EQUAL, guard.create_revision)
        )
        lookups.append(GetOp(pb.RangeRequest(key=guard.key, keys_only=True)))
    if condition is not None:
        compares.append(_compare(key, condition))
    answer = await view.kv.txn(compares, [operation], lookups)
    if answer.succeeded:
        return answer.responses[0]
    if guard is not None:
        found = answer.responses[0]
        held = isinstance(found, RangeResult) and [kv.create_revision for kv in found.kvs]
        if held != [guard.create_revision]:
            raise EtcdLockLostError(f"the lock of key {guard.key!r} is lost")
    raise EtcdConditionFailedError(f"the condition on key {key!r} does not hold")


def _compare(key: bytes, condition: Condition) -> Compare:
    if condition.mod_revision is not None:
        return Compare(key, CompareCompareTarget.MOD, EQUAL, condition.mod_revision)
    version = 0 if condition.version is None else condition.version
    return Compare(key, CompareCompareTarget.VERSION, EQUAL, version)
