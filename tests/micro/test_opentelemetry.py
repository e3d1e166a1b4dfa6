"""The spans of client and service form one trace, over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import micro
from micro import Request, ServiceError
from micro._endpoint.counters import BUCKETS
from micro.opentelemetry import TracedClient, trace_requests
from micro.testing import NatsServer

from .path_kit import PATHS, connections

LONG = 60.0
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traces:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def take(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.kind is kind]

    def one(self, kind: SpanKind) -> ReadableSpan:
        (span,) = self.take(kind)
        return span


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture(params=PATHS)
async def nc(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect by each path in turn."""
    async with connections(request.param) as connect:
        yield await connect(server.url)


@pytest.fixture
async def service(nc: NatsClient, traces: Traces) -> AsyncIterator[micro.Service]:
    middleware = trace_requests(tracer_provider=traces.provider)
    async with micro.add_service(nc, "traced", "1.0.0", middlewares=[middleware]) as service:
        yield service


@pytest.fixture
def client(caller: NatsClient, traces: Traces) -> TracedClient:
    return TracedClient(caller, tracer_provider=traces.provider)


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def described(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_both_sides_are_one_trace(
    service: micro.Service, client: TracedClient, traces: Traces
) -> None:
    seen: list[dict[str, str]] = []

    async def handle(request: Request) -> None:
        seen.append(request.headers())
        await asyncio.sleep(0)
        with traces.provider.get_tracer("test").start_as_current_span("work"):
            await asyncio.sleep(0)
        await request.respond(b"done")

    await service.add_endpoint("handle", handle, "traced.handle")

    headers = {"A": "b"}
    answer = await client.request("traced.handle", b"four", headers, timeout=LONG)

    assert answer.data == b"done"
    assert headers == {"A": "b"}
    ours, theirs = traces.one(SpanKind.CLIENT), traces.one(SpanKind.SERVER)
    work = traces.one(SpanKind.INTERNAL)
    assert seen[0]["A"] == "b"
    assert seen[0]["traceparent"].startswith("00-{:032x}-{:016x}-".format(*ids(ours)))
    assert theirs.parent is not None
    assert (theirs.parent.trace_id, theirs.parent.span_id) == ids(ours)
    assert work.parent is not None
    assert (work.parent.trace_id, work.parent.span_id) == ids(theirs)
    assert (ours.name, theirs.name) == ("request traced.handle", "process traced.handle")
    common = {
        "messaging.system": "nats",
        "messaging.destination.name": "traced.handle",
        "messaging.message.body.size": 4,
    }
    assert described(ours) == {
        **common,
        "messaging.operation.name": "request",
        "messaging.operation.type": "send",
    }
    assert described(theirs) == {
        **common,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
    }
    assert {span.status.status_code for span in (ours, theirs)} == {StatusCode.UNSET}


async def test_durations_are_measured_on_both_sides(nc: NatsClient, caller: NatsClient) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    plain, named = (
        trace_requests(meter_provider=provider),
        trace_requests("any", meter_provider=provider),
    )
    client = TracedClient(caller, meter_provider=provider)
    async with micro.add_service(nc, "measured", "1.0.0") as service:
        await service.add_endpoint("echo", echo, "measured.echo", middlewares=[plain])
        await service.add_endpoint("refuse", refuse, "measured.refuse.*", middlewares=[named])
        await client.request("measured.echo", b"", timeout=LONG)
        with pytest.raises(ServiceError):
            await client.request("measured.refuse.1", b"", timeout=LONG)

    data: Any = reader.get_metrics_data()
    points = {
        (metric.name, point.attributes["messaging.operation.name"], point.attributes.get(key)): (
            point
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        for key in ("messaging.destination.name", "error.type")
    }
    process, operation = "messaging.process.duration", "messaging.client.operation.duration"
    assert set(points) == {
        (process, "process", "measured.echo"),
        (process, "process", None),
        (process, "process", "404"),
        (operation, "request", "measured.echo"),
        (operation, "request", "measured.refuse.1"),
        (operation, "request", None),
        (operation, "request", "404"),
    }
    point = points[process, "process", "measured.echo"]
    assert (point.count, point.explicit_bounds) == (1, BUCKETS)
    assert 0 < point.sum <= points[operation, "request", "measured.echo"].sum


async def echo(request: Request) -> None:
    await request.respond(request.data())


async def respond(request: Request) -> None:
    await request.respond_error(503, "busy")


async def refuse(request: Request) -> None:
    raise ServiceError(404, "no such thing")


async def fail(request: Request) -> None:
    raise KeyError("secret")


async def silent(request: Request) -> None:
    return


async def late(request: Request) -> None:
    await asyncio.sleep(LONG)


@pytest.mark.parametrize(
    ("handler", "theirs", "ours", "events"),
    [
        (respond, ("503", StatusCode.ERROR, "busy"), ("503", "busy"), 0),
        (refuse, ("404", StatusCode.UNSET, None), ("404", "no such thing"), 0),
        (fail, ("KeyError", StatusCode.ERROR, "KeyError"), ("500", "internal error"), 1),
        (
            silent,
            ("NoResponseError", StatusCode.ERROR, "NoResponseError"),
            ("500", "handler did not respond"),
            1,
        ),
        (
            late,
            ("CancelledError", StatusCode.ERROR, "CancelledError"),
            ("504", "deadline exceeded"),
            1,
        ),
    ],
)
async def test_what_fails(
    service: micro.Service,
    client: TracedClient,
    traces: Traces,
    handler: Any,
    theirs: tuple[str, StatusCode, str | None],
    ours: tuple[str, str],
    events: int,
) -> None:
    await service.add_endpoint("fails", handler, "traced.fails", timeout=0.2)

    with pytest.raises(ServiceError):
        await client.request("traced.fails", timeout=LONG)

    span = traces.one(SpanKind.SERVER)
    assert (
        described(span)["error.type"],
        span.status.status_code,
        span.status.description,
    ) == theirs
    assert len(span.events) == events
    span = traces.one(SpanKind.CLIENT)
    assert (described(span)["error.type"], span.status.description) == ours
    assert span.status.status_code is StatusCode.ERROR


async def test_the_error_of_a_dependency_is_the_cause_in_the_span_of_the_service(
    nc: NatsClient, service: micro.Service, client: TracedClient, traces: Traces
) -> None:
    """The caller gets 502 without its text; the span has both."""
    inner = micro.Client(nc)

    async def missing(request: Request) -> None:
        raise ServiceError(404, "no such thing")

    async def passes(request: Request) -> None:
        await inner.request("traced.missing", timeout=LONG)

    async with micro.add_service(nc, "untraced", "1.0.0") as other:
        await other.add_endpoint("missing", missing, "traced.missing")
        await service.add_endpoint("passes", passes, "traced.passes")
        with pytest.raises(ServiceError, match="service error 502: dependency failed"):
            await client.request("traced.passes", timeout=LONG)
    span = traces.one(SpanKind.SERVER)
    assert described(span)["error.type"] == "502"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "dependency failed"
    (event,) = span.events
    assert "service error 404: no such thing" in str(dict(event.attributes or {}))


async def test_nobody_answers(client: TracedClient, traces: Traces) -> None:
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request("traced.nobody", timeout=LONG)

    span = traces.one(SpanKind.CLIENT)
    assert described(span)["error.type"] == "NoRespondersError"
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
async def test_a_parent_from_elsewhere(
    service: micro.Service, caller: NatsClient, traces: Traces, name: str
) -> None:
    await service.add_endpoint("refuse", refuse, "traced.refuse")

    await caller.request("traced.refuse", timeout=LONG, headers={name: PARENT})

    parent = traces.one(SpanKind.SERVER).parent
    assert parent is not None
    assert f"00-{parent.trace_id:032x}-{parent.span_id:016x}-01" == PARENT


@pytest.mark.parametrize("headers", [None, {"traceparent": "rubbish"}, {"traceparent": ""}])
async def test_no_parent(
    service: micro.Service, caller: NatsClient, traces: Traces, headers: dict[str, str] | None
) -> None:
    await service.add_endpoint("refuse", refuse, "traced.refuse")

    await caller.request("traced.refuse", timeout=LONG, headers=headers)

    assert traces.one(SpanKind.SERVER).parent is None


async def test_traces_of_requests_side_by_side_do_not_mix(
    service: micro.Service, nc: NatsClient, client: TracedClient, traces: Traces
) -> None:
    """Concurrent requests: each inner request is in the trace of its outer request."""
    inner_client = TracedClient(nc, tracer_provider=traces.provider)

    async def inner(request: Request) -> None:
        await request.respond(request.data())

    async def outer(request: Request) -> None:
        answer = await inner_client.request("traced.inner", request.data(), timeout=LONG)
        await request.respond(answer.data)

    await service.add_endpoint("inner", inner, "traced.inner")
    await service.add_endpoint("outer", outer, "traced.outer")

    asked = [client.request("traced.outer", b"%d" % n, timeout=LONG) for n in range(20)]
    answers = await asyncio.gather(*asked)

    assert [answer.data for answer in answers] == [b"%d" % n for n in range(20)]
    by_trace: dict[int, list[str]] = {}
    for span in (*traces.take(SpanKind.CLIENT), *traces.take(SpanKind.SERVER)):
        by_trace.setdefault(ids(span)[0], []).append(span.name)
    expected = ["process traced.inner", "process traced.outer"]
    expected += ["request traced.inner", "request traced.outer"]
    assert [sorted(names) for names in by_trace.values()] == [expected] * 20


async def test_an_endpoint_names_its_spans(
    nc: NatsClient, caller: NatsClient, traces: Traces
) -> None:
    middleware = trace_requests("shop orders", tracer_provider=traces.provider)
    async with micro.add_service(nc, "named", "1.0.0") as service:
        await service.add_endpoint(
            "all", refuse, "named.*", middlewares=[middleware], allow_wildcards=True
        )
        await caller.request("named.17", timeout=LONG)

    span = traces.one(SpanKind.SERVER)
    assert span.name == "shop orders"
    assert described(span)["messaging.destination.name"] == "named.17"


async def test_without_an_sdk_nothing_changes(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(nc, "plain", "1.0.0", middlewares=[trace_requests()]) as service:
        await service.add_endpoint("refuse", refuse, "plain.refuse")
        with pytest.raises(ServiceError) as caught:
            await TracedClient(caller).request("plain.refuse", timeout=LONG)

    assert caught.value.code == 404
    assert not trace.get_current_span().get_span_context().is_valid
