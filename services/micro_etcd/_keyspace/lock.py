"""Locks: first in a queue of lease-bound keys, renewed while held or capped by a ttl."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from micro_etcd._keyspace.lease_keeper import LeaseKeeper
from micro_etcd._model.protocols import LeaseStore
from micro_etcd._model.txn import Compare, Place
from micro_etcd._model.values import EtcdLockOption
from micro_etcd.errors import EtcdLockLostError

SESSION_TTL = 15  # seconds after which a crashed holder's lock is free, when no ttl is given


class HeldLock:
    """A lock while it is held.

    No lock keeps a paused holder from acting late. etcd refuses only writes that carry `guard` once
    the lock is lost.
    """

    def __init__(self, place: Place, keeper: LeaseKeeper) -> None:
        self._place = place
        self._keeper = keeper

    @property
    def key(self) -> bytes:
        """Key of this holder."""
        return self._place.key

    @property
    def lease(self) -> int:
        """Lease that the key is bound to."""
        return self._keeper.id

    @property
    def token(self) -> int:
        """Fencing token; it grows with every holder of this lock."""
        return self._place.token

    @property
    def guard(self) -> Compare:
        """A comparison for `txn_compare` that fails once the lock is lost."""
        return self._place.guard

    @property
    def lost(self) -> bool:
        """True once others may hold the lock, by the clock of this process."""
        return self._keeper.lost

    @property
    def remaining(self) -> float:
        """Seconds for which the lock is held without another renewal."""
        return self._keeper.remaining

    async def wait_lost(self) -> None:
        """Return when the lock is lost."""
        await self._keeper.wait_lost()


@asynccontextmanager
async def hold_lock(
    leases: LeaseStore, enter: Callable[[int], Awaitable[Place]], option: EtcdLockOption
) -> AsyncIterator[HeldLock]:
    """Hold a lock in the body of an `async with`.

    Args:
        leases: Grants the lease of the lock.
        enter: Queues under a lease and returns when the place is first.
        option: Limits; its `lock_name` only serves messages.

    Raises:
        TimeoutError: The lock was not free within `option.timeout`; nothing is left behind.
        EtcdLockLostError: On exit, when the lock ended before the body did.
    """
    ttl = option.ttl if option.ttl is not None else SESSION_TTL
    async with asyncio.timeout(option.timeout):
        keeper = await LeaseKeeper.start(leases, ttl, on_lost=option.on_lost)
        try:
            place = await enter(keeper.id)
            if option.ttl is not None:
                await keeper.cap(option.ttl)
        except BaseException:
            await keeper.stop()
            raise
    held = HeldLock(place, keeper)
    try:
        yield held
        if held.lost:
            raise EtcdLockLostError(f"lock {option.lock_name!r} was lost before it was released")
    finally:
        await keeper.stop()
