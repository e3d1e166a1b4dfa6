"""Rates from two values of the same counters."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from micro._client.rates import Rate
from micro._protocol.models import ServiceStats
from micro.cli._stats import Look, endpoint_table

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


def rows(*arguments: Any, **keywords: Any) -> list[list[str]]:
    console = Console(width=400, file=io.StringIO())
    console.print(endpoint_table(*arguments, **keywords))
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def several(*endpoints: dict[str, Any]) -> Look:
    values = {"name": "s", "id": "i1", "version": "1.0.0", "started": "2024-01-01T00:00:00Z"}
    return Look(1.0, (ServiceStats.from_response({**values, "endpoints": list(endpoints)}),))


def endpoint(name: str, data: Any = None) -> dict[str, Any]:
    return {"name": name, "subject": name, "num_requests": 1, "data": data}


def test_an_endpoint_table_has_percentiles_and_load_where_they_are_known() -> None:
    own = {"p50_ns": 1500, "p95_ns": 2_000_000, "p99_ns": 3_000_000_000, "rejected": 1234}
    look = several(
        endpoint("ours", {"micro": {**own, "in_flight": 3, "queued": 2}}),
        endpoint("theirs"),
        endpoint("odd", {"micro": {"p50_ns": "fast", "queued": None}}),
        endpoint("user", {"micro": 5}),
    )

    header, ours, *others = rows(look, {})

    assert " ".join(header).endswith("Average p50 p95 p99 In flight Queued Refused Last error")
    assert ours[2] == "ours"
    assert ours[-9:] == ["1.5", "us", "2.0", "ms", "3.00", "s", "3", "2", "1,234"]
    assert [row[-6:] for row in others] == [["-"] * 6] * 3


def test_the_busiest_come_first() -> None:
    look = several(endpoint("idle"), endpoint("new"), endpoint("busy"), endpoint("some"))
    rates = {
        ("i1", name, name): Rate(n, 0.0) for name, n in {"idle": 0.0, "busy": 9, "some": 1}.items()
    }

    assert [row[2] for row in rows(look, rates)[1:]] == ["idle", "new", "busy", "some"]
    first = [row[2] for row in rows(look, rates, busiest_first=True, limit=2)[1:]]
    assert first == ["busy", "some"]


def test_endpoints_of_one_name_are_told_apart() -> None:
    first, second = (dict(endpoint("get"), subject=f"{group}.get") for group in "ab")

    table = rows(several(first, second, endpoint("put")), {})
    assert [" ".join(row[2:4]) for row in table[1:3]] == ["get (a.get)", "get (b.get)"]
    assert table[3][2] == "put"
