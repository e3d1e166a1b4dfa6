"""A place in the queue of a lock or an election, laid out like Go's concurrency package.

Each waiter owns a key `name/<lease in hex>`. The lowest create revision is first.

Source: go.etcd.io/etcd/client/v3/concurrency, key.go and mutex.go (layout and order of the keys).
"""

from micro_etcd._direct.kv import KV
from micro_etcd._model.keys import prefix_range
from micro_etcd._model.options import RangeOptions, WatchOptions
from micro_etcd._model.txn import CompareKey, GetOp, Place, PutOp
from micro_etcd._model.values import (
    KeyValue,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
    WatchCreateRequestFilterType,
)
from micro_etcd.errors import EtcdCompactedError, EtcdLockLostError

_FIRST = RangeOptions(
    limit=1,
    sort_order=RangeRequestSortOrder.ASCEND,
    sort_target=RangeRequestSortTarget.CREATE,
)
_PUTS = (WatchCreateRequestFilterType.NOPUT,)


class QueuePlace(Place):
    """The key of one waiter.

    Attributes:
        prefix: The common part of the keys of all waiters, without namespace.
        key: The waiter's key, without namespace.
        token: Create revision of the key, 0 before `enter`; grows from holder to holder.
    """

    def __init__(self, kv: KV, *, name: bytes, lease: int) -> None:
        self.prefix = name + b"/"
        super().__init__(self.prefix + f"{lease:x}".encode())
        self._lease = lease
        self._kv = kv

    async def enter(self, value: bytes = b"") -> bool:
        """Take a place at the end of the queue, under the lease; return whether it is the first."""
        first = GetOp(*prefix_range(self.prefix), _FIRST)
        # The key belongs to this lease, so a repeated request does no more than one.
        answer = await self._kv.txn(
            [CompareKey(self.key).create == 0],
            [PutOp(self.key, value, lease=self._lease), first],
            [GetOp(self.key), first],
            repeatable=True,
        )
        place, queue = answer.responses
        self.token = answer.revision
        if isinstance(place, RangeResult):
            self.token = place.kvs[0].create_revision
        return isinstance(queue, RangeResult) and queue.kvs[0].key == self.key

    async def wait(self) -> None:
        """Return once this place is first.

        Raises:
            EtcdLockLostError: The lease of the key ended while it was waiting.
        """
        while (ahead := await self._ahead()) is not None:
            await self._gone(*ahead)
        # The place itself may have ended meanwhile.
        mine = await self._kv.get(self.key)
        if mine is None or mine.create_revision != self.token:
            raise EtcdLockLostError(f"lost the place in the queue {self.prefix!r} while waiting")

    async def first(self) -> KeyValue | None:
        """Return the key that is first in the queue, None when the queue is empty."""
        queue = await self._kv.range(*prefix_range(self.prefix), _FIRST)
        return queue.kvs[0] if queue.kvs else None

    async def _ahead(self) -> tuple[bytes, int] | None:
        options = RangeOptions(
            limit=1,
            max_create_revision=self.token - 1,
            sort_order=RangeRequestSortOrder.DESCEND,
            sort_target=RangeRequestSortTarget.CREATE,
            keys_only=True,
        )
        queue = await self._kv.range(*prefix_range(self.prefix), options)
        return (queue.kvs[0].key, queue.revision) if queue.kvs else None

    async def _gone(self, key: bytes, revision: int) -> None:
        options = WatchOptions(start_revision=revision + 1, filters=_PUTS)
        stream = self._kv.events(key, options=options)
        try:
            await anext(stream)
        except EtcdCompactedError:
            return  # the caller looks again
        finally:
            stream.close()
