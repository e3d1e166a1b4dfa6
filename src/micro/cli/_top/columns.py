"""The columns of `micro top`, as many as the terminal has room for; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from micro._client.rates import Row, shortened
from micro.cli._output import clean

GAP = 2
"""Cells beside a column."""


class Column(NamedTuple):
    """One column.

    Attributes:
        title: The title.
        width: The least width in cells.
        rank: The order in which columns get room; 0 are always there.
        cell: The text of a row.
        right: Whether numbers stand on the right.
    """

    title: str
    width: int
    rank: int
    cell: Callable[[Row], str]
    right: bool = True


def duration(ns: int | None) -> str:
    """Return nanoseconds for people."""
    if ns is None:
        return "-"
    if ns < 1_000_000:
        return f"{ns / 1_000:.1f} us"
    return f"{ns / 1_000_000:.1f} ms" if ns < 1_000_000_000 else f"{ns / 1_000_000_000:.2f} s"


def number(value: int | None) -> str:
    """Return a number that has at most six characters, such as `12.3k`."""
    if value is None:
        return "-"
    for limit, divisor, unit in ((10_000, 1, ""), (1_000_000, 1e3, "k"), (10**9, 1e6, "M")):
        if value < limit:
            return f"{value:,}" if divisor == 1 else f"{value / divisor:.1f}{unit}"
    return f"{value / 1e9:.3g}G"


def rate(value: float | None) -> str:
    """Return a number of requests per second."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else number(round(value))


COLUMNS = (
    Column("Service", 14, 0, lambda row: row.service, right=False),
    Column("Endpoint", 14, 0, lambda row: row.name, right=False),
    Column("Instances", 11, 3, lambda row: row.instance, right=False),
    Column("Req/s", 7, 0, lambda row: rate(None if row.rate is None else row.rate.requests)),
    Column("Err/s", 6, 1, lambda row: rate(None if row.rate is None else row.rate.errors)),
    Column("p99", 8, 1, lambda row: duration(row.worst("p99_ns"))),
    Column("Flight", 6, 2, lambda row: number(row.total("in_flight"))),
    Column("Queued", 6, 4, lambda row: number(row.total("queued"))),
    Column("Refused", 7, 4, lambda row: number(row.total("rejected"))),
    Column("Requests", 8, 5, lambda row: number(row.requests)),
    Column("Errors", 7, 5, lambda row: number(row.errors)),
    Column("p50", 8, 6, lambda row: duration(row.worst("p50_ns"))),
    Column("Average", 8, 6, lambda row: duration(row.average_ns)),
    Column("Subject", 20, 7, lambda row: row.subject, right=False),
    Column("Last error", 30, 8, lambda row: shortened(row.last_error), right=False),
)


def fitting(width: int, *, per_instance: bool = False) -> list[Column]:
    """Return the columns that have room in a terminal of a width, in their order.

    Room that is left goes to the columns of names, in equal parts.

    Args:
        width: The width in cells.
        per_instance: Whether rows are instances, whose ids are always there.
    """
    room = width - 2  # for the scroll bar
    always = {"Instances"} if per_instance else set()
    ranks = {column.title: 0 if column.title in always else column.rank for column in COLUMNS}
    kept: set[str] = set()
    for column in sorted(COLUMNS, key=lambda column: ranks[column.title]):
        needed = column.width + GAP
        if ranks[column.title] and needed > room:
            break
        room -= needed
        kept.add(column.title)
    columns = [column for column in COLUMNS if column.title in kept]
    names = [column.title for column in columns if not column.right]
    more = max(0, room) // len(names)
    return [c._replace(width=c.width + more) if c.title in names else c for c in columns]


def cells(row: Row, columns: Iterable[Column]) -> list[str]:
    """Return the texts of a row, cut to the widths of the columns."""
    return [_cut(clean(column.cell(row)), column) for column in columns]


def _cut(text: str, column: Column) -> str:
    if len(text) > column.width:
        text = text[: column.width - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return text.rjust(column.width) if column.right else text
