"""Tasks that are parked until a request suspends; shared by the endpoints of one service.

A request begins at once, in the event loop's own call and without a task switch, but under the
identity and in the context of a real task that is parked on a future. Most requests end there. One
that suspends is handed to that task, which goes on with it as if it had begun it: ``current_task()``,
timeouts, cancellation and context variables are right from the first instruction on.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.tasks import _enter_task, _leave_task  # documented for whoever runs tasks of his own
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any, NamedTuple, Protocol

from micro._handlers.nats_request import NatsRequest
from micro._protocol import deadline as _deadline
from micro._wire.stepping import Steps, go_on

MAX_IDLE = 64


class Runner(Protocol):
    """What works on the requests of one endpoint; it is called as if in the task of the request."""

    def run_now(self, parked: Parked, requests: Iterator[NatsRequest]) -> Suspended | None:
        """Run requests until one suspends, which is returned, or leaves something behind."""

    def end(self, request: NatsRequest, returned: object, started: int) -> Steps | None:
        """Answer a suspended request whose handler has returned; what is returned is awaited."""

    def fail(self, request: NatsRequest, error: BaseException, started: int) -> Steps | None:
        """Answer a suspended request whose handler has raised; what is returned is awaited."""

    def until(self, request: NatsRequest) -> float | None:
        """Return when a request that suspends is to be cancelled, on the event loop's clock."""

    def release(self) -> None:
        """Take back the slot of a request that has ended, or that nobody is to wait for."""


class Suspended(NamedTuple):
    """A request that waits for a future.

    Attributes:
        runner: Works on it.
        request: The request.
        started: When it began, of ``perf_counter_ns``.
        steps: The handling of it.
        waits_for: What its last step yielded.
    """

    runner: Runner
    request: NatsRequest
    started: int
    steps: Steps
    waits_for: Any


class Parked:
    """A task that is parked, or works on the request that has suspended in it.

    Attributes:
        task: The task.
        context: Its context, in which requests are run.
        pristine: What is in that context before a request.
    """

    __slots__ = ("context", "excused", "job", "pristine", "runner", "task", "timer", "wake")

    def __init__(self, pristine: contextvars.Context, wake: asyncio.Future[None]) -> None:
        self.pristine = pristine
        self.context = pristine.copy()
        self.wake = wake
        self.excused = False
        self.runner: Runner | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.job: Suspended | None = None
        self.task: asyncio.Task[None]

    def inherit(self, deadline: float | None) -> contextvars.Context:
        """Have requests made in this task end by a deadline; returns what is in its context now."""
        _deadline.current.set(deadline)
        return self.context.copy()

    def is_clean(self) -> bool:
        """Return whether no request has left anything behind."""
        return self.context == self.pristine and not self.task.cancelling()


class ParkedTasks:
    """A pool whose tasks only ever see requests that suspend.

    Attributes:
        clock: That of the event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock = self._loop.time
        # Handlers see the context variables of where the service was started, and never each other's.
        self._pristine = contextvars.copy_context()
        self._pristine.run(_deadline.current.set, None)  # as after a request
        self._idle: list[Parked] = []
        self._all: set[Parked] = set()
        self._queue: list[tuple[Runner, list[NatsRequest]]] = []
        self._others: set[asyncio.Task[object]] = set()  # else nobody would hold them
        self._closed = False

    def run(self, runner: Runner, requests: Iterator[NatsRequest]) -> bool:
        """Run requests, perhaps not all of them; must not be called inside a task.

        The iterator keeps those that come after one that suspends or leaves something behind.

        Returns:
            Whether one has suspended that will release its slot.
        """
        parked = self._idle[-1] if self._idle else self._park()
        parked.runner = runner
        _enter_task(self._loop, parked.task)
        try:
            suspended = parked.context.run(runner.run_now, parked, requests)
        finally:
            _leave_task(self._loop, parked.task)
        if suspended is not None:
            self._idle.pop()
            self._go_on_later(parked, suspended)
            return not parked.excused
        parked.excused = False
        if not parked.is_clean():
            self._idle.pop()
            parked.task.cancel()
        return False

    def _go_on_later(self, parked: Parked, job: Suspended) -> None:
        parked.job = job
        moment = job.runner.until(job.request)
        if moment is not None:
            parked.timer = self._loop.call_at(moment, _expire, job.request, parked.task)
        if not parked.wake.done():  # it is when the request cancelled its own task
            parked.wake.set_result(None)

    def submit(self, runner: Runner, request: NatsRequest) -> None:
        """Run a request soon; may be called from anywhere, the end of another one included."""
        if self._queue and self._queue[-1][0] is runner:
            self._queue[-1][1].append(request)
            return
        if not self._queue:
            self._loop.call_soon(self._run_submitted)
        self._queue.append((runner, [request]))

    def wait_for(self, sending: Steps, then: Callable[[], None]) -> None:
        """Send an answer that is nobody's to wait for, and tell when it has been sent."""

        def end(task: asyncio.Task[object]) -> None:
            self._others.discard(task)
            then()

        task = self._loop.create_task(sending)
        self._others.add(task)
        task.add_done_callback(end)

    def current(self) -> Runner | None:
        """Return whose request the running task is working on, if it is one of these tasks."""
        parked = self._current()
        return None if parked is None else parked.runner

    def excuse(self) -> None:
        """Let nobody wait for the request that the running task works on: it waits for them.

        Its slot is free from now on, and it ends by itself.
        """
        parked = self._current()
        if parked is not None and not parked.excused:
            parked.excused = True
            if parked.job is not None:
                parked.job.runner.release()

    def cancel(self, runner: Runner) -> None:
        """Cancel the tasks that work for one endpoint, but no excused one."""
        for parked in self._all:
            job = parked.job
            if job is not None and job.runner is runner and not parked.excused:
                parked.task.cancel()

    async def close(self) -> None:
        """End every task, an excused one after its request; requests that wait are dropped."""
        self._closed = True
        self._queue.clear()
        tasks = [parked.task for parked in self._all if not parked.excused]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _current(self) -> Parked | None:
        task = asyncio.current_task()
        return next((parked for parked in self._all if parked.task is task), None)

    def _run_submitted(self) -> None:
        queue, self._queue = self._queue, []  # those that are added meanwhile have their own turn
        for runner, requests in queue:
            rest = iter(requests)
            while left := length_hint(rest):
                goes_on = self.run(runner, rest)
                for _ in range(left - length_hint(rest) - goes_on):
                    runner.release()

    def _park(self) -> Parked:
        parked = Parked(self._pristine, self._loop.create_future())
        self._all.add(parked)
        self._idle.append(parked)
        self._begin(parked)
        return parked

    def _begin(self, parked: Parked) -> None:
        parked.task = self._loop.create_task(self._serve(parked), context=parked.context)
        parked.task.add_done_callback(lambda _: self._ended(parked))

    async def _serve(self, parked: Parked) -> None:
        while True:
            cancelled = await _interrupted(parked.wake)
            job = parked.job
            if job is None:
                return  # retired
            try:
                await _finish(job, cancelled)
            finally:
                if job.request.deadline is not None:
                    parked.inherit(None)
                parked.job = None
                if parked.timer is not None:
                    parked.timer.cancel()
                    parked.timer = None
                if not parked.excused:
                    job.runner.release()
                parked.excused = False
            if self._closed or len(self._idle) >= MAX_IDLE or not parked.is_clean():
                return
            parked.wake = self._loop.create_future()
            self._idle.append(parked)

    def _ended(self, parked: Parked) -> None:
        if parked.job is not None:
            # Its first request cancelled it before it could begin: another task goes on with that.
            parked.wake = self._loop.create_future()
            parked.wake.cancel()
            self._begin(parked)
            return
        self._all.discard(parked)
        if parked in self._idle:
            self._idle.remove(parked)


def _expire(request: NatsRequest, task: asyncio.Task[None]) -> None:
    request.expired = True
    task.cancel()


async def _interrupted(wake: asyncio.Future[None]) -> asyncio.CancelledError | None:
    try:
        await wake
    except asyncio.CancelledError as error:  # raised again inside the request, if there is one
        return error
    return None


async def _finish(job: Suspended, cancelled: BaseException | None) -> None:
    """Go on with a request to its end, and answer it."""
    try:
        returned = await go_on(job.steps, job.waits_for, cancelled)
    except GeneratorExit:  # the event loop is gone, nobody can be answered
        raise
    except BaseException as error:  # noqa: BLE001 - its caller gets an answer, whatever it was
        sending = job.runner.fail(job.request, error, job.started)
    else:
        sending = job.runner.end(job.request, returned, job.started)
    if sending is not None:
        await sending
