"""Log lines about the requests of one endpoint, with fields for programs that read logs.

Each record carries `service`, `endpoint`, `instance`, `subject`, the `code` of the error answer,
and `elapsed_ns` if the handler was run.
"""

from __future__ import annotations

import logging
from time import perf_counter_ns
from typing import Any

from micro._handlers.nats_request import NatsRequest
from micro._ratelimit import LimitedLog

logger = logging.getLogger("micro.requests")

WARNINGS = (503, 504)
"""Codes of overload and lateness; every other code is a fault of a program."""


class RequestLog:
    """The log of failed requests, limited by kind.

    Args:
        service: The name of the service.
        endpoint: The name of the endpoint.
        instance: The id of the instance.
    """

    __slots__ = ("_endpoint", "_instance", "_log", "_service")

    def __init__(self, service: str, endpoint: str, instance: str) -> None:
        self._service = service
        self._endpoint = endpoint
        self._instance = instance
        self._log: LimitedLog | None = None  # until something goes wrong

    @property
    def label(self) -> str:
        """The service and the endpoint, as in log lines."""
        return f"{self._service}/{self._endpoint}"

    def log(
        self,
        kind: str,
        message: str,
        request: NatsRequest,
        *arguments: object,
        code: int,
        since_ns: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Log a line about a request, unless one of its kind was logged a moment ago.

        Args:
            kind: Lines of one kind are limited together.
            message: A format whose first argument is the subject.
            request: The request.
            arguments: Its further arguments.
            code: The code of the error answer.
            since_ns: The start of the handler, in nanoseconds of `perf_counter_ns`.
            error: An exception whose traceback is logged, too.
        """
        log = self._log
        if log is None:
            log = self._log = LimitedLog(logger)
        if not log.due(kind):
            return  # before anything is computed for the line
        subject = request.subject()
        fields: dict[str, Any] = {
            "service": self._service,
            "endpoint": self._endpoint,
            "instance": self._instance,
            "subject": subject,
            "code": code,
        }
        if since_ns is not None:
            fields["elapsed_ns"] = perf_counter_ns() - since_ns
        level = logging.WARNING if code in WARNINGS else logging.ERROR
        text = f"%s: {message}"
        log.write(level, kind, text, self.label, subject, *arguments, error=error, fields=fields)
