"""One endpoint's life of a request: admit, run, answer, count."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._errors import ConfigError, NoResponseError, PayloadTooLargeError, ServiceError
from micro._middleware import Chain
from micro._ratelimit import LimitedLog
from micro._request import NatsRequest, Response, check_headers, one_line
from micro._stats import EndpointCounters
from micro._workers import Workers

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
        chain: The handler with its middlewares.
        limits: How much it takes on.
        workers: The tasks to run in.
        nc: The connection that answers leave by.
        report: Told of each failed request.
    """

    def __init__(
        self,
        label: str,
        chain: Chain,
        *,
        limits: Limits,
        workers: Workers,
        nc: NatsClient,
        report: Report,
    ) -> None:
        self.counters = EndpointCounters()
        self._label = label
        self._log = LimitedLog(logger)
        self._chain = chain
        self._limits = limits
        self._workers = workers
        self._nc = nc
        self._report = report
        self._active = 0
        self._waiting: deque[NatsRequest] = deque()
        self._waiting_bytes = 0
        self._drained: list[asyncio.Future[None]] = []
        self._aborted = False

    def answer_through(self, nc: NatsClient) -> None:
        """Send answers over another connection from now on."""
        self._nc = nc

    async def receive(self, request: NatsRequest) -> None:
        """Admit a request: run it now, keep it waiting, or refuse it with 503 ``overloaded``."""
        limits = self._limits
        if self._active < limits.max_in_flight:
            self._active += 1
            self._workers.submit(self, request)
            return
        size = self._waiting_bytes + len(request.data())
        if len(self._waiting) < limits.pending_msgs and size <= limits.pending_bytes:
            self._waiting.append(request)
            self._waiting_bytes = size
            return
        await self._refuse(request, "overloaded")

    async def run(self, request: NatsRequest) -> None:
        """Run one admitted request to its end: handler, answer, count."""
        counters = self.counters
        started = perf_counter_ns()
        cancelled: BaseException | None = None
        try:
            response = await self._chain(request)
        except BaseException as error:  # whatever a handler does, its caller gets one answer
            if isinstance(error, GeneratorExit):
                raise
            response = self._failed(request, error)
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                cancelled = error
        else:
            error_answer = response.error() if response is not None else None
            if error_answer is not None:
                self._count(error_answer)
        counters.processing_time += perf_counter_ns() - started
        counters.num_requests += 1
        if response is not None and request.reply:
            await self._answer(request, response)
        if cancelled is not None:
            raise cancelled

    async def drain(self, limit: float) -> None:
        """Wait until every admitted request is answered; cancel and answer 503 after ``limit`` seconds.

        The request whose handler is calling does not count.
        """
        if self.is_calling():
            self._workers.excuse()
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
            await self._refuse(self._waiting.popleft(), "service stopped")
        self._waiting_bytes = 0
        self._workers.cancel(self)
        try:
            async with asyncio.timeout(1):
                await self._until_idle()
        except TimeoutError:
            logger.error("%s: %d handlers ignore cancellation", self._label, self._active)

    def is_calling(self) -> bool:
        """Return whether the caller is one of the handlers that run here."""
        return self._workers.current() is self

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
            self._workers.submit(self, request)
        else:
            self._active -= 1
        if self._drained:
            for done in self._drained:
                if not done.done():
                    done.set_result(None)
            self._drained.clear()

    def _failed(self, request: NatsRequest, error: BaseException) -> Response | None:
        """Map what a handler raised to its answer; log and count it."""
        if isinstance(error, ServiceError):
            answer = error
        elif isinstance(error, asyncio.CancelledError) and self._aborted:
            answer = ServiceError(503, "service stopped")
        elif isinstance(error, NoResponseError):
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
        if request.response is not None and not isinstance(error, ServiceError):
            return request.response  # the first answer stands, the failure is counted
        return Response.of_error(answer)

    def _count(self, answer: ServiceError, error: BaseException | None = None) -> None:
        self.counters.fail(answer.code, one_line(answer.description))
        self._report(answer if error is None else error)

    async def _refuse(self, request: NatsRequest, reason: str) -> None:
        error = ServiceError(503, reason, headers={"Retry-After": RETRY_AFTER_SECONDS})
        self.counters.num_requests += 1
        self._count(error)
        if request.reply:
            await self._answer(request, Response.of_error(error))

    async def _answer(self, request: NatsRequest, response: Response) -> None:
        try:
            await self._send(request.reply, response)
        except (ConfigError, PayloadTooLargeError) as error:
            self._log.log(
                logging.ERROR,
                "unsendable",
                "%s: answer to %r cannot be sent: %s",
                self._label,
                request.subject(),
                error,
            )
            failure = ServiceError(500, "internal error")
            self._count(failure, error)
            await self._answer(request, Response.of_error(failure))
        except (nats.errors.Error, OSError) as error:
            reason = str(error) or type(error).__name__
            self._log.log(
                logging.ERROR,
                "lost",
                "%s: answer to %r is lost: %s",
                self._label,
                request.subject(),
                reason,
            )
            self._count(ServiceError(500, f"answer lost: {reason}"), error)

    async def _send(self, reply: str, response: Response) -> None:
        data, headers = response.data(), response.headers()
        size = len(data) + (check_headers(headers) if headers else 0)
        if size > self._nc.max_payload:  # nats-py would not count the headers, the server does
            raise PayloadTooLargeError(size, self._nc.max_payload)
        await self._nc.publish(reply, data, headers=headers or None)
