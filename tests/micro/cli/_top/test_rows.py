"""The rows and columns of `micro top`."""

from __future__ import annotations

from typing import Any

import pytest

from micro._client.rates import Rate
from micro._protocol.models import ServiceStats
from micro.cli._top.columns import COLUMNS, GAP, cells, duration, fitting, number
from micro.cli._top.rows import ORDERS, chosen, rows_of


def stats(id: str, *endpoints: dict[str, Any], name: str = "shop") -> ServiceStats:
    values = {"name": name, "id": id, "version": "1.0.0", "started": "2024-01-01T00:00:00Z"}
    return ServiceStats.from_response({**values, "endpoints": list(endpoints)})


def endpoint(name: str, subject: str, requests: int, **figures: Any) -> dict[str, Any]:
    data = {"micro": figures} if figures else None
    return {
        "name": name,
        "subject": subject,
        "num_requests": requests,
        "data": data,
        "processing_time": requests * 1_000_000,
        "num_errors": requests // 2,
    }


TWO = (
    stats("i1", endpoint("get", "a", 10, p99_ns=5, in_flight=1, errors={"404": 5})),
    stats("i2", endpoint("get", "a", 20, p99_ns=7, in_flight=2, errors={"404": 9, "500": 1})),
)


def test_instances_of_an_endpoint_are_one_row() -> None:
    rates = {("i1", "get", "a"): Rate(1.0, 0.5), ("i2", "get", "a"): Rate(2.0, 0.0)}
    [row] = rows_of(TWO, rates, per_instance=False)

    assert (row.service, row.name, row.instance, row.requests, row.errors) == (
        *("shop", "get", "2 instances"),
        *(30, 15),
    )
    assert row.rate == Rate(3.0, 0.5)
    assert (row.worst("p99_ns"), row.total("in_flight"), row.total("queued")) == (7, 3, None)
    assert row.average_ns == 1_000_000
    assert row.codes() == {"404": 14, "500": 1}


def test_each_instance_may_have_a_row() -> None:
    rows = rows_of(TWO, {}, per_instance=True)

    assert [(row.instance, row.requests, row.rate) for row in rows] == [
        ("i1", 10, None),
        ("i2", 20, None),
    ]


def test_endpoints_of_one_name_show_their_subjects() -> None:
    service = stats("i1", endpoint("get", "a.get", 1), endpoint("get", "b.get", 1))

    names = [row.name for row in rows_of([service], {}, per_instance=False)]
    assert names == ["get (a.get)", "get (b.get)"]


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_sorts_and_the_filter_finds_any_name(order: str) -> None:
    services = [*TWO, stats("i3", endpoint("other", "c", 90), name="bank")]
    rows = rows_of(services, {("i3", "other", "c"): Rate(9.0, 9.0)}, per_instance=False)

    assert len(chosen(rows, order=order, text="")) == 2
    assert [row.service for row in chosen(rows, order=order, text="BANK")] == ["bank"]
    assert [row.service for row in chosen(rows, order="requests/s", text="")] == ["bank", "shop"]


@pytest.mark.parametrize("per_instance", [False, True])
def test_columns_fit_every_terminal_from_80_on(per_instance: bool) -> None:
    kept = 0
    for width in range(80, 260):
        columns = fitting(width, per_instance=per_instance)
        assert sum(column.width + GAP for column in columns) < width
        assert kept <= len(columns)
        kept = len(columns)
    assert kept == len(COLUMNS)


def test_the_most_important_columns_come_first() -> None:
    titles = [column.title for column in fitting(80)]

    assert titles == ["Service", "Endpoint", "Req/s", "Err/s", "p99", "Flight"]
    assert "Instances" in [column.title for column in fitting(80, per_instance=True)]


def test_a_long_name_is_cut_and_control_characters_are_replaced() -> None:
    service = stats("i1", endpoint("e" * 100, "a", 1), name="a\x1b[2J")
    [row] = rows_of([service], {}, per_instance=False)
    columns = fitting(80)

    texts = cells(row, columns)
    assert all(len(text) <= column.width for text, column in zip(texts, columns, strict=True))
    assert texts[0] == "a\N{REPLACEMENT CHARACTER}[2J"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (9_999, "9,999"), (12_345, "12.3k"), (5_000_000, "5.0M"), (10**12, "1e+03G")],
)
def test_numbers_are_short(value: int | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [(None, "-"), (900, "0.9 us"), (1_500_000, "1.5 ms"), (2_000_000_000, "2.00 s")],
)
def test_durations_have_units(ns: int | None, text: str) -> None:
    assert duration(ns) == text
