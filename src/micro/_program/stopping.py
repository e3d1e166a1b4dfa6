"""What the signals that end a program do: the first one, the next one, and any after that."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

logger = logging.getLogger("micro.context")  # whose stopping this is about

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
