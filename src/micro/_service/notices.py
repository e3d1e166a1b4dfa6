"""Callbacks of the user for errors and the end of a service."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("micro.callbacks")


class Notices:
    """The callbacks of one owner, sync or async; their failures are logged.

    Args:
        owner: The owner of the callbacks, for log lines.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Future[Any]] = set()

    def call(self, callback: Callable[..., Any] | None, *arguments: Any) -> None:
        """Call a callback if there is one; an async callback continues in a task."""
        if callback is None:
            return
        try:
            outcome = callback(*arguments)
        except Exception:
            logger.exception("%s: callback failed", self._owner)
            return
        if inspect.isawaitable(outcome):
            task = asyncio.ensure_future(outcome)
            self._running.add(task)
            task.add_done_callback(self._done)

    async def settle(self, timeout: float = 1.0) -> None:
        """Wait for the async callbacks, for at most `timeout` seconds."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s: callback failed", self._owner, exc_info=task.exception())
