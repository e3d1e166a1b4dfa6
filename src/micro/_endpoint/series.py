"""Requests that run one after the other without a task switch: the part that is written for speed.

Everything unusual is in the other methods of the runner.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter_ns
from typing import Any, Protocol

from micro._endpoint.counters import Tally
from micro._endpoint.task_pool import PooledTask, Suspended
from micro._handlers.middleware import Work
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Answer, Response
from micro._handlers.typed import refuse_to_wait
from micro._native import accelerated
from micro._protocol import deadline
from micro._wire.congestion import Congestion
from micro._wire.paths import Reply
from micro._wire.stepping import Steps

_ENDED = object()
"""Stands for the future that a finished handler does not wait for."""


class Endings(Protocol):
    """The end of requests. The methods send an answer, or return a coroutine that sends it."""

    clock: Callable[[], float]
    work: Work
    answered: deque[bytes]
    tally: Tally

    def answer(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None = None
    ) -> Steps | None:
        """Answer a request."""

    def confirm(
        self, sending: Awaitable[object], request: NatsRequest, answer: Answer
    ) -> Steps | None:
        """Wait until an answer has been sent."""

    def answer_instead(
        self, request: NatsRequest, answer: Answer, error: Exception
    ) -> Steps | None:
        """Answer a request whose answer cannot be sent."""

    def end(self, request: NatsRequest, started: int) -> Steps | None:
        """Answer a request whose handler has returned."""

    def fail(self, request: NatsRequest, error: BaseException, started: int) -> Steps | None:
        """Answer a request whose handler has raised."""

    def begin_to_send(self, request: NatsRequest, sending: Steps) -> Suspended | None:
        """Take the first step of sending an answer."""

    def suspended(
        self, request: NatsRequest, started: int, steps: Steps, waits_for: Any
    ) -> Suspended:
        """Return a request that waits."""


class Turn:
    """What a run of requests leaves behind.

    Attributes:
        began: When the first request began, in nanoseconds of `perf_counter_ns`.
        request: The request that began last.
        rest: The request whose answer waits to be sent, if there is one.
    """

    began: int
    request: NatsRequest
    rest: Suspended | None = None


@accelerated
class Series:
    """Runs, answers and counts the requests of a batch, one after the other.

    Args:
        endings: Ends requests.
        reply: Sends an answer.
        congestion: The congestion of the path that `reply` takes.
    """

    __slots__ = ("_congestion", "_endings", "_reply")

    def __init__(self, endings: Endings, reply: Reply, congestion: Congestion) -> None:
        self._endings = endings
        self._reply = reply
        self._congestion = congestion

    def start(self, task: PooledTask, requests: Iterable[NatsRequest]) -> Suspended | None:
        """Run requests until one suspends, its task is dirty, or the path congested; see `Job`."""
        times: list[int] = []
        answered: list[bytes] = []  # one entry in the deque for each would cost more
        turn = Turn()
        steps = self._run(task, requests, turn, times, answered)
        endings = self._endings
        try:
            waits_for = next(steps.__await__(), _ENDED)  # cheaper than StopIteration
        finally:
            endings.tally.handled(times)
            endings.answered.extend(answered)
        if waits_for is _ENDED:
            return turn.rest
        started = turn.began + sum(times)
        times.clear()  # else the request that waits would keep them
        answered.clear()
        return endings.suspended(turn.request, started, steps, waits_for)

    async def _run(  # noqa: C901 - written for speed
        self,
        task: PooledTask,
        requests: Iterable[NatsRequest],
        turn: Turn,
        times: list[int],
        answered: list[bytes],
    ) -> None:
        """Run requests; once one suspends, only this one to the end of its handler.

        Awaiting a handler here costs less than stepping it from outside.
        """
        endings, reply, congestion = self._endings, self._reply, self._congestion
        work = endings.work
        call, direct, outer = work.call, work.direct, work.outer
        readers, context, cancelling = deadline.readers, task.context, task.task.cancelling
        expected, bound = task.expected, task.bound is not None
        arrival, began = endings.clock(), perf_counter_ns()
        turn.began = started = began
        for request in requests:
            turn.request = request
            try:
                patience = request.patience
                if patience is None:
                    if bound:
                        task.unbind()
                        expected, bound = task.expected, False
                elif readers or request.deadline is not None:
                    bound = True
                    try:
                        task.bind(request, arrival, arrival + (started - began) / 1e9)
                    finally:
                        expected = task.expected
                else:
                    request.deadline = arrival + patience
                    if patience * 1e9 <= started - began:
                        request.expired = True
                        raise asyncio.CancelledError
                if direct is not None:
                    if (result := direct(request)) is not None:
                        refuse_to_wait(result)
                elif outer is None:
                    await call(request)
                else:
                    response = await outer(request)
                    if not isinstance(response, Response):
                        raise TypeError(f"a middleware returned {response!r}: expected a Response")
                    request.sent, request.sent_headers = response.answer()
                if task.suspended is not None:
                    return
            except BaseException as error:
                if task.suspended is not None:
                    raise
                sending = endings.fail(request, error, started)
            else:
                if (data := request.sent) is None or request.sent_headers:
                    sending = endings.end(request, started)
                else:  # most requests
                    answered.append(subject := request.raw_reply)
                    try:
                        sent = reply(subject, data, None)
                    except Exception as error:  # noqa: BLE001 - a handler may have answered anything
                        sending = endings.answer_instead(request, (data, None), error)
                    else:
                        sending = (
                            None if sent is None else endings.confirm(sent, request, (data, None))
                        )
            ended = perf_counter_ns()
            times.append(ended - started)
            if sending is not None and (rest := endings.begin_to_send(request, sending)):
                turn.rest = rest
                return
            if context != expected or cancelling() or congestion.on:
                return
            started = ended
