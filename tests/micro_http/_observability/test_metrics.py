"""Prometheus and OpenTelemetry see each try; without the libraries the extra is named."""

import sys
from collections.abc import Callable

import httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from micro_http import (
    AsyncResilientClient,
    ConfigError,
    Observer,
    RetryPolicy,
    no_delays,
    opentelemetry_observer,
    prometheus_observer,
)


async def fetch_with(observer: Observer) -> None:
    """Make one request of three tries: refused, 503, 200."""
    outcomes: list[Exception | int] = [httpx.ConnectError("refused"), 503, 200]

    def handler(request: httpx.Request) -> httpx.Response:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome)

    policy = RetryPolicy(statuses=frozenset({503}))
    transport = httpx.MockTransport(handler)
    with no_delays():
        async with AsyncResilientClient(
            policy, observers=[observer], transport=transport
        ) as client:
            await (await client.get("https://a.test/path?secret=1"))


async def test_prometheus_counts_tries_by_outcome_and_times_them() -> None:
    registry = CollectorRegistry()
    await fetch_with(prometheus_observer(registry))

    text = generate_latest(registry).decode()
    for outcome in ("ConnectError", "503", "200"):
        assert (
            'micro_http_tries_total{method="GET",origin="https://a.test",'
            f'outcome="{outcome}"}} 1.0' in text
        )
    assert 'micro_http_try_seconds_count{method="GET",origin="https://a.test"} 3.0' in text
    assert "secret" not in text


async def test_opentelemetry_makes_a_span_of_each_try_under_the_callers() -> None:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    observer = opentelemetry_observer(tracers, MeterProvider([reader]))
    with tracers.get_tracer("test").start_as_current_span("caller"):
        await fetch_with(observer)

    *tries, caller = exporter.get_finished_spans()
    assert [span.name for span in tries] == ["GET"] * 3
    assert caller.context is not None
    for number, span in enumerate(tries):
        assert span.parent is not None
        assert span.parent.span_id == caller.context.span_id
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
        assert span.attributes is not None
        assert span.attributes["server.address"] == "a.test"
        assert span.attributes["http.request.resend_count"] == number
    assert [(span.attributes or {}).get("http.response.status_code") for span in tries] == [
        None,
        503,
        200,
    ]
    assert (tries[0].attributes or {})["error.type"] == "ConnectError"
    assert [span.status.is_ok for span in tries] == [False, True, True]
    assert "http.client.request.duration" in str(reader.get_metrics_data())


@pytest.mark.parametrize(
    ("make", "module", "message"),
    [
        (
            prometheus_observer,
            "prometheus_client",
            "prometheus-client is not installed: expected the extra 'natsmicro[prometheus]'",
        ),
        (
            opentelemetry_observer,
            "opentelemetry",
            "opentelemetry-api is not installed: expected the extra 'natsmicro[opentelemetry]'",
        ),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    make: Callable[[], Observer], module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value) == message
