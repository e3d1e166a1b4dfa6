"""Background work of a program: tasks without a deadline that end with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from micro._errors import StoppedError
from micro._protocol import deadline

logger = logging.getLogger("micro.background")


class Background:
    """The background tasks of one program; their failures are logged."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], bool] = {}  # with whether they are drained
        self._closed = False

    def spawn(self, work: Coroutine[Any, Any, Any], *, drain: bool) -> asyncio.Task[Any]:
        """Start a task; see `Context.spawn`."""
        if self._closed:
            work.close()
            raise StoppedError("cannot start background work: the context has ended")
        loop = asyncio.get_running_loop()
        task = loop.create_task(work, context=deadline.unbound_context())
        self._tasks[task] = drain
        task.add_done_callback(self._ended)
        return task

    async def close(self, timeout: float) -> None:
        """Cancel the tasks, drained ones only after a number of seconds."""
        self._closed = True
        drained = {task for task, drain in self._tasks.items() if drain}
        for task in self._tasks.keys() - drained:
            task.cancel()
        if drained:
            await asyncio.wait(drained, timeout=max(0, timeout))
        rest = set(self._tasks)
        for task in rest & drained:
            logger.warning("background work %r unfinished, cancelling", task.get_name())
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=1)
        for task in self._tasks:
            logger.error("background work %r ignores cancellation", task.get_name())

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background work %r failed", task.get_name(), exc_info=error)
