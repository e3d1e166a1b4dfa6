"""The moment a program is told to stop, and coroutines that end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from micro._errors import StoppedError


class Cancellation(asyncio.Event):
    """Set when the program is to stop."""

    async def bound(self, coro: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine, and cancel it when this is set, which then is no error.

        Raises:
            StoppedError: Somebody else cancelled the coroutine.
            Exception: Whatever the coroutine raised.
        """
        task = asyncio.ensure_future(coro)
        cancelled = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({task, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            cancelled.cancel()
            await asyncio.wait({task, cancelled})
        if not task.cancelled():
            task.result()
        elif not self.is_set():
            raise StoppedError("a coroutine of the context was cancelled from elsewhere")
