"""Stopping a program: the request to stop, and the signals that make it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from micro._errors import ConfigError, StoppedError

logger = logging.getLogger("micro.context")  # the context is stopped

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_CANNOT_TRAP = "{}: leave out trap_signals, and stop with Context.cancel()"

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


def signals_to_trap(trap_signals: object) -> tuple[signal.Signals, ...] | None:
    """Return the signals to trap, empty for the default ones; None for none.

    Raises:
        ConfigError: The value is neither a bool nor a collection of signals.
    """
    if not trap_signals:
        return None
    if trap_signals is True:
        return ()
    if isinstance(trap_signals, Iterable) and not isinstance(trap_signals, str | bytes):
        numbers = tuple(trap_signals)
        if all(isinstance(number, signal.Signals) for number in numbers):
            return numbers
    raise ConfigError(
        f"invalid trap_signals {trap_signals!r}: expected a bool or (signal.SIGTERM, ...)"
    )


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
        """Trap these signals, by default SIGINT and SIGTERM.

        Raises:
            ConfigError: Not in the main thread, or not on this system.
        """
        for number in signals if signals else STOP_SIGNALS:
            _trap(number, self)
            self._trapped.append(number)

    def release(self) -> None:
        """Give the trapped signals their usual effect again, unless others trap them."""
        for number in self._trapped:
            _release(number, self)
        self._trapped.clear()

    def received(self, number: signal.Signals) -> None:
        """Stop the program, or hurry it."""
        if not self._stopping():
            logger.info("%s: stopping", number.name)
            self._stop()
        else:
            logger.warning("%s again: cancelling the requests in flight", number.name)
            self.release()
            self._hurry()


# An event loop has one handler per signal; all programs that run in it share that.
_trapping: WeakKeyDictionary[
    asyncio.AbstractEventLoop, defaultdict[signal.Signals, list[StopSignals]]
] = WeakKeyDictionary()


def _trap(number: signal.Signals, traps: StopSignals) -> None:
    loop = asyncio.get_running_loop()
    trapping = _trapping.setdefault(loop, defaultdict(list))[number]
    if not trapping:
        try:
            loop.add_signal_handler(number, _received, loop, number)
        except NotImplementedError:
            reason = "event loops of this system have no signal handlers"
            raise ConfigError(_CANNOT_TRAP.format(reason)) from None
        except (RuntimeError, ValueError):
            reason = f"{number.name} can be trapped in the main thread only"
            if threading.current_thread() is threading.main_thread():
                reason = f"{number.name} cannot be trapped"
            raise ConfigError(_CANNOT_TRAP.format(reason)) from None
    trapping.append(traps)


def _release(number: signal.Signals, traps: StopSignals) -> None:
    loop = asyncio.get_running_loop()
    trapping = _trapping[loop][number]
    trapping.remove(traps)
    if not trapping:
        loop.remove_signal_handler(number)


class _Fork(threading.local):
    mask: Iterable[signal.Signals | int] = ()
    """The blocked signals of the thread before a fork."""


_fork = _Fork()


def _trapped_now() -> set[signal.Signals]:
    loops = tuple(_trapping.values())
    return {number for trapping in loops for number, traps in trapping.items() if traps}


def _before_fork() -> None:
    """Hold signals back: one that reached a child at once would go to the parent."""
    _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _trapped_now())


def _in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _in_child() -> None:
    """Give signals their usual effect: with Python 3.11 the event loop of the parent gets them."""
    trapped = _trapped_now()
    if trapped:
        signal.set_wakeup_fd(-1)
    for number in trapped:
        usual = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def _received(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    for traps in tuple(_trapping[loop][number]):
        traps.received(number)
