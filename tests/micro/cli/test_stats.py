"""Rates from two looks at the same counters."""

from __future__ import annotations

from typing import Any

from micro._models import ServiceStats
from micro.cli._stats import Look, Rate

KEY = ("i1", "add", "math.add")


def look(at: float, requests: int, errors: int = 0, id: str = "i1") -> Look:
    endpoint: dict[str, Any] = {
        "name": "add",
        "subject": "math.add",
        "num_requests": requests,
        "num_errors": errors,
    }
    values = {"name": "s", "id": id, "version": "1.0.0", "started": "2024-01-01T00:00:00Z"}
    return Look(at, (ServiceStats.from_response({**values, "endpoints": [endpoint]}),))


def test_rates_are_per_second() -> None:
    assert look(12.0, 50, 4).rates(look(10.0, 10)) == {KEY: Rate(20.0, 2.0)}


def test_an_instance_that_is_new_has_no_rate() -> None:
    assert look(12.0, 50).rates(look(10.0, 10, id="i2")) == {}


def test_counters_that_were_reset_start_from_zero() -> None:
    assert look(12.0, 6, 2).rates(look(10.0, 100, 50)) == {KEY: Rate(3.0, 1.0)}


def test_a_single_look_has_no_rates() -> None:
    assert look(1.0, 5).rates(look(1.0, 5)) == {}
