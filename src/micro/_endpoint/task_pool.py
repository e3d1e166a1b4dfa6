"""The pool of tasks that run the requests of one service.

A request begins at once, inside the event loop's own callback and without a task switch, but under
the identity and in the context of a real task that waits for a future. Most requests end there. A
request that suspends is handed to that task, which runs the rest as if it had begun it:
`current_task()`, timeouts, cancellation and context variables are right from the first instruction.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.tasks import (  # documented for programs with tasks of their own
    _enter_task,
    _leave_task,
)
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from micro._endpoint import forking
from micro._handlers.nats_request import NatsRequest
from micro._protocol import deadline as _deadline
from micro._wire.stepping import Steps

MAX_IDLE = 64

CLOSE = 0.2
"""Seconds that tasks have to end after their cancellation; a handler may ignore it."""


class Job(Protocol):
    """Work that a pool runs on requests: start, perhaps resume, then close.

    The pool calls `close` once for each request that `start` returned as suspended, and the owner
    of the job may then run the next request. `start` and `resume` run as if in the request's task.
    """

    def start(self, task: PooledTask, requests: Iterable[NatsRequest]) -> Suspended | None:
        """Run requests until one suspends or leaves something behind in the task.

        Returns:
            The request that has suspended, None if there is none.
        """

    async def resume(self, suspended: Suspended, cancelled: BaseException | None) -> None:
        """Run a suspended request to its end.

        Args:
            suspended: The request.
            cancelled: Raised in the request first, if its task was cancelled meanwhile.
        """

    def until(self, request: NatsRequest) -> float | None:
        """Return when a suspended request is to be cancelled, on the event loop's clock."""

    def close(self) -> None:
        """Take back the place of a request that had suspended."""


class Suspended(NamedTuple):
    """A request that waits for a future.

    Attributes:
        job: The job that runs it.
        request: The request.
        started: When it began, in nanoseconds of `perf_counter_ns`.
        steps: The coroutine that waits.
        waits_for: The future that the coroutine yielded.
        answered: Whether only the sending of the answer is left.
    """

    job: Job
    request: NatsRequest
    started: int
    steps: Steps
    waits_for: Any
    answered: bool = False


class PooledTask:
    """A task that is idle, or runs the request that has suspended in it.

    Attributes:
        task: The task.
        context: Its context, in which requests run.
        expected: A copy of the context as a request should leave it.
        bound: The request whose deadline holds in the context, if anything reads it there.
        job: The job that it ran last.
        suspended: The request that has suspended in it.
        excused: Whether no drain waits for that request.
    """

    __slots__ = (
        "_pristine",
        "bound",
        "context",
        "excused",
        "expected",
        "job",
        "suspended",
        "task",
        "timer",
        "wake",
    )

    def __init__(self, pristine: contextvars.Context, wake: asyncio.Future[None]) -> None:
        self._pristine = pristine
        self.expected = pristine
        self.context = pristine.copy()
        self.wake = wake
        self.bound: NatsRequest | None = None
        self.excused = False
        self.job: Job | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.suspended: Suspended | None = None
        self.task: asyncio.Task[None]

    def bind(self, request: NatsRequest, arrival: float, now: float) -> None:
        """Have requests made in this task end by the deadline of a request, if it has one.

        Call this and `unbind` in the task's context. The former request has been answered: tasks
        that its handler has started go on without its deadline.

        Args:
            request: The request.
            arrival: The time of its arrival.
            now: The present time.

        Raises:
            asyncio.CancelledError: The deadline has passed.
        """
        former, patience = self.bound, request.patience
        if former is not None:
            former.deadline = None
        if patience is None:
            self.unbind()
            return
        deadline = request.deadline
        if deadline is None:
            deadline = request.deadline = arrival + patience
        if _deadline.readers:
            self.bound = request
            _deadline.current.set(request)
            self.expected = self.context.copy()
        if deadline <= now:
            request.expired = True
            raise asyncio.CancelledError

    def unbind(self) -> None:
        """End the deadline of the request that was bound."""
        if self.bound is not None:
            self.bound.deadline = None
            self.bound = None
            _deadline.current.set(None)
            self.expected = self._pristine

    def is_clean(self) -> bool:
        """Return whether no request has left anything behind."""
        return self.context == self.expected and not self.task.cancelling()


class TaskPool:
    """A pool whose tasks only wake up for requests that suspend.

    Attributes:
        clock: The clock of the event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock = self._loop.time
        # Handlers see the context variables of the start of the service, and never each other's.
        self._pristine = contextvars.copy_context()
        self._pristine.run(_deadline.current.set, None)  # as after a request
        self._idle: list[PooledTask] = []
        self._all: set[PooledTask] = set()
        self._sending: set[asyncio.Task[object]] = (
            set()
        )  # the event loop keeps only weak references
        self._closed = False

    def run(self, job: Job, requests: Iterable[NatsRequest]) -> bool:
        """Run requests, perhaps not all of them; must not be called inside a task.

        The iterator keeps the requests behind one that suspends or leaves something behind.

        Returns:
            Whether a request has suspended; then `Job.close` follows.
        """
        task = self._idle[-1] if self._idle else self._add()
        task.job = job
        _enter_task(self._loop, task.task)
        try:
            suspended = task.context.run(job.start, task, requests)
            if suspended is None and task.bound is not None:
                task.context.run(task.unbind)
        finally:
            _leave_task(self._loop, task.task)
        if forking.children:
            forking.end_child()
        if suspended is not None:
            self._idle.pop()
            self._resume_later(task, suspended)
            return not task.excused
        task.excused = False
        if not task.is_clean():
            self._idle.pop()
            task.task.cancel()
        return False

    def _resume_later(self, task: PooledTask, suspended: Suspended) -> None:
        task.suspended = suspended
        moment = suspended.job.until(suspended.request)
        if moment is not None:
            task.timer = self._loop.call_at(moment, _expire, suspended.request, task.task)
        if not task.wake.done():  # it is when the request cancelled its own task
            task.wake.set_result(None)

    def finish(self, sending: Steps, then: Callable[[], None]) -> None:
        """Send the rest of an answer in a task of its own, then call a function."""

        def end(task: asyncio.Task[object]) -> None:
            self._sending.discard(task)
            then()

        task = self._loop.create_task(sending)
        self._sending.add(task)
        task.add_done_callback(end)

    def current(self) -> Job | None:
        """Return the job of the running task, if it is one of this pool."""
        task = self._current()
        return None if task is None else task.job

    def excuse(self) -> None:
        """Exclude the calling request from every drain: it is the one that waits for it.

        Its place is free from now on.
        """
        task = self._current()
        if task is not None and not task.excused:
            task.excused = True
            if task.suspended is not None:
                task.suspended.job.close()

    def cancel(self, job: Job) -> None:
        """Cancel the suspended requests of a job, except an excused one."""
        for task in self._all:
            suspended = task.suspended
            if suspended is not None and suspended.job is job and not task.excused:
                task.task.cancel()

    def suspended(self, job: Job) -> list[NatsRequest]:
        """Return the suspended requests of a job that wait for answers, except an excused one."""
        return [
            task.suspended.request
            for task in self._all
            if task.suspended is not None and task.suspended.job is job
            if not task.suspended.answered and not task.excused
        ]

    async def close(self) -> None:
        """End every task, an excused one after its request."""
        self._closed = True
        tasks = [task.task for task in self._all if not task.excused]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE)

    def _current(self) -> PooledTask | None:
        running = asyncio.current_task()
        return next((task for task in self._all if task.task is running), None)

    def _add(self) -> PooledTask:
        task = PooledTask(self._pristine, self._loop.create_future())
        self._all.add(task)
        self._idle.append(task)
        self._begin(task)
        return task

    def _begin(self, task: PooledTask) -> None:
        task.task = self._loop.create_task(self._serve(task), context=task.context)
        task.task.add_done_callback(lambda _: self._ended(task))

    async def _serve(self, task: PooledTask) -> None:
        while True:
            cancelled = await _interrupted(task.wake)
            suspended = task.suspended
            if suspended is None:
                return  # retired
            try:
                await suspended.job.resume(suspended, cancelled)
            finally:
                task.unbind()
                task.suspended = None
                if task.timer is not None:
                    task.timer.cancel()
                    task.timer = None
                if not task.excused:
                    suspended.job.close()
                task.excused = False
            if self._closed or len(self._idle) >= MAX_IDLE or not task.is_clean():
                return
            task.wake = self._loop.create_future()
            self._idle.append(task)

    def _ended(self, task: PooledTask) -> None:
        if task.suspended is not None:
            # Its first request cancelled it before it began: another task resumes the request.
            task.wake = self._loop.create_future()
            task.wake.cancel()
            self._begin(task)
            return
        self._all.discard(task)
        if task in self._idle:
            self._idle.remove(task)


def _expire(request: NatsRequest, task: asyncio.Task[None]) -> None:
    request.expired = True
    task.cancel()


async def _interrupted(wake: asyncio.Future[None]) -> asyncio.CancelledError | None:
    try:
        await wake
    except asyncio.CancelledError as error:  # raised again inside the request, if there is one
        return error
    return None
