"""Callbacks of the user, isolated from the connection and from each other."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("micro.callbacks")


class Callbacks:
    """Callbacks by event, run one after the other in a task of their own."""

    def __init__(self) -> None:
        self._callbacks: defaultdict[str, list[Callable[..., Awaitable[None]]]] = defaultdict(list)
        self._queue: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def add(self, event: str, callback: Callable[..., Awaitable[None]]) -> None:
        """Add a callback for an event."""
        self._callbacks[event].append(callback)

    def call(self, event: str, *arguments: Any) -> None:
        """Queue the callbacks of an event."""
        if self._callbacks[event]:
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
                except Exception:
                    logger.exception("%s callback failed", event)
            self._queue.task_done()
