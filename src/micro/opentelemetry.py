"""OpenTelemetry traces and metrics of requests (extra "opentelemetry").

    from micro.opentelemetry import TracedClient, trace_requests

    service = await ctx.add_service("shop", "1.0.0", middlewares=[trace_requests()])
    client = TracedClient(ctx.client)

Each request that a service handles is a span, and each request that a client sends is one. They
belong to one trace because the context travels in the headers `traceparent` and `tracestate` (W3C),
or in the headers of the program's propagator. Only the OpenTelemetry API is needed; without an SDK
nothing is recorded.

Attributes, by the semantic conventions for messaging: `messaging.system` (nats),
`messaging.operation.name` and `.type`, `messaging.destination.name` (the subject),
`messaging.message.body.size` (bytes of the request), and `error.type` of a failed request: the code
of the service error, or the name of the exception.

Metrics have the same attributes but the size, and no subject where spans have a name of their own:
`messaging.process.duration` of a service and `messaging.client.operation.duration` of a client are
histograms in seconds, with the buckets of `micro.prometheus`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro import _extras
from micro._client.client import Client, HasClient
from micro._client.publishing import carriers
from micro._client.request_payload import Payload, payload_of
from micro._client.scoped import DEFAULT_MAX_WAIT
from micro._endpoint.counters import BUCKETS
from micro._errors import RemoteServiceError, ServiceError
from micro._handlers.exceptions import DEPENDENCY_FAILED
from micro._handlers.middleware import Middleware, NextHandler
from micro._handlers.request import Request, Response
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro._version import __version__

try:
    from opentelemetry import metrics, propagate, trace
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.propagators.textmap import Getter
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue
except ModuleNotFoundError as error:
    raise _extras.missing(error, "micro.opentelemetry", "opentelemetry") from None

__all__ = ["TracedClient", "trace_requests"]

_DESTINATION = "messaging.destination.name"
_SIZE = "messaging.message.body.size"

LEAST_FAULT = 500
"""A lower code is the caller's fault, and no error of the span of the service."""


def trace_requests(
    name: str | None = None,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Middleware:
    """Return a middleware that makes a server span of each request.

    The span is current while the handler runs, so spans of the handler are its children. A code of
    500 or more, and any exception, give it the status "error".

    Args:
        name: The name of the spans; `process` and the subject by default. Give a name to an
            endpoint with wildcards, as each subject would be a name of its own.
        tracer_provider: The provider of the tracer; the program's by default.
        meter_provider: The provider of the meter; the program's by default.
    """
    tracer = _tracer(tracer_provider)
    durations = _durations("messaging.process.duration", meter_provider)

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
            _measured(durations, attributes, told=_answer_to, named=name is not None),
            _failures(span, told=_answer_to, least_fault=LEAST_FAULT),
        ):
            return await next(request)

    return trace_request


class TracedClient(Client):
    """A client whose requests are client spans and carry their context to the service.

    Args:
        nc: The connected NATS client, or a `Context`.
        default_max_wait: The argument of `Client`.
        api_prefix: The argument of `Client`.
        tracer_provider: The provider of the tracer; the program's by default.
        meter_provider: The provider of the meter; the program's by default.
    """

    def __init__(
        self,
        nc: NatsClient | HasClient,
        default_max_wait: float = DEFAULT_MAX_WAIT,
        api_prefix: str = DEFAULT_API_PREFIX,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        super().__init__(nc, default_max_wait, api_prefix)
        self._tracer = _tracer(tracer_provider)
        self._durations = _durations("messaging.client.operation.duration", meter_provider)

    async def request(
        self,
        subject: str,
        data: Payload = None,
        headers: dict[str, str] | None = None,
        timeout: float = 1,
    ) -> Msg:
        """Send a request and return the answer; see `Client.request`."""
        carrier = dict(headers) if headers is not None else {}
        payload = payload_of(data)
        attributes = _attributes("request", "send", subject, payload)
        with (
            self._tracer.start_as_current_span(
                f"request {subject}",
                kind=SpanKind.CLIENT,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _measured(self._durations, attributes),
            _failures(span, least_fault=0),
        ):
            propagate.inject(carrier)
            return await super().request(subject, payload, carrier, timeout)


# Messages that are published have the context of the current span in their headers.
carriers.append(propagate.inject)


class _Headers(Getter[Mapping[str, str]]):
    """The headers by name in any case, since other clients change the case."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        wanted = key.lower()
        values = [value for name, value in carrier.items() if name.lower() == wanted]
        return values if values else None

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_HEADERS = _Headers()


Told = Callable[[BaseException], BaseException]
"""Return the error that an exception means."""


def _itself(error: BaseException) -> BaseException:
    return error


def _answer_to(error: BaseException) -> BaseException:
    """Return the answer for an exception of a handler, which may be the error of a dependency."""
    return DEPENDENCY_FAILED if isinstance(error, RemoteServiceError) else error


@contextmanager
def _failures(span: Span, *, told: Told = _itself, least_fault: int) -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        answer = told(error)
        span.set_attribute("error.type", _error_type(answer))
        if isinstance(answer, ServiceError) and answer.code >= least_fault:
            span.set_status(Status(StatusCode.ERROR, answer.description))
        if answer is not error:
            span.record_exception(error)
        raise
    except BaseException as error:
        span.set_attribute("error.type", _error_type(error))
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.record_exception(error)
        raise


@contextmanager
def _measured(
    durations: Histogram,
    attributes: Mapping[str, AttributeValue],
    *,
    told: Told = _itself,
    named: bool = False,
) -> Iterator[None]:
    """Record the seconds of a block, with the type of its error.

    Args:
        durations: The histogram.
        attributes: The attributes of the span.
        told: Returns the error that an exception means.
        named: Whether the endpoint has a name of its own, as its subjects may be many.
    """
    omitted = {_SIZE, _DESTINATION} if named else {_SIZE}
    labels = {key: value for key, value in attributes.items() if key not in omitted}
    start = time.perf_counter()
    try:
        yield
    except BaseException as error:
        labels["error.type"] = _error_type(told(error))
        raise
    finally:
        durations.record(time.perf_counter() - start, labels)


def _error_type(error: BaseException) -> str:
    return str(error.code) if isinstance(error, ServiceError) else type(error).__name__


def _durations(name: str, provider: MeterProvider | None) -> Histogram:
    meter = metrics.get_meter("micro", __version__, provider)
    return meter.create_histogram(
        name,
        "s",
        "Duration of requests.",
        explicit_bucket_boundaries_advisory=BUCKETS,
    )


def _tracer(provider: TracerProvider | None) -> Tracer:
    return trace.get_tracer("micro", __version__, provider)


def _attributes(
    operation: str, kind: str, subject: str, data: bytes | None
) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        _DESTINATION: subject,
        _SIZE: 0 if data is None else len(data),
    }
