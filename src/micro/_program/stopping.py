"""Stopping a program: the request to stop, and the signals that make it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from micro._errors import ConfigError, StoppedError

logger = logging.getLogger("micro.context")  # the context is stopped

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

GRACE = 25.0
"""Seconds that a stop may take by default; Kubernetes ends a process after 30."""

GRACE_VARIABLE = "MICRO_GRACE"


def grace_time(given: float | None) -> float:
    """Return the seconds that a stop may take: as given, of the environment, or the default.

    Raises:
        ConfigError: The value is not a number of seconds from 0.
    """
    value: object = os.environ.get(GRACE_VARIABLE) or GRACE if given is None else given
    try:
        seconds = float(value)  # type: ignore[arg-type]  # anything else is refused below
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"invalid grace time {value!r}: expected a number of seconds from 0")
    return seconds


class Cancellation(asyncio.Event):
    """An event that is set when the program has to stop."""

    async def bound(self, coro: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine; cancel it, without an error, when this event is set.

        Raises:
            StoppedError: Other code cancelled the coroutine.
            Exception: The coroutine raised it.
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
    """Signal handlers: the first signal stops the program, the second one cancels its requests.

    A third signal has its usual effect.

    Args:
        stopping: Return whether the program is stopping already.
        stop: Stop the program.
        hurry: Cancel the requests in flight.
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
            logger.warning("%s again: cancelling the requests in flight", number.name)
            self.release()
            self._hurry()
