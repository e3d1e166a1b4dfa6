"""Running the requests of one endpoint: the handler, the answer, the count.

`Runner.run_now` is the one function of this package that is written for speed before anything else:
whatever a request needs that begins, ends and is answered at once is done in it, for as many of them as
came together. Everything that is not usual it leaves to the other methods.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter_ns

from micro._endpoint.outcomes import Outcomes
from micro._endpoint.task_pool import Parked, Suspended
from micro._handlers.middleware import Work
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import DONE, Answer, Response
from micro._handlers.typed import refuse_to_wait
from micro._wire.paths import DOLLAR, Path
from micro._wire.stepping import Steps

_ANSWERED = object()
"""What is returned for a request that nothing is to be done for any more."""


class Runner:
    """Runs requests, and answers each of them once.

    Args:
        work: The handler with its middlewares.
        outcomes: What requests come to.
        path: The way that answers leave by.
        timeout: Seconds that a handler may take.
        clock: That of the event loop.
        release: Told when a request that has suspended is done with.
    """

    def __init__(
        self,
        work: Work,
        outcomes: Outcomes,
        path: Path,
        *,
        timeout: float | None,
        clock: Callable[[], float],
        release: Callable[[], None],
    ) -> None:
        self.release = release
        self._work = work
        self._outcomes = outcomes
        self._timeout = timeout
        self._clock = clock
        self.answer_through(path)

    def answer_through(self, path: Path) -> None:
        """Send answers by another path from now on."""
        self._send = path.send
        self._transport = path.transport

    def run_now(  # noqa: C901 - see above
        self, parked: Parked, requests: Iterator[NatsRequest]
    ) -> Suspended | None:
        """Run requests until one suspends or leaves something behind in its task.

        Called in the context and under the identity of the parked task.

        Returns:
            The one that has suspended.
        """
        work, transport = self._work, self._transport
        call, direct, wrapped = work.call, work.direct, work.wrapped
        context, pristine, task = parked.context, parked.pristine, parked.task
        counters = self._outcomes.counters
        recent = counters.recent
        frames, room = (transport.frames, transport.room) if transport is not None else ([], -1)
        count = spent = payload_bytes = 0
        began, now = perf_counter_ns(), self._clock()
        inherited: float | None = None  # the deadline that requests of handlers inherit
        ends = math.inf  # the same on the clock of `began`
        try:
            for request in requests:
                data = headers = sending = None
                started = perf_counter_ns()
                try:
                    patience = request.patience
                    if patience is not None or inherited is not None:
                        deadline = request.deadline
                        if deadline is None and patience is not None:
                            deadline = request.deadline = now + patience
                        if deadline != inherited:
                            inherited = deadline
                            pristine = parked.inherit(deadline)
                            ends = began + (math.inf if deadline is None else deadline - now) * 1e9
                        if started >= ends:
                            request.expired = True
                            raise asyncio.CancelledError
                    if direct is None:
                        steps = call(request)
                        waits_for = steps.send(None)
                        inherited = None  # its task goes on, with its own
                        return Suspended(self, request, started, steps, waits_for)
                    returned = direct(request)
                    if returned is not None and returned is not DONE:
                        refuse_to_wait(returned)
                except StopIteration as ended:
                    returned = ended.value
                except BaseException as error:  # noqa: BLE001 - its caller gets an answer, whatever it was
                    returned = _ANSWERED
                    sending = self.fail(request, error, started)
                if returned.__class__ is Response:
                    data, headers = returned.answer()
                elif not wrapped and returned is not _ANSWERED:
                    data, headers = request.sent, request.sent_headers
                if type(data) is bytes and not headers:
                    size = len(data)
                    if size <= room and (reply := request.raw_reply) and reply[0] != DOLLAR:
                        frames.append(b"PUB %b %d\r\n%b\r\n" % (reply, size, data))
                        payload_bytes += size
                    else:
                        sending = self._answer(request, data, None)
                    elapsed = perf_counter_ns() - started
                    recent.append(elapsed)
                    spent += elapsed
                    count += 1
                elif returned is not _ANSWERED:
                    sending = self.end(request, returned, started)
                if sending is not None:
                    suspended = self._begin_to_send(request, sending, started)
                    if suspended is not None:
                        inherited = None
                        return suspended
                if context != pristine or task.cancelling():
                    break
        finally:
            if inherited is not None:
                parked.inherit(None)
            counters.num_requests += count
            counters.processing_time += spent
            if transport is not None:
                transport.payload_bytes += payload_bytes
        return None

    def _begin_to_send(
        self, request: NatsRequest, sending: Steps, started: int
    ) -> Suspended | None:
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return None
        return Suspended(self, request, started, sending, waits_for)

    def end(self, request: NatsRequest, returned: object, started: int) -> Steps | None:
        """Count and answer a request whose handler has returned, if that is still to be done.

        Returns:
            What is to be awaited before the answer has been sent; None when it has been.
        """
        if returned is _ANSWERED:
            return None
        answer: Answer | None = None
        if isinstance(returned, Response):
            answer = returned.answer()
        elif request.sent is not None and not self._work.wrapped:
            answer = request.sent, request.sent_headers
        if answer is None or answer[1]:
            answer = self._outcomes.examined(request, returned, answer, started)
        self._outcomes.counters.handled(perf_counter_ns() - started)
        return None if answer is None else self._answer(request, *answer)

    def fail(self, request: NatsRequest, error: BaseException, started: int) -> Steps | None:
        """Count and answer a request whose handler has raised; see `end`."""
        answer = self._outcomes.failed(request, error, started)
        self._outcomes.counters.handled(perf_counter_ns() - started)
        return None if answer is None else self._answer(request, *answer)

    def until(self, request: NatsRequest) -> float | None:
        """Return when a request that suspends is to be cancelled, on the event loop's clock."""
        if self._timeout is None:
            return request.deadline
        limit = self._clock() + self._timeout
        return limit if request.deadline is None else min(limit, request.deadline)

    def refuse(self, request: NatsRequest, reason: str) -> Steps | None:
        """Answer 503 to a request that is not run; see `end`."""
        answer = self._outcomes.refused(request, reason)
        if self._transport is not None:
            return self._answer(request, *answer)
        return self._refuse_in_task(request, answer)

    async def _refuse_in_task(self, request: NatsRequest, answer: Answer) -> None:
        sending = self._answer(request, *answer)
        if sending is not None:
            await sending

    def _answer(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None
    ) -> Steps | None:
        try:
            sending = self._send(request, data, headers)
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            return self._answer_instead(request, headers, error)
        return None if sending is None else self._confirm(sending, request, headers)

    def _answer_instead(
        self, request: NatsRequest, headers: dict[str, str] | None, error: Exception
    ) -> Steps | None:
        answer = self._outcomes.undeliverable(request, headers, error)
        return None if answer is None else self._answer(request, *answer)

    async def _confirm(
        self, sending: Awaitable[object], request: NatsRequest, headers: dict[str, str] | None
    ) -> object:
        try:
            await sending
        except asyncio.CancelledError:
            pass  # the answer is nats-py's by now; a second one must not follow
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            following = self._answer_instead(request, headers, error)
            if following is not None:
                await following
        return _ANSWERED
