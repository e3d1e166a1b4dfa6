"""Callbacks of the user, isolated from the connection and from each other."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from micro._ratelimit import LimitedLog

logger = logging.getLogger("micro.callbacks")

MAX_WAITING = 1_000
"""Limit on events that wait before error callbacks are left out."""


class Callbacks:
    """Callbacks by event, run one after the other in a task of their own."""

    def __init__(self) -> None:
        self._callbacks: defaultdict[str, list[Callable[..., Awaitable[None]]]] = defaultdict(list)
        self._queue: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._log = LimitedLog(logger)

    def add(self, event: str, callback: Callable[..., Awaitable[None]]) -> None:
        """Add a callback for an event."""
        self._callbacks[event].append(callback)

    def call(self, event: str, *arguments: Any) -> None:
        """Queue the callbacks of an event."""
        if not self._callbacks[event]:
            return
        if event == "error" and self._queue.qsize() >= MAX_WAITING:  # any client can cause errors
            text = "error callback left out, since %d events wait"
            self._log.log(logging.WARNING, "left out", text, MAX_WAITING)
        else:
            self._queue.put_nowait((event, arguments))
            if self._task is None:
                self._task = asyncio.create_task(self._run())

    async def close(self, timeout: float = 2.0) -> None:
        """Run the queued callbacks for at most `timeout` seconds."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._queue.join()
        except TimeoutError:
            logger.warning("callbacks of the connection took too long")
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        await asyncio.sleep(0)  # an eager task would begin where nats-py reads
        while True:
            event, arguments = await self._queue.get()
            for callback in tuple(self._callbacks[event]):
                try:
                    await callback(*arguments)
                except Exception as error:  # noqa: BLE001 - of the user, logged
                    self._failed(event, error)
            self._queue.task_done()

    def _failed(self, event: str, error: Exception) -> None:
        if event == "error":
            self._log.log(logging.ERROR, event, "error callback failed", error=error)
        else:
            logger.error("%s callback failed", event, exc_info=error)
