"""Callbacks of the user for errors and the end of a service."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from micro._ratelimit import LimitedLog

logger = logging.getLogger("micro.callbacks")


MAX_RUNNING = 64
"""Limit on async callbacks that run side by side; further ones wait."""

MAX_WAITING = 1_000
"""Limit on callbacks that wait; further ones are left out."""


class Notices:
    """The callbacks of one owner, sync or async; their failures are logged.

    Any caller can cause errors, so callbacks for them are bounded.

    Args:
        owner: The owner of the callbacks, for log lines.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Future[Any]] = set()
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._log = LimitedLog(logger)

    def call(self, callback: Callable[..., Any] | None, *arguments: Any) -> None:
        """Call a callback if there is one; an async callback continues in a task."""
        if callback is None:
            return
        if len(self._running) < MAX_RUNNING:
            self._call(callback, arguments)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append((callback, arguments))
        else:
            text = "%s: callback left out, since %d wait"
            self._log.log(logging.WARNING, "left out", text, self._owner, MAX_WAITING)

    def _call(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            outcome = callback(*arguments)
        except Exception as error:  # noqa: BLE001 - of the user, logged
            self._failed(callback, error)
            return
        if inspect.isawaitable(outcome):
            task = asyncio.ensure_future(outcome)
            self._running.add(task)
            task.add_done_callback(partial(self._done, callback))

    async def settle(self, timeout: float = 1.0) -> None:
        """Wait for the async callbacks, for at most `timeout` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self._running and (left := end - loop.time()) >= 0:
            await asyncio.wait(self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def _done(self, callback: Callable[..., Any], task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(callback, error)
        while self._waiting and len(self._running) < MAX_RUNNING:
            self._call(*self._waiting.popleft())

    def _failed(self, callback: Callable[..., Any], error: BaseException) -> None:
        kind = getattr(callback, "__qualname__", "callback")
        self._log.log(logging.ERROR, kind, "%s: callback failed", self._owner, error=error)
