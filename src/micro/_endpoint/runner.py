"""Running the requests of one endpoint: the handler, the answer, the counters.

`Runner.start` is written for speed: it runs, answers and counts the requests of a batch one after
the other without a task switch. Everything unusual is in the other methods.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter_ns

from micro._endpoint.outcomes import Outcomes
from micro._endpoint.task_pool import PooledTask, Suspended
from micro._handlers.middleware import Work
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Answer
from micro._handlers.typed import refuse_to_wait
from micro._wire.congestion import Congestion
from micro._wire.paths import Reply
from micro._wire.stepping import Steps, go_on

ANSWERED = 128
"""Reply subjects that are kept, to know the endpoint of an answer that the server refuses."""

_ENDED = object()
"""Stands for the future that a finished handler does not wait for."""


class Runner:
    """Runs requests and answers each of them once; the `Job` of an endpoint in its pool.

    Args:
        work: The handler with its middlewares.
        outcomes: Turns results of handlers into answers.
        reply: Sends an answer.
        timeout: Seconds that a handler may take.
        clock: The clock of the event loop.
        close: Called when a request that suspended has ended.
    """

    def __init__(
        self,
        work: Work,
        outcomes: Outcomes,
        reply: Reply,
        *,
        timeout: float | None,
        clock: Callable[[], float],
        close: Callable[[], None],
    ) -> None:
        self.close = close
        self._work = work
        self._outcomes = outcomes
        self._timeout = timeout
        self._clock = clock
        self.answer_through(reply, Congestion())
        self._answered: deque[bytes] = deque(maxlen=ANSWERED)

    def answer_through(self, reply: Reply, congestion: Congestion) -> None:
        """Send answers in another way from now on."""
        self._reply = reply
        self._congestion = congestion

    def has_answered(self, subject: str) -> bool:
        """Return whether one of the latest answers went to a subject, given in lower case."""
        return any(reply.decode(errors="replace").lower() == subject for reply in self._answered)

    def start(self, task: PooledTask, requests: Iterable[NatsRequest]) -> Suspended | None:
        """Run requests until one suspends, its task is dirty, or the path congested; see `Job`."""
        call, direct, times = self._work.call, self._work.direct, []
        context, cancelling = task.context, task.task.cancelling
        congestion = self._congestion
        arrival, began = self._clock(), perf_counter_ns()
        started = began
        try:
            for request in requests:
                try:
                    if request.patience is not None or task.bound is not None:
                        task.bind(request, arrival, arrival + (started - began) / 1e9)
                    if direct is None:
                        steps = call(request)
                        waits_for = next(steps.__await__(), _ENDED)  # cheaper than StopIteration
                        if waits_for is not _ENDED:
                            return Suspended(self, request, started, steps, waits_for)
                    elif (result := direct(request)) is not None:
                        refuse_to_wait(result)
                except BaseException as error:  # noqa: BLE001 - the caller gets an answer in any case
                    sending = self._fail(request, error, started)
                else:
                    sending = (
                        self._answer(request, data)
                        if (data := request.sent) is not None and not request.sent_headers
                        else self._end(request, started)
                    )
                ended = perf_counter_ns()
                times.append(ended - started)
                if sending is not None and (rest := self._begin_to_send(request, sending)):
                    return rest
                if context != task.expected or cancelling() or congestion.on:
                    return None
                started = ended
        finally:
            self._outcomes.counters.handled(times)
        return None

    async def resume(self, suspended: Suspended, cancelled: BaseException | None) -> None:
        """Run a suspended request to its end and answer it; see `Job`."""
        request, started = suspended.request, suspended.started
        try:
            await go_on(suspended.steps, suspended.waits_for, cancelled)
        except GeneratorExit:  # the event loop has ended, no answer can be sent
            raise
        except BaseException as error:  # noqa: BLE001 - the caller gets an answer in any case
            sending = self._fail(request, error, started)
        else:
            if suspended.answered:
                return
            sending = self._end(request, started)
        self._outcomes.counters.handled([perf_counter_ns() - started])
        if sending is not None:
            await sending

    def until(self, request: NatsRequest) -> float | None:
        """Return when a suspended request is to be cancelled, on the event loop's clock."""
        if self._timeout is None:
            return request.deadline
        limit = self._clock() + self._timeout
        return limit if request.deadline is None else min(limit, request.deadline)

    def refuse(self, request: NatsRequest, reason: str) -> Steps | None:
        """Answer 503 to a request without running it.

        Returns:
            None when the answer has been sent, else a coroutine that sends it.
        """
        return self._answer(request, *self._outcomes.refused(request, reason))

    def _begin_to_send(self, request: NatsRequest, sending: Steps) -> Suspended | None:
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return None
        return Suspended(self, request, 0, sending, waits_for, answered=True)

    def _end(self, request: NatsRequest, started: int) -> Steps | None:
        """Answer a request whose handler has returned; see `refuse`."""
        answer = self._outcomes.examined(request, started)
        return None if answer is None else self._answer(request, *answer)

    def _fail(self, request: NatsRequest, error: BaseException, started: int) -> Steps | None:
        """Answer a request whose handler has raised; see `refuse`."""
        answer = self._outcomes.failed(request, error, started)
        return None if answer is None else self._answer(request, *answer)

    def _answer(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None = None
    ) -> Steps | None:
        self._answered.append(request.raw_reply)
        try:
            sending = self._reply(request.raw_reply, data, headers)
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            return self._answer_instead(request, (data, headers), error)
        return None if sending is None else self._confirm(sending, request, (data, headers))

    def _answer_instead(
        self, request: NatsRequest, answer: Answer, error: Exception
    ) -> Steps | None:
        instead = self._outcomes.undeliverable(request, answer, error)
        return None if instead is None else self._answer(request, *instead)

    async def _confirm(
        self, sending: Awaitable[object], request: NatsRequest, answer: Answer
    ) -> None:
        try:
            await sending
        except asyncio.CancelledError:
            pass  # the answer is nats-py's by now; a second one must not follow
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            following = self._answer_instead(request, answer, error)
            if following is not None:
                await following
