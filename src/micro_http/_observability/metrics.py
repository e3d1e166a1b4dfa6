"""Observers for Prometheus and OpenTelemetry; each library is imported on first use."""

import time
from typing import TYPE_CHECKING

from micro_http._engine.engine import Observer, Try
from micro_http._errors import ConfigError
from micro_http._httpx import httpx

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from prometheus_client import CollectorRegistry


def prometheus_observer(registry: "CollectorRegistry | None" = None) -> Observer:
    """Return an observer that feeds two metrics; make one and share it between clients.

    `micro_http_tries_total{method, origin, outcome}` counts tries; the outcome is the status or
    the class of the error. `micro_http_try_seconds{method, origin}` is a histogram of durations.

    Args:
        registry: Registry of the metrics; the default registry of the library if None.

    Raises:
        ConfigError: prometheus-client is not installed (extra `prometheus`).
    """
    try:
        import prometheus_client
    except ImportError as error:
        raise _missing("prometheus-client", "prometheus") from error
    registry = prometheus_client.REGISTRY if registry is None else registry
    labels = ("method", "origin")
    tries = prometheus_client.Counter(
        "micro_http_tries", "HTTP tries", (*labels, "outcome"), registry=registry
    )
    seconds = prometheus_client.Histogram(
        "micro_http_try_seconds", "Seconds per HTTP try", labels, registry=registry
    )

    def observe(ended: Try) -> None:
        tries.labels(ended.method, ended.origin, _outcome(ended)).inc()
        seconds.labels(ended.method, ended.origin).observe(ended.elapsed)

    return observe


def opentelemetry_observer(
    tracer_provider: "TracerProvider | None" = None, meter_provider: "MeterProvider | None" = None
) -> Observer:
    """Return an observer that records a client span and a duration for each try.

    The span has the name of the method and the caller's span as parent. The histogram is
    `http.client.request.duration`, in seconds.

    Args:
        tracer_provider: The global one if None.
        meter_provider: The global one if None.

    Raises:
        ConfigError: opentelemetry-api is not installed (extra `opentelemetry`).

    Source: OpenTelemetry semantic conventions for HTTP clients.
    """
    try:
        from opentelemetry import metrics, trace
    except ImportError as error:
        raise _missing("opentelemetry-api", "opentelemetry") from error
    tracer = trace.get_tracer("micro_http", tracer_provider=tracer_provider)
    duration = metrics.get_meter("micro_http", meter_provider=meter_provider).create_histogram(
        "http.client.request.duration", unit="s", description="Duration of one try"
    )

    def observe(ended: Try) -> None:
        origin = httpx.URL(ended.origin)
        attributes: dict[str, str | int] = {
            "http.request.method": ended.method,
            "server.address": origin.host,
            "url.scheme": origin.scheme,
        }
        if ended.status_code is None:
            attributes["error.type"] = _outcome(ended)
        else:
            attributes["http.response.status_code"] = ended.status_code
        duration.record(ended.elapsed, attributes)
        now_ns = time.time_ns()
        span = tracer.start_span(
            ended.method,
            kind=trace.SpanKind.CLIENT,
            attributes={**attributes, "http.request.resend_count": ended.number - 1},
            start_time=now_ns - int(ended.elapsed * 1e9),
        )
        if ended.error is not None:
            span.set_status(trace.StatusCode.ERROR, _outcome(ended))
        span.end(now_ns)

    return observe


def _outcome(ended: Try) -> str:
    return type(ended.error).__name__ if ended.status_code is None else str(ended.status_code)


def _missing(library: str, extra: str) -> ConfigError:
    return ConfigError(f"{library} is not installed: expected the extra 'natsmicro[{extra}]'")
