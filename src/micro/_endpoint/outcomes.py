"""The outcomes of requests: turns each into an answer, counters and a log line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import nats.errors

from micro._endpoint import forking
from micro._endpoint.counters import EndpointCounters
from micro._endpoint.request_log import RequestLog
from micro._errors import NoResponseError, RemoteServiceError, ServiceError
from micro._handlers.exceptions import DEPENDENCY_FAILED, ExceptionHandlers, answer_to
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Answer, Response
from micro._protocol.adr32 import one_line, received_error
from micro._wire.congestion import CongestedError
from micro._wire.outbox import LongSubjectError, ServersSubjectError

RETRY_AFTER_SECONDS = "1"

_INTERNAL_ERROR = Response.of_error(ServiceError(500, "internal error")).answer()
"""Sent in place of an answer that cannot be sent; if it cannot be sent either, nothing is."""

Report = Callable[[BaseException], None]
"""Tell the service of a failed request."""


class Outcomes:
    """The outcomes of the requests of one endpoint.

    Args:
        log: The log of failed requests.
        report: Called with the error of each failed request.
        wrapped: Whether there are middlewares.
        exception_handlers: The answers to exceptions by their types.

    Attributes:
        counters: The counters of the endpoint.
        aborted: Whether handlers are being cancelled because the service stops.
    """

    __slots__ = ("_exception_handlers", "_log", "_report", "_wrapped", "aborted", "counters")

    def __init__(
        self,
        log: RequestLog,
        report: Report,
        *,
        wrapped: bool,
        exception_handlers: ExceptionHandlers,
    ) -> None:
        self._exception_handlers = exception_handlers
        self.counters = EndpointCounters()
        self.aborted = False
        self._log = log
        self._report = report
        self._wrapped = wrapped

    @property
    def label(self) -> str:
        """The service and the endpoint, as in log lines."""
        return self._log.label

    def examined(self, request: NatsRequest, started: int) -> Answer | None:
        """Return the answer of a handler that has returned; count an error that it carries."""
        if request.sent is None:
            return self.failed(request, NoResponseError("handler did not respond"), started)
        headers = request.sent_headers
        error = received_error(headers, "", request.sent) if headers else None
        if error is not None:
            self._count(error)
        return request.sent, headers

    def failed(self, request: NatsRequest, error: BaseException, started: int) -> Answer | None:
        """Return the answer for an exception of a handler; log and count it."""
        if forking.children:
            forking.end_child(error)
        meant = answer_to(error, self._exception_handlers) if self._exception_handlers else None
        if meant is not None and not request.is_late(error):
            request.failure = meant
            self._count(meant, error)
            return Response.of_error(meant).answer()
        answer = self._judged(request, error, started)
        if answer is None:
            return None
        given = request.given()
        own = not self._wrapped or error is request.failure
        request.failure = error
        if given is not None and own and not isinstance(error, ServiceError):
            # It stands, unless a middleware has failed since; the caller learns of nothing else.
            self._count(given.error() or answer, error)
            return given.answer()
        self._count(answer, error)
        return Response.of_error(answer).answer()

    def _judged(
        self, request: NatsRequest, error: BaseException, started: int
    ) -> ServiceError | None:
        """Return the error that an exception of a handler means; log it."""
        if isinstance(error, RemoteServiceError) and not request.is_late(error):
            answer = DEPENDENCY_FAILED
            text = "handler of %r passed on an error: %s"
            self._log.log("dependency", text, request, error, code=502, since_ns=started)
        elif isinstance(error, ServiceError) and not isinstance(error, RemoteServiceError):
            answer = error
        elif request.is_late(error):
            self.counters.expired += 1
            answer = ServiceError(504, "deadline exceeded")
            text = "request to %r is past its deadline"
            self._log.log("late", text, request, code=504, since_ns=started)
        elif isinstance(error, asyncio.CancelledError) and self.aborted:
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
        return answer

    def refused(self, request: NatsRequest, reason: str) -> Answer:
        """Return the answer to a request that is not run."""
        self.counters.num_requests += 1
        self.counters.rejected += 1
        return self._overloaded(request, reason)

    def ignored(self, request: NatsRequest) -> None:
        """Count a request whose reply subject is not allowed."""
        self.counters.num_requests += 1
        self.counters.rejected += 1
        self._count(ServiceError(403, "reply subject not allowed"))
        text = "request to %r ignored, its reply subject is %r"
        self._log.log("reply", text, request, request.reply, code=403)

    def undeliverable(
        self, request: NatsRequest, answer: Answer, error: Exception
    ) -> Answer | None:
        """Count an answer that is lost, or return an error in place of one that cannot be sent."""
        if isinstance(error, ServersSubjectError):
            self.counters.rejected += 1
            self._count(ServiceError(403, "reply subject not allowed"))
            text = "answer to %r dropped: its reply subject %r is the server's, see reply_prefixes"
            self._log.log("dollar", text, request, request.reply, code=403)
            return None
        if isinstance(error, LongSubjectError):
            self.counters.rejected += 1
            self._count(ServiceError(400, "reply subject too long"))
            text = "answer to %r dropped: its reply subject of %d bytes is too long"
            self._log.log("long", text, request, len(request.raw_reply), code=400)
            return None
        if isinstance(error, CongestedError):
            self.counters.rejected += 1
            return self._overloaded(request, "overloaded")
        unsendable = isinstance(error, nats.errors.BadHeaderError)
        lost = isinstance(error, nats.errors.Error | OSError) and not unsendable
        if lost or answer[1] is _INTERNAL_ERROR[1]:
            reason = str(error) or type(error).__name__
            self._log.log("lost", "answer to %r is lost: %s", request, reason, code=500)
            self._count(ServiceError(500, f"answer lost: {reason}"), error)
            return None
        self._log.log("unsendable", "answer to %r cannot be sent: %s", request, error, code=500)
        self._count(ServiceError(500, "internal error"), error)
        return _INTERNAL_ERROR

    def refused_by_server(self, subject: str) -> None:
        """Count an answer that the server refused to publish; the server names it in lower case."""
        error = ServiceError(
            500, f"answer refused by the server: no right to publish to {subject!r}"
        )
        self._count(error)

    def _overloaded(self, request: NatsRequest, reason: str) -> Answer:
        error = ServiceError(503, reason, headers={"Retry-After": RETRY_AFTER_SECONDS})
        self._count(error)
        self._log.log(reason, "request to %r refused: %s", request, reason, code=503)
        return Response.of_error(error).answer()

    def _count(self, answer: ServiceError, error: BaseException | None = None) -> None:
        self.counters.fail(answer.code, one_line(answer.description))
        self._report(answer if error is None else error)
