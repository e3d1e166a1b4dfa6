"""The threads of blocking handlers: a pool of its own for each service, bounded in every way."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias

from micro._errors import ConfigError, ServiceError

MAX_THREADS = 32
THREAD_NAME = "micro"
QUEUED_PER_THREAD = 8

RunInThread: TypeAlias = Callable[..., Awaitable[Any]]
"""Calls a function with its arguments in a thread, as `asyncio.to_thread` does."""


class _Call(NamedTuple):
    future: asyncio.Future[Any]
    context: contextvars.Context
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Threads:
    """A pool of threads, made when they are needed.

    The default executor of asyncio is no place for handlers: a few that hang would stop name
    resolution, and with it every reconnect. A thread that hangs does not keep the process alive.

    Args:
        max_threads: Threads at most; eight calls for each may wait, more are refused.

    Raises:
        ConfigError: There would be no thread.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        if max_threads < 1:
            raise ConfigError(f"invalid max_threads {max_threads!r}: expected at least 1")
        self._max_threads = max_threads
        self._threads = 0
        self._calls = 0  # that wait or run
        self._ended_at = 0.0
        self._pid = os.getpid()
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a thread and return its result.

        Raises:
            ServiceError: Too many calls wait, code 503.
        """
        if self._calls >= (1 + QUEUED_PER_THREAD) * self._max_threads:
            raise ServiceError(503, "overloaded", headers={"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        if not self._calls:
            self._ended_at = time.monotonic()
        self._calls += 1
        if self._calls > self._threads < self._max_threads:
            self._threads += 1
            threading.Thread(target=self._work, args=(loop,), name=THREAD_NAME, daemon=True).start()
        call = _Call(loop.create_future(), contextvars.copy_context(), function, arguments)
        self._queue.put(call)
        return await call.future

    def stalled_for(self) -> float:
        """Return the seconds since a call ended, 0 while a thread is free."""
        busy = self._calls >= self._max_threads
        return time.monotonic() - self._ended_at if busy else 0.0

    def close(self) -> None:
        """End the threads, each after its present call."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (call := self._queue.get()) is not None:
            result, error = None, None
            if not call.future.cancelled():  # a queued call may have been given up
                try:
                    result = call.context.run(call.function, *call.arguments)
                except BaseException as raised:  # noqa: BLE001 - raised again in the handler
                    error = raised
            if os.getpid() != self._pid:
                os._exit(os.EX_SOFTWARE)  # the handler forked, and goes on in both processes
            try:
                loop.call_soon_threadsafe(self._end, call.future, result, error)
            except RuntimeError:
                return  # the event loop has been closed
            del call, result, error  # while waiting for the next call

    def _end(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._calls -= 1
        self._ended_at = time.monotonic()
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # no future takes it
            future.set_exception(RuntimeError("a handler raised StopIteration"))
        else:
            future.set_exception(error)
