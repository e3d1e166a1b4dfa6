"""Traces of requests with OpenTelemetry (extra "opentelemetry").

    from micro.opentelemetry import TracedClient, trace_requests

    service = await ctx.add_service("shop", "1.0.0", middlewares=[trace_requests()])
    client = TracedClient(ctx.client)

A span for each request that a service handles and for each that a client makes. They are in one trace
because the context travels in the headers ``traceparent`` and ``tracestate`` (W3C), or in those of the
propagator that the program has set. Only the API is needed here; without an SDK nothing is recorded.

Attributes, by the semantic conventions for messaging: ``messaging.system`` (nats),
``messaging.operation.name`` and ``.type``, ``messaging.destination.name`` (the subject),
``messaging.message.body.size`` (bytes of the request), and for what failed ``error.type``: the code of
the service error, or the name of the exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.util.types import AttributeValue

from micro._client.client import DEFAULT_MAX_WAIT, Client
from micro._errors import ServiceError
from micro._handlers.middleware import Middleware, NextHandler
from micro._handlers.request import Request, Response
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro._version import __version__

__all__ = ["TracedClient", "trace_requests"]

LEAST_FAULT = 500
"""Codes below it are the caller's fault: no error of the service that answers with them."""


def trace_requests(
    name: str | None = None, *, tracer_provider: TracerProvider | None = None
) -> Middleware:
    """Return a middleware that makes a server span of each request.

    The span is current while the request is handled, so that spans made by the handler are below it. An
    answer with a code of 500 and more, and any exception, gives it the status "error".

    Args:
        name: The name of the spans; ``process`` and the subject by default. Endpoints with wildcards
            should have one, else there are as many names as there are subjects.
        tracer_provider: Where spans go; that of the program by default.
    """
    tracer = _tracer(tracer_provider)

    async def trace_request(request: Request, next: NextHandler) -> Response:
        subject = request.subject()
        title = f"process {subject}" if name is None else name
        attributes = _attributes("process", "process", subject, request.data())
        parent = propagate.extract(request.headers(), getter=_HEADERS)
        with (
            tracer.start_as_current_span(
                title,
                context=parent,
                kind=SpanKind.SERVER,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _failures(span, least_fault=LEAST_FAULT),
        ):
            return await next(request)

    return trace_request


class TracedClient(Client):
    """A client whose requests are client spans, and carry their context to the service.

    Args:
        nc: The connected NATS client.
        default_max_wait: As of `Client`.
        api_prefix: As of `Client`.
        tracer_provider: Where spans go; that of the program by default.
    """

    def __init__(
        self,
        nc: NatsClient,
        default_max_wait: float = DEFAULT_MAX_WAIT,
        api_prefix: str = DEFAULT_API_PREFIX,
        *,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        super().__init__(nc, default_max_wait, api_prefix)
        self._tracer = _tracer(tracer_provider)

    async def request(
        self,
        subject: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 1,
    ) -> Msg:
        """Send a request and return the answer; see `Client.request`."""
        carrier = dict(headers) if headers is not None else {}
        with self._tracer.start_as_current_span(
            f"request {subject}",
            kind=SpanKind.CLIENT,
            attributes=_attributes("request", "send", subject, data),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            propagate.inject(carrier)
            with _failures(span, least_fault=0):
                return await super().request(subject, data, carrier, timeout)


class _Headers(Getter[Mapping[str, str]]):
    """Reads headers by name in whatever case: other clients change it."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        wanted = key.lower()
        found = [value for name, value in carrier.items() if name.lower() == wanted]
        return found if found else None

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_HEADERS = _Headers()


@contextmanager
def _failures(span: Span, *, least_fault: int) -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        span.set_attribute("error.type", str(error.code))
        if error.code >= least_fault:
            span.set_status(Status(StatusCode.ERROR, error.description))
        raise
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.record_exception(error)
        raise


def _tracer(provider: TracerProvider | None) -> Tracer:
    return trace.get_tracer("micro", __version__, provider)


def _attributes(
    operation: str, kind: str, subject: str, data: bytes | None
) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": subject,
        "messaging.message.body.size": 0 if data is None else len(data),
    }
