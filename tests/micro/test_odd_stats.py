"""Odd STATS of one service cost only its own lines, in the exporter, the dashboard and the CLI."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from micro._client.rates import MAX_TEXT
from micro._endpoint.counters import MAX_LAST_ERROR, EndpointCounters
from micro._protocol.models import ServiceInfo, ServiceStats
from micro.cli._output import make_console
from micro.cli._stats import Look as CliLook
from micro.cli._stats import endpoint_table
from micro.dashboard._overview import Look, overview_in_steps
from micro.prometheus import families

HUGE = 10**400
OWN = {"in_flight": HUGE, "p50_ns": HUGE, "p99_ns": -HUGE, "errors": {"1": HUGE, "x" * 5000: 1}}


def stats(id: str, started: str = "2026-01-01T00:00:00Z", **counters: Any) -> ServiceStats:
    endpoint = {"name": "e", "subject": "e", "num_requests": 1, **counters}
    body = {"name": "odd", "id": id, "version": "1.0.0", "started": started}
    text = json.dumps({**body, "endpoints": [endpoint]})
    return ServiceStats.model_validate_json(text)


ODD = [
    stats("huge", num_requests=HUGE, num_errors=HUGE, processing_time=HUGE),
    stats("average", average_processing_time=HUGE, num_requests=-HUGE),
    stats("own", data={"micro": OWN}),
    stats("first", "0001-01-01T00:00:00+14:00"),
    stats("last", "9999-12-31T23:59:59-14:00"),
    stats("naive", "0001-01-01T00:00:00"),
    stats("long", last_error="x" * 1_000_000, queue_group="q" * 1_000_000),
    stats("good"),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda each: each.id)
def test_no_tool_fails_or_grows(odd: ServiceStats) -> None:
    class Both(Collector):
        def collect(self) -> list[Metric]:
            return list(families([odd, stats("good")]))

    registry = CollectorRegistry()
    registry.register(Both())
    exposition = generate_latest(registry).decode()
    assert 'instance="good"' in exposition
    assert len(exposition) < 20_000

    look = Look(1.0, {}, {(each.name, each.id): each for each in (odd, stats("good"))}, {})
    assert len(json.dumps(run(look))) < 5_000

    table = endpoint_table(CliLook(1.0, (odd, stats("good"))), {})
    console = make_console()
    with console.capture() as shown:
        console.print(table)
    assert "good" in shown.get()
    assert len(shown.get()) < 5_000
    json.dumps(odd.as_dict())


def run(look: Look, before: Look | None = None) -> Any:
    """Return the overview; the longest step is `run.longest`."""
    steps, longest, total = overview_in_steps(look, before), 0.0, 0.0
    while True:
        began = time.thread_time()
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        finally:
            elapsed = time.thread_time() - began
            longest, total = max(longest, elapsed), total + elapsed
            times[:] = [longest, total]


times: list[float] = []


def test_an_overview_of_10_000_instances_takes_no_long_step() -> None:
    answers, infos = {}, {}
    for number in range(10_000):
        id = f"i{number}"
        answers["odd", id] = stats(id)
        infos["odd", id] = ServiceInfo(name="odd", id=id, version="1.0.0")
    look = Look(1.0, infos, answers, {})

    rounds = []
    for _ in range(3):  # a collection of all garbage of the test process may fall into one of them
        run(Look(2.0, infos, answers, {}), look)
        rounds.append(tuple(times))

    longest, total = min(rounds)
    print(f"10,000 instances: {total:.3f} s in all (bar 0.5 s), longest step {longest:.4f} s")
    assert longest < 0.1
    assert total < 1.5


def test_last_error_is_short() -> None:
    counters = EndpointCounters()
    counters.fail(400, "x" * 1_000_000)

    assert len(counters.last_error) == MAX_LAST_ERROR == MAX_TEXT
