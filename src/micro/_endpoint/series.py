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
from micro._handlers.request import Answer
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

    def start(  # noqa: C901 - written for speed
        self, task: PooledTask, requests: Iterable[NatsRequest]
    ) -> Suspended | None:
        """Run requests until one suspends, its task is dirty, or the path congested; see `Job`."""
        endings, reply, congestion = self._endings, self._reply, self._congestion
        call, direct = endings.work.call, endings.work.direct
        readers, times = deadline.readers, []
        answered: list[bytes] = []  # one entry in the deque for each would cost more
        context, cancelling = task.context, task.task.cancelling
        expected, bound = task.expected, task.bound is not None
        arrival, began = endings.clock(), perf_counter_ns()
        started = began
        try:
            for request in requests:
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
                    if direct is None:
                        steps = call(request)
                        waits_for = next(steps.__await__(), _ENDED)  # cheaper than StopIteration
                        if waits_for is not _ENDED:
                            return endings.suspended(request, started, steps, waits_for)
                    elif (result := direct(request)) is not None:
                        refuse_to_wait(result)
                except BaseException as error:  # noqa: BLE001 - the caller gets an answer in any case
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
                                None
                                if sent is None
                                else endings.confirm(sent, request, (data, None))
                            )
                ended = perf_counter_ns()
                times.append(ended - started)
                if sending is not None and (rest := endings.begin_to_send(request, sending)):
                    return rest
                if context != expected or cancelling() or congestion.on:
                    return None
                started = ended
        finally:
            endings.tally.handled(times)
            endings.answered.extend(answered)
        return None
