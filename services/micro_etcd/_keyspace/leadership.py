"""Singletons: a body that runs in one process at a time and is cancelled on loss."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from micro_etcd._keyspace.lock import HeldLock
from micro_etcd.errors import EtcdLockLostError

if TYPE_CHECKING:
    from collections.abc import Callable


class Locks(Protocol):
    """A store with locks."""

    def with_lock(
        self, lock_name: str | bytes, *, on_lost: "Callable[[], object] | None" = None
    ) -> AbstractAsyncContextManager[HeldLock]: ...


@asynccontextmanager
async def lead(locks: Locks, name: str) -> AsyncIterator[HeldLock]:
    """Run the body as the only leader of a name, waiting for the leadership without a limit.

    Raises:
        EtcdLockLostError: The leadership was lost, and the body was cancelled.
    """
    task = asyncio.current_task()
    lost = inside = False

    def cancel() -> None:
        nonlocal lost
        lost = True
        if inside and task is not None:
            task.cancel()

    async with locks.with_lock(name, on_lost=cancel) as held:
        inside = True
        try:
            yield held
        except asyncio.CancelledError as error:
            # Like asyncio.timeout: only our own cancellation becomes an error.
            if lost and task is not None and task.uncancel() == 0:
                raise EtcdLockLostError(f"the leadership of {name!r} was lost") from error
            raise
        finally:
            inside = False
        if lost and task is not None and task.cancelling():  # the body has ignored it
            task.uncancel()
