"""Counters of one endpoint."""

from __future__ import annotations

from micro._endpoint.counters import EndpointCounters

EMPTY = {
    "num_requests": 0,
    "num_errors": 0,
    "last_error": "",
    "processing_time": 0,
    "average_processing_time": 0,
}


def test_average_is_zero_before_the_first_request() -> None:
    assert EndpointCounters().snapshot() == EMPTY


def test_average_is_truncated_to_an_integer() -> None:
    counters = EndpointCounters()
    counters.num_requests, counters.processing_time = 3, 20
    assert counters.snapshot()["average_processing_time"] == 6


def test_last_error_has_the_form_of_nats_go() -> None:
    counters = EndpointCounters()
    counters.fail(500, "first")
    counters.fail(404, "no such thing")
    assert counters.snapshot() == {**EMPTY, "num_errors": 2, "last_error": "404:no such thing"}


def test_reset_forgets_everything() -> None:
    counters = EndpointCounters()
    counters.fail(404, "no such thing")
    counters.num_requests, counters.processing_time = 3, 20
    counters.reset()
    assert counters.snapshot() == EMPTY
