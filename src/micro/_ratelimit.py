"""Rate limits for log lines that repeat and for answers that any client can request."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

MAX_KINDS = 256


class TokenBucket:
    """A limit on events per second.

    Args:
        rate: Events per second in the long run.
        burst: Events at once after a pause.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._last = time.monotonic()

    def take(self, amount: float = 1) -> bool:
        """Return whether a number of events is allowed now, and count them."""
        allowed = self.rest() >= amount
        if allowed:
            self._tokens -= amount
        return allowed

    def spend(self, amount: float) -> None:
        """Count events that have happened, even beyond the limit."""
        self._tokens = self.rest() - amount

    def rest(self) -> float:
        """Return how many events are allowed now."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        return self._tokens


_PARTICULAR = re.compile(r'"[^"]*"|\d+')


def kind_of(text: str) -> str:
    """Return what errors of one kind have in common: their text without names and numbers."""
    return _PARTICULAR.sub("", text)


class LimitedLog:
    """A logger that limits lines of one kind.

    Args:
        logger: The logger to write to.
        interval: Seconds between two lines of one kind.
    """

    def __init__(self, logger: logging.Logger, interval: float = 5.0) -> None:
        self._logger = logger
        self._interval = interval
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def log(self, level: int, kind: str, message: str, *arguments: Any, error: Any = None) -> None:
        """Log a line, unless one of its kind was logged a moment ago.

        Args:
            level: The level of the logging module.
            kind: Lines of one kind are limited together.
            message: The format.
            arguments: Its arguments.
            error: An exception whose traceback is logged, too.
        """
        if self.due(kind):
            self.write(level, kind, message, *arguments, error=error)

    def due(self, kind: str) -> bool:
        """Return whether a line of a kind may be logged now; if not, count it."""
        last, left_out = self._seen.get(kind, (float("-inf"), 0))
        if time.monotonic() - last < self._interval:
            self._seen[kind] = (last, left_out + 1)
            return False
        return True

    def write(
        self,
        level: int,
        kind: str,
        message: str,
        *arguments: Any,
        error: Any = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Log a line that is due, with `fields` as attributes of its record; see `log`."""
        _, left_out = self._seen.get(kind, (0.0, 0))
        if left_out:
            message, arguments = f"{message} (and %d more like it)", (*arguments, left_out)
        self._seen[kind] = (time.monotonic(), 0)
        self._seen.move_to_end(kind)
        if len(self._seen) > MAX_KINDS:
            self._seen.popitem(last=False)
        self._logger.log(level, message, *arguments, exc_info=error, extra=fields)
