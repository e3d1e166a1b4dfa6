"""The metrics of own services and of all discovered services, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import micro
from micro import Request, ServiceError, options
from micro._wire.fence import fence
from micro.prometheus import DiscoveryCollector, ServiceCollector
from micro.testing import nats_server

LONG = 60.0
Samples = dict[tuple[str, str], float]


async def odd(request: Request) -> None:
    if request.data() == b"odd":
        raise ServiceError(418, "teapot")
    await request.respond(b"")


def read(text: bytes, *labels: str) -> Samples:
    """Return the values of an exposition by metric and labels, without times."""
    return {
        (sample.name, "/".join(sample.labels.get(label, "") for label in labels)): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not any(part in sample.name for part in ("seconds", "created"))
    }


def scrape(collector: Any) -> bytes:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


async def test_the_services_of_this_process(nc: NatsClient, caller: NatsClient) -> None:
    async with (
        micro.add_service(nc, "one", "1.0.0", id_generator=lambda: "one-1") as one,
        micro.add_service(nc, "two", "2.0.0", id_generator=lambda: "two-1") as two,
    ):
        endpoint = await one.add_endpoint("odd", odd, "metrics.odd")
        await two.add_endpoint("odd", odd, "metrics.two", queue_group="")
        for data in (b"", b"odd", b"odd"):
            await caller.request("metrics.odd", data, timeout=LONG)
        text = await asyncio.to_thread(scrape, ServiceCollector(one, two))
        stats = one.stats()

    assert endpoint.name == "odd"
    metrics = read(
        text, "service", "version", "instance", "endpoint", "subject", "queue_group", "code"
    )
    first = "one/1.0.0/one-1/odd/metrics.odd/q/"
    second = "two/2.0.0/two-1/odd/metrics.two//"
    assert metrics == {
        ("micro_service_info", "one/1.0.0/one-1////"): 1,
        ("micro_service_info", "two/2.0.0/two-1////"): 1,
        ("micro_endpoint_requests_total", first): 3,
        ("micro_endpoint_requests_total", second): 0,
        ("micro_endpoint_errors_total", first): 2,
        ("micro_endpoint_errors_total", second): 0,
        ("micro_endpoint_errors_by_code_total", first + "418"): 2,
        **{
            (f"micro_endpoint_{name}", labels): 0
            for name in ("in_flight", "queued", "rejected_total", "expired_total")
            for labels in (first, second)
        },
    }
    seconds = {
        (sample.name, sample.labels["service"], sample.labels.get("quantile")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if "seconds" in sample.name
    }
    spent = stats.endpoints[0].processing_time / 1e9
    name = "micro_endpoint_processing_seconds_total"
    assert seconds[name, "one", None] == pytest.approx(spent)
    started = seconds["micro_service_started_timestamp_seconds", "one", None]
    assert started == pytest.approx(stats.started.timestamp())
    latency = [seconds["micro_endpoint_latency_seconds", "one", q] for q in ("0.5", "0.95", "0.99")]
    assert 0 < latency[0] <= latency[1] <= latency[2]


async def test_histograms_of_instances_add_up(nc: NatsClient, caller: NatsClient) -> None:
    async def wait(request: Request) -> None:
        await asyncio.sleep(int(request.data()) / 1000)
        await request.respond(b"")

    async with (
        micro.add_service(nc, "one", "1.0.0") as one,
        micro.add_service(nc, "one", "1.0.0") as two,
    ):
        await one.add_endpoint("wait", wait, "histogram.one")
        await two.add_endpoint("wait", wait, "histogram.two")
        for subject, milliseconds in (("one", "0"), ("one", "30"), ("two", "120")):
            await caller.request(f"histogram.{subject}", milliseconds.encode(), timeout=LONG)
        text = await asyncio.to_thread(scrape, ServiceCollector(one, two))
        one.reset()
        empty = await asyncio.to_thread(scrape, ServiceCollector(one))

    samples = [
        (sample.labels, sample.name.rpartition("_")[2], sample.value)
        for family in text_string_to_metric_families(text.decode())
        if family.name == "micro_endpoint_duration_seconds"
        for sample in family.samples
    ]
    at_most = {
        float(labels["le"]): sum(v for other, _, v in samples if other.get("le") == labels["le"])
        for labels, kind, _ in samples
        if kind == "bucket"
    }
    total = {kind: sum(v for _, k, v in samples if k == kind) for kind in ("count", "sum")}
    assert at_most[0.025] <= 1  # the others waited longer, the first one perhaps, too
    assert at_most[0.1] <= 2
    assert at_most[float("inf")] == total["count"] == 3
    assert sorted(at_most.values()) == [at_most[bound] for bound in sorted(at_most)]
    assert total["sum"] > 0.15
    assert b"micro_endpoint_duration_seconds_bucket" not in empty


def stats_of(id: str, *endpoints: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "type": "io.nats.micro.v1.stats_response",
            "name": "foreign",
            "id": id,
            "version": "1.0.0",
            "started": "2024-01-01T00:00:00Z",
            "endpoints": endpoints,
        }
    ).encode()


async def test_odd_answers_do_not_spoil_a_scrape() -> None:
    """Prometheus refuses a page with a duplicate series."""
    plain = {"name": "e", "subject": "e", "num_requests": 3}
    strange = {"in_flight": "many", "errors": {"x": None, "400": 1}, "p50_ns": [], "queued": 2}
    answers = [
        stats_of("A", plain, plain),
        stats_of("A", plain),
        stats_of("B", {**plain, "data": {"micro": strange}}, {**plain, "name": 'a"b\n\\'}),
        stats_of("C", {**plain, "data": {"micro": 7}}, {**plain, "name": "x", "data": [1]}),
        b"no JSON",
    ]
    with nats_server() as server:
        async with micro.Context() as context:
            await context.connect(options.servers(server.url))

            async def answer(msg: Any) -> None:
                for body in answers:
                    await context.client.publish(msg.reply, body)

            await context.client.subscribe("$SRV.STATS.foreign", cb=answer)
            await fence(context.client)
            collector = DiscoveryCollector(context, "foreign", max_wait=2.0)
            text = await asyncio.to_thread(scrape, collector)

    metrics = read(text, "instance", "endpoint", "code")
    requests = {k[1]: v for k, v in metrics.items() if k[0] == "micro_endpoint_requests_total"}
    assert requests == {"A/e/": 3, "B/e/": 3, 'B/a"b\n\\/': 3, "C/e/": 3, "C/x/": 3}
    own = {k: v for k, v in metrics.items() if k[1].startswith("B/e") and k[0] in OWN}
    assert own == {
        ("micro_endpoint_errors_by_code_total", "B/e/400"): 1,
        ("micro_endpoint_queued", "B/e/"): 2,
    }
    assert metrics["micro_discovery_up", "//"] == 1


OWN = ("micro_endpoint_errors_by_code_total", "micro_endpoint_queued", "micro_endpoint_in_flight")


async def test_a_scrape_without_services(nc: NatsClient) -> None:
    async with micro.Context(nc) as context:
        collector = DiscoveryCollector(context, "nobody", max_wait=LONG)
        text = await asyncio.to_thread(scrape, collector)

    assert read(text) == {("micro_discovery_up", ""): 1}


async def test_a_scrape_without_server(caplog: pytest.LogCaptureFixture) -> None:
    with nats_server() as server:
        async with micro.Context() as context:
            gone = asyncio.Event()

            async def note() -> None:
                gone.set()

            context.add_disconnected_callback(note)
            await context.connect(options.servers(server.url))
            collector = DiscoveryCollector(context)
            server.stop()
            await gone.wait()
            text = await asyncio.to_thread(scrape, collector)

    assert read(text) == {("micro_discovery_up", ""): 0}
    lines = [one.getMessage() for one in caplog.records if one.name == "micro.prometheus"]
    assert lines == ["cannot ask for statistics: not connected"]


async def test_a_scrape_while_the_server_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """The connection is open, and no answer arrives although services run."""
    with nats_server() as server:
        async with micro.Context() as context:
            await context.connect(options.servers(server.url))
            collector = DiscoveryCollector(context, max_wait=0.3)
            server.freeze()
            try:
                text = await asyncio.to_thread(scrape, collector)
            finally:
                server.thaw()

    assert read(text) == {("micro_discovery_up", ""): 0}
    assert "cannot ask for statistics: the server did not answer within 0.3 s" in caplog.text
