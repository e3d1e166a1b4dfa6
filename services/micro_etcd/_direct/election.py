"""Elections: one leader at a time among campaigners."""

from collections.abc import AsyncGenerator
from typing import Generic, Self

from micro_etcd._direct.kv import KV
from micro_etcd._direct.leases import Leases
from micro_etcd._direct.queue_place import QueuePlace
from micro_etcd._keyspace.lease_keeper import LeaseKeeper
from micro_etcd._keyspace.lock import SESSION_TTL, HeldLock
from micro_etcd._model.codec import Codec
from micro_etcd._model.keys import prefix_range
from micro_etcd._model.options import WatchOptions
from micro_etcd._model.txn import PutOp
from micro_etcd._model.values import KeyValue, T, WatchEventType
from micro_etcd.errors import EtcdCompactedError, EtcdLockLostError


class Election(Generic[T]):
    """An election, compatible with Go's and `etcdctl elect`; leaving the context resigns.

    Leadership is a lock with a value: `leadership` has its token, guard and loss.
    """

    def __init__(self, kv: KV, leases: Leases, *, name: bytes, codec: Codec[T]) -> None:
        self._kv = kv
        self._leases = leases
        self._name = name
        self._codec = codec
        self._place = QueuePlace(kv, name=name, lease=0)
        self._keeper: LeaseKeeper | None = None
        self._leadership: HeldLock | None = None

    @property
    def leadership(self) -> HeldLock:
        """The leadership won by `campaign`.

        Raises:
            EtcdLockLostError: This campaigner does not lead.
        """
        if self._leadership is None:
            raise EtcdLockLostError(f"not the leader of {self._name!r}: campaign first")
        return self._leadership

    async def campaign(self, value: str | bytes, *, ttl: int = SESSION_TTL) -> HeldLock:
        """Wait until this campaigner leads; observers read `value`.

        Args:
            value: The value that observers read.
            ttl: Seconds after which the leadership of a crashed leader ends.
        """
        if self._leadership is not None and not self._leadership.lost:
            await self.proclaim(value)
            return self._leadership
        await self.resign()
        keeper = await LeaseKeeper.start(self._leases, ttl)
        place = QueuePlace(self._kv, name=self._name, lease=keeper.id)
        try:
            if not await place.enter(self._codec.encode(value)):
                await place.wait()
        except BaseException:
            await keeper.stop()
            raise
        self._keeper = keeper
        self._leadership = HeldLock(place, keeper)
        return self._leadership

    async def proclaim(self, value: str | bytes) -> None:
        """Replace the leader's value without a new election.

        Raises:
            EtcdLockLostError: This campaigner does not lead (any more).
            EtcdOutcomeUnknownError: No answer came.
        """
        held = self.leadership
        put = PutOp(held.key, self._codec.encode(value), lease=held.lease)
        answer = await self._kv.txn([held.guard], [put])
        if not answer.succeeded:
            raise EtcdLockLostError(f"leadership of {self._name!r} was lost")

    async def resign(self) -> None:
        """Give up the leadership, if held; idempotent."""
        keeper, self._keeper, self._leadership = self._keeper, None, None
        if keeper is not None:
            await keeper.stop()

    async def leader(self) -> T | None:
        """Return the leader's value, None without a leader."""
        first = await self._place.first()
        return None if first is None else self._codec.decode(first.value)

    async def observe(self) -> AsyncGenerator[T, None]:
        """Yield the leader's value now and at every change; short leaderships may be missed."""
        while True:
            first, revision = await self._present()
            yield self._codec.decode(first.value)
            options = WatchOptions(start_revision=revision + 1)
            stream = self._kv.events(first.key, options=options)
            try:
                async for batch in stream:
                    event = batch.events[-1]
                    if event.type is WatchEventType.DELETE:
                        break
                    yield self._codec.decode(event.kv.value)
            except EtcdCompactedError:
                continue
            finally:
                stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.resign()

    async def _present(self) -> tuple[KeyValue, int]:
        """Wait for a leader; return it and the revision of the read."""
        while True:
            key, end = prefix_range(self._place.prefix)
            revision = await self._kv.revision(key)
            first = await self._place.first()
            if first is not None:
                return first, max(revision, first.mod_revision)
            options = WatchOptions(start_revision=revision + 1)
            stream = self._kv.events(key, end, options=options)
            try:
                await anext(stream)
            except EtcdCompactedError:
                continue
            finally:
                stream.close()
