"""Stopping a program: the request to stop, and the signals that make it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from micro._errors import StoppedError

logger = logging.getLogger("micro.context")  # whose stopping this is about

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


class StopSignals:
    """Traps signals: the first one stops a program, the next one hurries it, a third has its usual effect.

    Args:
        stopping: Whether the program is stopping already, for whatever reason.
        stop: Makes it stop.
        hurry: Makes it stop without waiting for what is in flight.
    """

    def __init__(
        self,
        *,
        stopping: Callable[[], bool],
        stop: Callable[[], None],
        hurry: Callable[[], None],
    ) -> None:
        self._stopping = stopping
        self._stop = stop
        self._hurry = hurry
        self._trapped: list[signal.Signals] = []

    def trap(self, *signals: signal.Signals) -> None:
        """Trap these signals, SIGINT and SIGTERM when none is given."""
        loop = asyncio.get_running_loop()
        for number in signals if signals else STOP_SIGNALS:
            loop.add_signal_handler(number, self._received, number)
            self._trapped.append(number)

    def release(self) -> None:
        """Give the trapped signals their usual effect again."""
        loop = asyncio.get_running_loop()
        for number in self._trapped:
            loop.remove_signal_handler(number)
        self._trapped.clear()

    def _received(self, number: signal.Signals) -> None:
        if not self._stopping():
            logger.info("%s: stopping", number.name)
            self._stop()
        else:
            logger.warning("%s again: cancelling what is in flight", number.name)
            self.release()
            self._hurry()
