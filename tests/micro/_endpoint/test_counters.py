"""Counters of one endpoint."""

from __future__ import annotations

from typing import Any

from micro._endpoint.counters import EndpointCounters
from micro._protocol.adr32 import endpoint_stats

EMPTY = {
    "num_requests": 0,
    "num_errors": 0,
    "last_error": "",
    "processing_time": 0,
    "average_processing_time": 0,
}


def snapshot(counters: EndpointCounters) -> dict[str, Any]:
    """Return the counters as STATS has them."""
    stats = endpoint_stats("e", "a.e", "q", counters, None)
    return {name: stats[name] for name in EMPTY}


def test_average_is_zero_before_the_first_request() -> None:
    assert snapshot(EndpointCounters()) == EMPTY


def test_average_is_truncated_to_an_integer() -> None:
    counters = EndpointCounters()
    counters.num_requests, counters.processing_time = 3, 20
    assert snapshot(counters)["average_processing_time"] == 6


def test_last_error_has_the_form_of_nats_go() -> None:
    counters = EndpointCounters()
    counters.fail(500, "first")
    counters.fail(404, "no such thing")
    assert snapshot(counters) == {**EMPTY, "num_errors": 2, "last_error": "404:no such thing"}


def test_reset_forgets_everything() -> None:
    counters = EndpointCounters()
    counters.fail(404, "no such thing")
    counters.num_requests, counters.processing_time = 3, 20
    counters.reset()
    assert snapshot(counters) == EMPTY
