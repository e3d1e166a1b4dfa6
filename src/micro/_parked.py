"""Tasks that are parked until a request suspends; shared by the endpoints of one service.

A request begins at once, in the event loop's own call and without a task switch, but under the
identity and in the context of a real task that is parked on a future. Most requests end there. One
that suspends is handed to that task, which goes on with it as if it had begun it: ``current_task()``,
timeouts, cancellation and context variables are right from the first instruction on.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from asyncio.tasks import _enter_task, _leave_task  # documented for whoever runs tasks of his own
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Protocol

from micro._request import NatsRequest

MAX_IDLE = 64

_ENDED: Any = object()

Steps = Generator[Any, None, None]


class Runner(Protocol):
    """What works on requests."""

    def run(self, request: NatsRequest) -> Coroutine[Any, Any, None]:
        """Run one request to its end; raises only when its task is cancelled."""

    def until(self, request: NatsRequest) -> float | None:
        """Return when a request that suspends is to be cancelled, on the event loop's clock."""

    def release(self) -> None:
        """Take back the slot of a request that has ended, or that nobody is to wait for."""


class _Parked:
    __slots__ = ("context", "excused", "job", "runner", "task", "timer", "wake")

    def __init__(self, context: contextvars.Context, wake: asyncio.Future[None]) -> None:
        self.context = context
        self.wake = wake
        self.excused = False
        self.runner: Runner | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.job: tuple[Steps, Any] | None = None  # a suspended request and what it waits for
        self.task: asyncio.Task[None]


class ParkedTasks:
    """A pool whose tasks only ever see requests that suspend."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Handlers see the context variables of where the service was started, and never each other's.
        self._pristine = contextvars.copy_context()
        self._idle: list[_Parked] = []
        self._all: set[_Parked] = set()
        self._queue: deque[tuple[Runner, NatsRequest]] = deque()
        self._refilling = False
        self._closed = False

    def start(self, runner: Runner, request: NatsRequest) -> None:
        """Run a request up to where it first suspends; must not be called inside a task."""
        idle = self._idle
        parked = idle[-1] if idle else self._park()
        task = parked.task
        parked.runner = runner
        steps: Steps = runner.run(request).__await__()
        _enter_task(self._loop, task)
        try:
            waits_for = parked.context.run(next, steps, _ENDED)
        except asyncio.CancelledError:  # it cancelled its own task; it has been answered
            waits_for = _ENDED
        finally:
            _leave_task(self._loop, task)
        if waits_for is not _ENDED:
            idle.pop()
            parked.job = (steps, waits_for)
            moment = runner.until(request)
            if moment is not None:
                parked.timer = self._loop.call_at(moment, _expire, request, task)
            if not parked.wake.done():  # it is when the request cancelled its own task
                parked.wake.set_result(None)
            return
        if parked.excused:
            parked.excused = False
        else:
            runner.release()
        if parked.context != self._pristine or task.cancelling():
            self._retire(parked)

    def call(self, function: Callable[[NatsRequest], None], request: NatsRequest) -> None:
        """Call a function that never waits, as if in a task; must not be called inside one."""
        idle = self._idle
        parked = idle[-1] if idle else self._park()
        _enter_task(self._loop, parked.task)
        try:
            parked.context.run(function, request)
        finally:
            _leave_task(self._loop, parked.task)
        if parked.context != self._pristine or parked.task.cancelling():
            self._retire(parked)

    def submit(self, runner: Runner, request: NatsRequest) -> None:
        """Run a request soon; may be called from anywhere, the end of another one included."""
        self._queue.append((runner, request))
        if not self._refilling:
            self._refilling = True
            self._loop.call_soon(self._refill)

    def current(self) -> Runner | None:
        """Return whose request the running task is working on, if it is one of these tasks."""
        parked = self._current()
        return None if parked is None else parked.runner

    def excuse(self) -> None:
        """Let nobody wait for the request that the running task works on: it waits for them.

        Its slot is free from now on, and it ends by itself.
        """
        parked = self._current()
        if parked is not None and parked.runner is not None and not parked.excused:
            parked.excused = True
            parked.runner.release()

    def cancel(self, runner: Runner) -> None:
        """Cancel the tasks that work for one endpoint, but no excused one."""
        for parked in self._all:
            if parked.job is not None and parked.runner is runner and not parked.excused:
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

    def _current(self) -> _Parked | None:
        task = asyncio.current_task()
        return next((parked for parked in self._all if parked.task is task), None)

    def _retire(self, parked: _Parked) -> None:
        self._idle.remove(parked)
        parked.task.cancel()

    def _refill(self) -> None:
        self._refilling = False
        for _ in range(len(self._queue)):  # those that are added meanwhile have their own turn
            self.start(*self._queue.popleft())

    def _park(self) -> _Parked:
        parked = _Parked(self._pristine.copy(), self._loop.create_future())
        self._all.add(parked)
        self._idle.append(parked)
        self._begin(parked)
        return parked

    def _begin(self, parked: _Parked) -> None:
        parked.task = self._loop.create_task(self._serve(parked), context=parked.context)
        parked.task.add_done_callback(lambda _: self._ended(parked))

    async def _serve(self, parked: _Parked) -> None:
        while True:
            cancelled = await _interrupted(parked.wake)
            if parked.job is None:
                return  # retired
            try:
                await _go_on(*parked.job, cancelled)
            finally:
                parked.job = None
                if parked.timer is not None:
                    parked.timer.cancel()
                    parked.timer = None
                if not parked.excused and parked.runner is not None:
                    parked.runner.release()
                parked.excused = False
            dirty = parked.context != self._pristine or parked.task.cancelling()
            if dirty or self._closed or len(self._idle) >= MAX_IDLE:
                return
            parked.wake = self._loop.create_future()
            self._idle.append(parked)

    def _ended(self, parked: _Parked) -> None:
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


@types.coroutine
def _go_on(
    steps: Steps, waits_for: Any, cancelled: BaseException | None
) -> Generator[Any, None, None]:
    """Go on with a request that waits for a future, as its task would have."""
    thrown = cancelled
    if thrown is not None and waits_for is not None and waits_for.cancel():
        thrown = None  # cancelling a task cancels what it waits for, which then raises
    while True:
        if thrown is None:
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - raised again in the request
                thrown = error
        if thrown is None:
            waits_for = next(steps, _ENDED)
            if waits_for is _ENDED:
                return
        else:
            # Out here, where sys.exc_info() does not show it to the request.
            throw, thrown = partial(steps.throw, thrown), None
            try:
                waits_for = throw()
            except StopIteration:
                return
