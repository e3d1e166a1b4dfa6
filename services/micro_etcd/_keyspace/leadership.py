"""Singletons: a body that runs in one process at a time and is cancelled on loss."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from micro_etcd._keyspace.lock import HeldLock
from micro_etcd.errors import EtcdLockLostError

Hold = Callable[[Callable[[], object]], AbstractAsyncContextManager[HeldLock]]
"""A function that holds a lock and calls its argument when the lock is lost."""


@asynccontextmanager
async def lead(hold: Hold, name: str) -> AsyncIterator[HeldLock]:
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

    async with hold(cancel) as held:
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
