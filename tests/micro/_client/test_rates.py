"""Rates from two answers to STATS, and what only micro tells in them."""

from __future__ import annotations

from typing import Any

import pytest

from micro._client.rates import MAX_COUNT, Rate, bounded, own_figures, rate_between, total_rate
from micro._protocol.models import EndpointStats


def counted(requests: int, errors: int = 0, data: Any = None) -> EndpointStats:
    return EndpointStats(
        name="add", subject="math.add", num_requests=requests, num_errors=errors, data=data
    )


@pytest.mark.parametrize(
    ("then", "now", "seconds", "expected"),
    [
        (counted(10), counted(50, 4), 2.0, Rate(20.0, 2.0)),
        (counted(100, 50), counted(6, 2), 2.0, Rate(3.0, 1.0)),  # reset in between
        (counted(10, 5), counted(12, 3), 1.0, Rate(2.0, 0.0)),  # errors alone cannot be reset
        (None, counted(50), 2.0, None),
        (counted(10), counted(50), 0.0, None),
        (counted(0), counted(10**400), 1.0, Rate(float(MAX_COUNT), 0.0)),
    ],
)
def test_rates_are_per_second(
    then: EndpointStats | None, now: EndpointStats, seconds: float, expected: Rate | None
) -> None:
    assert rate_between(then, now, seconds) == expected


def test_rates_add_up() -> None:
    assert total_rate([Rate(1.0, 0.5), Rate(2.0, 0.25)]) == Rate(3.0, 0.75)
    assert total_rate([Rate(1.0, 0.5), None]) == Rate(1.0, 0.5)
    assert total_rate([None]) is None


@pytest.mark.parametrize("data", [None, 7, [], {}, {"micro": 7}, {"other": {}}])
def test_other_services_have_no_figures_of_micro(data: Any) -> None:
    assert own_figures(counted(1, data=data)) == {}


def test_services_made_with_micro_have_them() -> None:
    assert own_figures(counted(1, data={"micro": {"queued": 3}})) == {"queued": 3}


def test_counts_are_bounded_both_ways() -> None:
    assert [bounded(count) for count in (-1, 7, 10**400)] == [0, 7, MAX_COUNT]
