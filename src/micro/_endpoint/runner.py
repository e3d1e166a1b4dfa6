"""Running the requests of one endpoint: the handler, the answer, the counters."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter_ns
from typing import Any, cast

from micro._endpoint.counters import Tally
from micro._endpoint.outcomes import Outcomes
from micro._endpoint.series import Series
from micro._endpoint.task_pool import Suspended
from micro._handlers.middleware import Work, outermost
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Answer, Response
from micro._wire.congestion import Congestion
from micro._wire.paths import Reply
from micro._wire.stepping import Steps, go_on

ANSWERED = 128
"""Reply subjects that are kept, to know the endpoint of an answer that the server refuses."""


class Runner:
    """Runs requests and answers each of them once; the `Job` of an endpoint in its pool.

    Args:
        work: The handler with its middlewares.
        outcomes: Turns results of handlers into answers.
        reply: Sends an answer.
        timeout: Seconds that a handler may take.
        clock: The clock of the event loop.
        close: Called when a request that suspended has ended.

    Attributes:
        work: The handler with its middlewares.
        clock: The clock of the event loop.
        tally: The part of the counters that each request changes.
        answered: The reply subjects of the latest answers.
        start: Runs requests until one suspends or its task is dirty; see `Job`.
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
        self.work = work
        self.tally: Tally = outcomes.counters
        self.clock = clock
        self.answered: deque[bytes] = deque(maxlen=ANSWERED)
        self._outcomes = outcomes
        self._timeout = timeout
        self.answer_through(reply, Congestion())

    def answer_through(self, reply: Reply, congestion: Congestion) -> None:
        """Send answers in another way from now on."""
        self._reply = reply
        self.start = Series(self, reply, congestion).start

    def has_answered(self, subject: str) -> bool:
        """Return whether one of the latest answers went to a subject, given in lower case."""
        return any(reply.decode(errors="replace").lower() == subject for reply in self.answered)

    def suspended(
        self, request: NatsRequest, started: int, steps: Steps, waits_for: Any
    ) -> Suspended:
        """Return a request that waits for a future."""
        return Suspended(self, request, started, steps, waits_for)

    async def resume(self, suspended: Suspended, cancelled: BaseException | None) -> None:
        """Run a suspended request to its end and answer it; see `Job`."""
        request, started = suspended.request, suspended.started
        try:
            await go_on(suspended.steps, suspended.waits_for, cancelled)
        except GeneratorExit:  # the event loop has ended, no answer can be sent
            raise
        except BaseException as error:  # noqa: BLE001 - the caller gets an answer in any case
            sending = self.fail(request, error, started)
        else:
            if suspended.answered:
                return
            sending = self.end(request, started)
        self._outcomes.counters.handled([perf_counter_ns() - started])
        if sending is not None:
            await sending

    def until(self, request: NatsRequest) -> float | None:
        """Return when a suspended request is to be cancelled, on the event loop's clock."""
        if self._timeout is None:
            return request.deadline
        limit = self.clock() + self._timeout
        return limit if request.deadline is None else min(limit, request.deadline)

    def refuse(self, request: NatsRequest, reason: str) -> Steps | None:
        """Answer 503 to a request without running it.

        Returns:
            None when the answer has been sent, else a coroutine that sends it.
        """
        return self.answer(request, *self._outcomes.refused(request, reason))

    def begin_to_send(self, request: NatsRequest, sending: Steps) -> Suspended | None:
        """Take the first step of sending an answer; return the request if it then waits."""
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return None
        return Suspended(self, request, 0, sending, waits_for, answered=True)

    def end(self, request: NatsRequest, started: int) -> Steps | None:
        """Answer a request whose handler has returned; see `refuse`."""
        answer = self._outcomes.examined(request, started)
        return None if answer is None else self.answer(request, *answer)

    def fail(self, request: NatsRequest, error: BaseException, started: int) -> Steps | None:
        """Answer a request whose handler has raised; see `refuse`."""
        answer = self._outcomes.failed(request, error, started)
        return None if answer is None else self.answer(request, *answer)

    def answer(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None = None
    ) -> Steps | None:
        """Answer a request; see `refuse`."""
        self.answered.append(request.raw_reply)
        try:
            sending = self._reply(request.raw_reply, data, headers)
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            return self.answer_instead(request, (data, headers), error)
        return None if sending is None else self.confirm(sending, request, (data, headers))

    def answer_instead(
        self, request: NatsRequest, answer: Answer, error: Exception
    ) -> Steps | None:
        """Answer a request whose answer cannot be sent; see `refuse`."""
        instead = self._outcomes.undeliverable(request, answer, error)
        return None if instead is None else self.answer(request, *instead)

    async def confirm(
        self, sending: Awaitable[object], request: NatsRequest, answer: Answer
    ) -> None:
        """Wait until an answer has been sent; send another one if it cannot be."""
        try:
            await sending
        except asyncio.CancelledError:
            pass  # the answer is nats-py's by now; a second one must not follow
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            following = self.answer_instead(request, answer, error)
            if following is not None:
                await following


def concluded(request: NatsRequest, steps: Steps, waits_for: Any) -> Steps:
    """Return the rest of the outermost middleware, whose last step has yielded a future."""
    rest = cast(Awaitable[Response], go_on(steps, waits_for))
    return outermost(lambda _: rest)(request)
