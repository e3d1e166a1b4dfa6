"""One endpoint's life of a request: admit, run, answer, count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter_ns

import nats.errors

from micro import _deadline
from micro._errors import NoResponseError, ServiceError
from micro._limits import Limits
from micro._middleware import Work
from micro._parked import ParkedTasks
from micro._path import Path
from micro._request import (
    DEADLINE,
    DONE,
    Answer,
    FrameRequest,
    NatsRequest,
    Response,
    one_line,
    received_error,
)
from micro._request_log import RequestLog
from micro._stats import EndpointCounters
from micro._waiting import Waiting

logger = logging.getLogger("micro.dispatch")

RETRY_AFTER_SECONDS = "1"

_INTERNAL_ERROR = Response.of_error(ServiceError(500, "internal error")).answer()
"""What goes out in place of an answer that cannot; if this cannot either, nothing does."""

Report = Callable[[BaseException], None]
"""Tell the service of a failed request."""


class Dispatcher:
    """Runs the requests of one endpoint within its limits, and answers each of them once.

    Args:
        log: Where what goes wrong is logged.
        work: The handler with its middlewares.
        limits: How much it takes on.
        pool: The tasks to run in.
        path: The way that answers leave by.
        report: Told of each failed request.
    """

    def __init__(
        self,
        log: RequestLog,
        work: Work,
        *,
        limits: Limits,
        pool: ParkedTasks,
        path: Path,
        report: Report,
    ) -> None:
        self.counters = EndpointCounters()
        self._log = log
        self._call = work.call
        self._direct = work.direct
        self._wrapped = work.wrapped
        self._limits = limits
        self._max_in_flight = limits.max_in_flight
        self._pool = pool
        self._send = path.send
        self._report = report
        self._active = 0
        self._waiting = Waiting(limits, self._refuse_late)
        self._drained: list[asyncio.Future[None]] = []
        self._aborted = False
        self._clock = asyncio.get_running_loop().time
        self._prefixes = limits.reply_prefixes

    def answer_through(self, path: Path) -> None:
        """Send answers by another path from now on."""
        self._send = path.send

    def receive_frame(
        self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        """Run a request at once, keep it waiting, or refuse it; never inside a task."""
        request = FrameRequest(subject, reply, data, headers)
        if headers is not None:
            request.deadline = _deadline.from_block(headers, self._clock())
        if self._prefixes is not None and not reply.startswith(self._prefixes):
            self._reject_reply(request)
        elif self._direct is not None and request.deadline is None:
            self._pool.call(self._run_directly, request)
        elif self._active < self._max_in_flight:
            self._active += 1
            self._pool.start(self, request)
        elif not self._waiting.keep(request):
            self._pool.call(self._refuse_directly, request)

    def admit(self, request: NatsRequest) -> bool:
        """Run a request soon or keep it waiting; False when it is to be refused."""
        given = request.headers().pop(DEADLINE, None)
        request.deadline = _deadline.from_text(given, self._clock())
        if self._prefixes is not None and not request.raw_reply.startswith(self._prefixes):
            self._reject_reply(request)
            return True
        if self._active < self._max_in_flight:
            self._active += 1
            self._pool.submit(self, request)
            return True
        return self._waiting.keep(request)

    async def refuse(self, request: NatsRequest, reason: str = "overloaded") -> None:
        """Answer 503 to a request that is not run."""
        await self._answer(request, self._refusal(request, reason))

    def _refuse_late(self, request: NatsRequest) -> None:
        self._active += 1
        self._pool.submit(_Refusals(self), request)

    def _refuse_directly(self, request: NatsRequest) -> None:
        self._answer_directly(request, self._refusal(request, "overloaded"))

    def _refusal(self, request: NatsRequest, reason: str) -> Answer:
        error = ServiceError(503, reason, headers={"Retry-After": RETRY_AFTER_SECONDS})
        self.counters.num_requests += 1
        self.counters.rejected += 1
        self._log.log(reason, "request to %r refused: %s", request, reason, code=503)
        self._count(error)
        return Response.of_error(error).answer()

    def _run_directly(self, request: NatsRequest) -> None:
        """Do as `run` does, but on the fast path and for a handler that never waits."""
        assert self._direct is not None  # noqa: S101 - else nobody calls this
        counters = self.counters
        started = perf_counter_ns()
        try:
            if request.deadline is not None:
                self._check_deadline(request, request.deadline)
            self._direct(request)
            answer = request.answer
            if answer is None or answer[1]:
                answer = self._examine(request, None, answer, started)
        except BaseException as error:  # noqa: BLE001 - its caller gets an answer, whatever it was
            answer = self._failed(request, error, started)
        counters.handled(perf_counter_ns() - started)
        if answer is not None:
            self._answer_directly(request, answer)

    def _reject_reply(self, request: NatsRequest) -> None:
        """Ignore a request whose answer would go where this service must not publish."""
        self.counters.num_requests += 1
        self.counters.rejected += 1
        text = "request to %r ignored, its reply subject is %r"
        self._log.log("reply", text, request, request.reply, code=403)
        self._count(ServiceError(403, "reply subject not allowed"))

    def until(self, request: NatsRequest) -> float | None:
        """Return when a request that suspends is to be cancelled, on the event loop's clock."""
        timeout = self._limits.timeout
        if timeout is None:
            return request.deadline
        limit = self._clock() + timeout
        return limit if request.deadline is None else min(limit, request.deadline)

    def _check_deadline(self, request: NatsRequest, deadline: float) -> None:
        if self._clock() >= deadline:
            request.expired = True
            raise asyncio.CancelledError

    async def _handle_in_time(self, request: NatsRequest, deadline: float) -> object:
        """Handle a request whose caller has said how long it waits; its own requests inherit that."""
        self._check_deadline(request, deadline)
        token = _deadline.current.set(deadline)
        try:
            return await self._call(request)
        finally:
            _deadline.current.reset(token)

    async def run(self, request: NatsRequest) -> None:
        """Run one admitted request to its end: handler, answer, count."""
        counters = self.counters
        started = perf_counter_ns()
        cancelled: BaseException | None = None
        try:
            if request.deadline is None:
                returned = await self._call(request)
            else:
                returned = await self._handle_in_time(request, request.deadline)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - its caller gets an answer, whatever it was
            answer = self._failed(request, error, started)
            cancelled = _cancellation(error)
        else:
            answer = returned.answer() if isinstance(returned, Response) else request.answer
            if answer is None or answer[1] or self._wrapped:
                answer = self._examine(request, returned, answer, started)
        counters.handled(perf_counter_ns() - started)
        if answer is not None:
            data, headers = answer
            try:
                sending = self._send(request, data, headers)
                if sending is not DONE:
                    await sending
            except Exception as error:  # noqa: BLE001 - a middleware may have answered anything
                await self._replace(request, answer, error)
        if cancelled is not None:
            raise cancelled

    async def drain(self, limit: float) -> None:
        """Wait until every admitted request is answered; cancel and answer 503 after ``limit`` seconds.

        The request whose handler is calling does not count.
        """
        if self.is_calling():
            self._pool.excuse()
        try:
            async with asyncio.timeout(limit):
                await self._until_idle()
        except TimeoutError:
            logger.warning("%s: %d requests unfinished, cancelling", self._log.label, self._active)
            await self.abort()

    async def abort(self) -> None:
        """Cancel what runs and refuse what waits, both with 503 ``service stopped``."""
        self._aborted = True
        while self._waiting:
            await self.refuse(self._waiting.take(), "service stopped")
        self._pool.cancel(self)
        try:
            async with asyncio.timeout(1):
                await self._until_idle()
        except TimeoutError:
            logger.error("%s: %d handlers ignore cancellation", self._log.label, self._active)

    def load(self) -> dict[str, int]:
        """Return how many requests run, and how many wait for a free slot."""
        return {"in_flight": self._active, "queued": len(self._waiting)}

    def is_calling(self) -> bool:
        """Return whether the caller is one of the handlers that run here."""
        return self._pool.current() is self

    async def _until_idle(self) -> None:
        while self._active:
            done = asyncio.get_running_loop().create_future()
            self._drained.append(done)
            await done

    def release(self) -> None:
        """Give a slot that has become free to the next request."""
        if self._waiting and self._active <= self._max_in_flight:  # refusals come on top of it
            self._pool.submit(self, self._waiting.take())
        else:
            self._active -= 1
        if self._drained:
            for done in self._drained:
                if not done.done():
                    done.set_result(None)
            self._drained.clear()

    def _failed(self, request: NatsRequest, error: BaseException, started: int) -> Answer | None:
        """Map what a handler raised to its answer; log and count it."""
        if isinstance(error, ServiceError):
            answer = error
        elif self._is_late(request, error):
            self.counters.expired += 1
            answer = ServiceError(504, "deadline exceeded")
            text = "request to %r is past its deadline"
            self._log.log("late", text, request, code=504, since_ns=started)
        elif isinstance(error, asyncio.CancelledError) and self._aborted:
            answer = ServiceError(503, "service stopped")
        elif isinstance(error, NoResponseError):
            if not request.raw_reply:
                return None
            answer = ServiceError(500, "handler did not respond")
            text = "handler of %r did not respond"
            self._log.log("silent", text, request, code=500, since_ns=started)
        else:
            answer = ServiceError(500, "internal error")
            kind, text = type(error).__name__, "handler of %r failed"
            self._log.log(kind, text, request, code=500, since_ns=started, error=error)
        self._count(answer, error)
        given = request.response
        own = not self._wrapped or error is request.failure
        if given is not None and own and not isinstance(error, ServiceError):
            return given.answer()  # it stands, unless a middleware made it worthless
        return Response.of_error(answer).answer()

    def _is_late(self, request: NatsRequest, error: BaseException) -> bool:
        """Return whether the time was over: for the handler, or for a request of its own."""
        if isinstance(error, asyncio.CancelledError):
            return request.expired
        # A request of the handler has inherited the deadline, and may see it a moment earlier.
        deadline = request.deadline
        return (
            isinstance(error, TimeoutError) and deadline is not None and self._clock() >= deadline
        )

    def _examine(
        self, request: NatsRequest, returned: object, answer: Answer | None, started: int
    ) -> Answer | None:
        """Replace an answer that is missing or nobody's, count one that is an error."""
        if self._wrapped and not isinstance(returned, Response):
            wrong = TypeError(f"a middleware returned {returned!r}: expected a Response")
            return self._failed(request, wrong, started)
        if answer is None:
            return self._failed(request, NoResponseError("handler did not respond"), started)
        data, headers = answer
        error = received_error(headers, "", data) if headers else None
        if error is not None:
            self._count(error)
        return answer

    def _count(self, answer: ServiceError, error: BaseException | None = None) -> None:
        self.counters.fail(answer.code, one_line(answer.description))
        self._report(answer if error is None else error)

    async def _answer(self, request: NatsRequest, answer: Answer) -> None:
        try:
            await self._send(request, *answer)
        except Exception as error:  # noqa: BLE001 - a middleware may have answered anything
            await self._replace(request, answer, error)

    def _answer_directly(self, request: NatsRequest, answer: Answer) -> None:
        try:
            self._send(request, *answer)
        except Exception as error:  # noqa: BLE001 - a handler may have answered anything
            instead = self._undeliverable(request, answer, error)
            if instead is not None:
                self._answer_directly(request, instead)

    async def _replace(self, request: NatsRequest, answer: Answer, error: Exception) -> None:
        instead = self._undeliverable(request, answer, error)
        if instead is not None:
            await self._answer(request, instead)

    def _undeliverable(
        self, request: NatsRequest, answer: Answer, error: Exception
    ) -> Answer | None:
        """Count an answer that is lost, or return an error in place of one that cannot be sent."""
        if isinstance(error, nats.errors.Error | OSError) or answer is _INTERNAL_ERROR:
            reason = str(error) or type(error).__name__
            self._log.log("lost", "answer to %r is lost: %s", request, reason, code=500)
            self._count(ServiceError(500, f"answer lost: {reason}"), error)
            return None
        self._log.log("unsendable", "answer to %r cannot be sent: %s", request, error, code=500)
        self._count(ServiceError(500, "internal error"), error)
        return _INTERNAL_ERROR


class _Refusals:
    """Answers requests that have waited too long, as if they were run."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def run(self, request: NatsRequest) -> None:
        await self._dispatcher.refuse(request)

    def until(self, request: NatsRequest) -> None:
        return

    def release(self) -> None:
        self._dispatcher.release()


def _cancellation(error: BaseException) -> BaseException | None:
    """Return an error that is the cancellation of the running task, and not a leaked one."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
    return error if cancelled else None
