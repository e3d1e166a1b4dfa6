"""Log lines that repeat: the first one of a kind, then one every few seconds with a count."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import Any

MAX_KINDS = 256


class LimitedLog:
    """Logs through a logger, but not the same thing over and over.

    Args:
        logger: Where to.
        interval: Seconds between two lines of one kind.
    """

    def __init__(self, logger: logging.Logger, interval: float = 5.0) -> None:
        self._logger = logger
        self._interval = interval
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def log(self, level: int, kind: str, message: str, *arguments: Any, error: Any = None) -> None:
        """Log a line, unless one of its kind went out a moment ago.

        Args:
            level: The level of the logging module.
            kind: Lines of one kind are limited together.
            message: The format.
            arguments: Its arguments.
            error: An exception whose traceback goes with it.
        """
        now = time.monotonic()
        last, left_out = self._seen.get(kind, (float("-inf"), 0))
        if now - last < self._interval:
            self._seen[kind] = (last, left_out + 1)
            return
        if left_out:
            message, arguments = f"{message} (and %d more like it)", (*arguments, left_out)
        self._seen[kind] = (now, 0)
        self._seen.move_to_end(kind)
        if len(self._seen) > MAX_KINDS:
            self._seen.popitem(last=False)
        self._logger.log(level, message, *arguments, exc_info=error)
