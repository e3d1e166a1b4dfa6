"""Tasks that run requests; shared by the endpoints of one service."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import Protocol

from micro._request import NatsRequest

MAX_IDLE = 64


class Runner(Protocol):
    """What a worker needs of an endpoint."""

    async def run(self, request: NatsRequest) -> None:
        """Run one admitted request to its end; raises only when its task is cancelled."""

    def release(self) -> None:
        """Take back the slot of a request that has ended, or that nobody is to wait for."""


class _Worker:
    __slots__ = ("excused", "runner", "task", "wake")

    def __init__(self) -> None:
        self.runner: Runner | None = None
        self.excused = False
        self.wake: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None]


class Workers:
    """A pool in which one woken task empties the queue, and another takes over when it suspends.

    A burst of requests to handlers that never wait costs a single wake-up; handlers that do wait
    run side by side. How many run at once is each endpoint's own limit.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[Runner, NatsRequest]] = deque()
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._waking = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        # Handlers see the context variables of where the service was started, and never each other's.
        self._context = contextvars.copy_context()

    def submit(self, runner: Runner, request: NatsRequest) -> None:
        """Queue a request for the next free task."""
        self._queue.append((runner, request))
        if not self._waking:
            self._wake()

    def current(self) -> Runner | None:
        """Return whose request the running task is working on, if it is one of these tasks."""
        worker = self._current()
        return None if worker is None else worker.runner

    def excuse(self) -> None:
        """Let nobody wait for the request that the running task works on: it waits for them.

        Its slot is free from now on, and it ends by itself.
        """
        worker = self._current()
        if worker is not None and worker.runner is not None and not worker.excused:
            worker.excused = True
            worker.runner.release()

    def cancel(self, runner: Runner) -> None:
        """Cancel the tasks that work for one endpoint, but no excused one."""
        for worker in self._workers:
            if worker.runner is runner and not worker.excused:
                worker.task.cancel()

    async def close(self) -> None:
        """End every task, an excused one after its request; queued requests are dropped."""
        self._closed = True
        self._queue.clear()
        tasks = [worker.task for worker in self._workers if not worker.excused]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _current(self) -> _Worker | None:
        task = asyncio.current_task()
        return next((worker for worker in self._workers if worker.task is task), None)

    def _wake(self) -> None:
        self._waking = True
        if self._idle:
            wake = self._idle.pop().wake
            if wake is not None and not wake.done():
                wake.set_result(None)
        else:
            worker = _Worker()
            worker.task = self._loop.create_task(self._work(worker), context=self._context.copy())
            self._workers.add(worker)
        # Runs after the woken task's first step: if that suspended, the rest needs another task.
        self._loop.call_soon(self._check)

    def _check(self) -> None:
        if self._queue:
            self._wake()
        else:
            self._waking = False

    async def _work(self, worker: _Worker) -> None:
        queue = self._queue
        try:
            while True:
                while queue:
                    runner, request = queue.popleft()
                    worker.runner = runner
                    try:
                        await runner.run(request)
                    finally:
                        worker.runner = None
                        if not worker.excused:
                            runner.release()
                        worker.excused = False
                    if contextvars.copy_context() != self._context:
                        return
                if self._closed or len(self._idle) >= MAX_IDLE:
                    return
                worker.wake = self._loop.create_future()
                self._idle.append(worker)
                await worker.wake
        finally:
            self._workers.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            if queue and not self._waking:
                self._wake()
