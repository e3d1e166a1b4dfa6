"""One endpoint's life of a request: admit, run, answer, count."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter_ns

import nats.errors

from micro._errors import NoResponseError, ServiceError
from micro._parked import ParkedTasks
from micro._path import Path
from micro._ratelimit import LimitedLog
from micro._request import (
    DONE,
    Answer,
    FrameRequest,
    NatsRequest,
    Response,
    one_line,
    received_error,
)
from micro._stats import EndpointCounters

logger = logging.getLogger("micro.dispatch")

RETRY_AFTER_SECONDS = "1"

Report = Callable[[BaseException], None]
"""Tell the service of a failed request."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one endpoint takes on; beyond it, requests are refused with 503.

    Attributes:
        max_in_flight: Requests that run side by side; 1 keeps the order of arrival.
        pending_msgs: Requests that wait for one of them to end.
        pending_bytes: Payload bytes of the waiting requests.
    """

    max_in_flight: int = 512
    pending_msgs: int = 4096
    pending_bytes: int = 32 * 1024 * 1024


class Dispatcher:
    """Runs the requests of one endpoint within its limits, and answers each of them once.

    Args:
        label: Service and endpoint, for log lines.
        handler: The handler, folded with its middlewares.
        limits: How much it takes on.
        pool: The tasks to run in.
        path: The way that answers leave by.
        report: Told of each failed request.
    """

    def __init__(
        self,
        label: str,
        handler: Callable[[NatsRequest], Awaitable[object]],
        *,
        limits: Limits,
        pool: ParkedTasks,
        path: Path,
        report: Report,
    ) -> None:
        self.counters = EndpointCounters()
        self._label = label
        self._log = LimitedLog(logger)
        self._handler = handler
        self._limits = limits
        self._pool = pool
        self._send = path.send
        self._refusal = _Refusal(self)
        self._report = report
        self._active = 0
        self._waiting: deque[NatsRequest] = deque()
        self._waiting_bytes = 0
        self._drained: list[asyncio.Future[None]] = []
        self._aborted = False

    def answer_through(self, path: Path) -> None:
        """Send answers by another path from now on."""
        self._send = path.send

    def receive_frame(
        self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        """Run a request at once, keep it waiting, or refuse it; never inside a task."""
        request = FrameRequest(subject, reply, data, headers)
        if self._active < self._limits.max_in_flight:
            self._active += 1
            self._pool.start(self, request)
        elif not self._keep(request):
            self._pool.start(self._refusal, request)

    async def receive(self, request: NatsRequest) -> None:
        """Run a request soon, keep it waiting, or refuse it."""
        if self._active < self._limits.max_in_flight:
            self._active += 1
            self._pool.submit(self, request)
        elif not self._keep(request):
            await self.refuse(request)

    def _keep(self, request: NatsRequest) -> bool:
        size = self._waiting_bytes + len(request.data())
        if len(self._waiting) >= self._limits.pending_msgs or size > self._limits.pending_bytes:
            return False
        self._waiting.append(request)
        self._waiting_bytes = size
        return True

    async def refuse(self, request: NatsRequest, reason: str = "overloaded") -> None:
        """Answer 503 to a request that is not run."""
        error = ServiceError(503, reason, headers={"Retry-After": RETRY_AFTER_SECONDS})
        self.counters.num_requests += 1
        self._count(error)
        await self._answer(request, Response.of_error(error).answer())

    async def run(self, request: NatsRequest) -> None:
        """Run one admitted request to its end: handler, answer, count."""
        counters = self.counters
        started = perf_counter_ns()
        cancelled: BaseException | None = None
        try:
            returned = await self._handler(request)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - its caller gets an answer, whatever it was
            answer = self._failed(request, error)
            cancelled = _cancellation(error)
        else:
            answer = returned.answer() if isinstance(returned, Response) else request.answer
            if answer is None or answer[1]:
                answer = self._examine(request, answer)
        counters.processing_time += perf_counter_ns() - started
        counters.num_requests += 1
        if answer is not None:
            data, headers = answer
            try:
                sending = self._send(request, data, headers)
                if sending is not DONE:
                    await sending
            except Exception as error:  # noqa: BLE001 - a middleware may have answered anything
                await self._undeliverable(request, error)
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
            logger.warning("%s: %d requests unfinished, cancelling", self._label, self._active)
            await self.abort()

    async def abort(self) -> None:
        """Cancel what runs and refuse what waits, both with 503 ``service stopped``."""
        self._aborted = True
        while self._waiting:
            await self.refuse(self._waiting.popleft(), "service stopped")
        self._waiting_bytes = 0
        self._pool.cancel(self)
        try:
            async with asyncio.timeout(1):
                await self._until_idle()
        except TimeoutError:
            logger.error("%s: %d handlers ignore cancellation", self._label, self._active)

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
        if self._waiting:
            request = self._waiting.popleft()
            self._waiting_bytes -= len(request.data())
            self._pool.submit(self, request)
        else:
            self._active -= 1
        if self._drained:
            for done in self._drained:
                if not done.done():
                    done.set_result(None)
            self._drained.clear()

    def _failed(self, request: NatsRequest, error: BaseException) -> Answer | None:
        """Map what a handler raised to its answer; log and count it."""
        if isinstance(error, ServiceError):
            answer = error
        elif isinstance(error, asyncio.CancelledError) and self._aborted:
            answer = ServiceError(503, "service stopped")
        elif isinstance(error, NoResponseError):
            if not request.raw_reply:
                return None
            answer = ServiceError(500, "handler did not respond")
            self._log.log(
                logging.ERROR,
                "silent",
                "%s: handler of %r did not respond",
                self._label,
                request.subject(),
            )
        else:
            answer = ServiceError(500, "internal error")
            self._log.log(
                logging.ERROR,
                type(error).__name__,
                "%s: handler of %r failed",
                self._label,
                request.subject(),
                error=error,
            )
        self._count(answer, error)
        given = request.response
        if given is not None and not isinstance(error, ServiceError):
            return given.answer()  # the first answer stands, the failure is counted
        return Response.of_error(answer).answer()

    def _examine(self, request: NatsRequest, answer: Answer | None) -> Answer | None:
        """Replace an answer that is missing, count one that is an error."""
        if answer is None:
            return self._failed(request, NoResponseError("handler did not respond"))
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
            await self._undeliverable(request, error)

    async def _undeliverable(self, request: NatsRequest, error: Exception) -> None:
        """Count an answer that is lost; put an error in place of one that cannot be sent."""
        if isinstance(error, nats.errors.Error | OSError):
            reason = str(error) or type(error).__name__
            self._log_failure("lost", "answer to %r is lost: %s", request, reason)
            self._count(ServiceError(500, f"answer lost: {reason}"), error)
        else:
            self._log_failure("unsendable", "answer to %r cannot be sent: %s", request, error)
            failure = ServiceError(500, "internal error")
            self._count(failure, error)
            await self._answer(request, Response.of_error(failure).answer())

    def _log_failure(self, kind: str, message: str, request: NatsRequest, reason: object) -> None:
        self._log.log(logging.ERROR, kind, f"%s: {message}", self._label, request.subject(), reason)


class _Refusal:
    """Refuses a request where otherwise it would be run."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.run = dispatcher.refuse

    def release(self) -> None:
        """Do nothing: it had no slot."""


def _cancellation(error: BaseException) -> BaseException | None:
    """Return an error that is the cancellation of the running task, and not a leaked one."""
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
    return error if cancelled else None
