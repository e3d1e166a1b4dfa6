"""`micro stats` and `micro top`: the counters of every endpoint, once or live with rates."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from micro._client.rates import Rate, Row, consumer_figures, rate_between, shortened
from micro._errors import ConfigError
from micro._protocol.models import EndpointStats, ServiceStats
from micro.cli._discover import Name, no_answer
from micro.cli._flags import Discovery, Interval, Json, Session
from micro.cli._output import add_row, make_console, make_table, print_json
from micro.cli._top.columns import duration
from micro.cli._top.rows import ORDERS, EndpointKey, rows_of

Cell = Callable[[Row], str]
"""Return the text of a row in one column."""


@dataclass(frozen=True)
class Look:
    """All counters at one moment of the monotonic clock."""

    at: float
    services: tuple[ServiceStats, ...]

    def counters(self) -> dict[EndpointKey, EndpointStats]:
        """Return the counters of each endpoint of each instance."""
        return {
            (service.id, endpoint.name, endpoint.subject): endpoint
            for service in self.services
            for endpoint in service.handlers
        }

    def rates(self, before: Look) -> dict[EndpointKey, Rate]:
        """Return the rates since `before` of the endpoints in both."""
        old, seconds = before.counters(), self.at - before.at
        rates = {
            key: rate_between(old.get(key), now, seconds) for key, now in self.counters().items()
        }
        return {key: rate for key, rate in rates.items() if rate is not None}


async def stats(
    connection: Discovery,
    name: Name = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Update until Ctrl-C.")] = False,
    interval: Interval = 1.0,
    as_json: Json = False,
) -> None:
    """Show requests, errors and times of every endpoint.

    With --watch a live table also shows rates and percentiles, until Ctrl-C. With --json it prints
    a line per update.

    Examples:
      micro stats
      micro stats echo --watch --interval 500ms
      micro stats --json
    """
    if watch:
        await _watch(connection, name, interval, as_json=as_json)
        return
    async with connection.open() as link:
        look = await _look(link, name)
    if not look.services:
        raise no_answer(link, name)
    if as_json:
        print_json(_plain(look, None))
    else:
        make_console().print(endpoint_table(look, {}, COUNTERS))


async def top(
    connection: Discovery, name: Name = None, interval: Interval = 1.0, as_json: Json = False
) -> None:
    """Show the busiest endpoints, by requests per second, until q or Ctrl-C.

    In a terminal, s sorts by another column, / filters, i shows the instances, and Enter the
    details of an endpoint. Percentiles cover the latest requests, and only services made with
    micro; that of several instances is the greatest. With --json, or into a pipe, it prints a line
    or a table per update.

    Examples:
      micro top
      micro top echo --interval 500ms
      micro top --json | jq '.[].endpoints[].requests_per_second'
    """
    if not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        await _run_app(connection, name, interval)
    else:
        await _watch(connection, name, interval, as_json=as_json, busiest_first=True)


async def _run_app(connection: Discovery, name: str | None, interval: float) -> None:
    try:
        from micro.cli._top.app import Sight, TopApp
    except ModuleNotFoundError as error:
        if error.name != "textual":
            raise
        raise ConfigError("micro top needs textual: pip install 'natsmicro[cli]'") from None
    async with connection.open() as link:
        before: Look | None = None

        async def look() -> Sight:
            nonlocal before
            now = await _look(link, name)
            rates = {} if before is None else now.rates(before)
            before = now
            return Sight(now.services, rates)

        app = TopApp(look, interval=interval, problem=link.problem)
        await app.run_async()


async def _watch(
    connection: Discovery,
    name: str | None,
    interval: float,
    *,
    as_json: bool,
    busiest_first: bool = False,
) -> None:
    console = make_console()
    async with connection.open() as link:
        before: Look | None = None
        with (
            Live(console=console, auto_refresh=False)
            if console.is_terminal
            else nullcontext() as live
        ):
            while True:
                next_look = asyncio.create_task(asyncio.sleep(interval))
                look = await _look(link, name)
                rates = look.rates(look if before is None else before)
                if as_json:
                    print_json(_plain(look, rates))
                elif live is None:
                    console.print(endpoint_table(look, rates, busiest_first=busiest_first))
                else:
                    limit = console.height - 2 if busiest_first else None
                    table = endpoint_table(look, rates, busiest_first=busiest_first, limit=limit)
                    live.update(table, refresh=True)
                before = look
                await next_look


async def _look(link: Session, name: str | None) -> Look:
    answers = await link.client.stats(name, max_interval=link.stall)
    services = sorted(answers, key=lambda stats: (stats.name, stats.version, stats.id))
    return Look(time.monotonic(), tuple(services))


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _consumed(figure: str) -> Cell:
    return lambda row: _count(consumer_figures(row.parts[0].endpoint).get(figure))


NAMES: dict[str, Cell] = {
    "Service": lambda row: row.service,
    "Instance": lambda row: row.parts[0].service.id,
    "Endpoint": lambda row: row.name,
}
COUNTERS: dict[str, Cell] = {
    "Requests": lambda row: _count(row.requests),
    "Req/s": lambda row: "-" if row.rate is None else f"{row.rate.requests:,.1f}",
    "Errors": lambda row: _count(row.errors),
    "Err/s": lambda row: "-" if row.rate is None else f"{row.rate.errors:,.1f}",
    "Average": lambda row: duration(row.parts[0].endpoint.average_processing_time),
}
LIVE: dict[str, Cell] = {
    **COUNTERS,
    "p50": lambda row: duration(row.worst("p50_ns")),
    "p95": lambda row: duration(row.worst("p95_ns")),
    "p99": lambda row: duration(row.worst("p99_ns")),
    "In flight": lambda row: _count(row.total("in_flight")),
    "Queued": lambda row: _count(row.total("queued")),
    "Refused": lambda row: _count(row.total("rejected")),
}
"""The counters, and the percentiles and load of services made with micro."""

LAST: dict[str, Cell] = {"Last error": lambda row: shortened(row.last_error)}
CONSUMERS: dict[str, Cell] = {
    "Lag": _consumed("lag"),
    "Ack pending": _consumed("ack_pending"),
    "Redelivered": _consumed("redelivered"),
    "Dead letters": _consumed("dead_lettered"),
}
"""The columns of JetStream consumers, shown while there are any."""


def endpoint_table(
    look: Look,
    rates: Mapping[EndpointKey, Rate],
    numbers: Mapping[str, Cell] = LIVE,
    *,
    busiest_first: bool = False,
    limit: int | None = None,
) -> Table:
    """Return a table with these columns of numbers, of the first `limit` endpoints or all."""
    rows = rows_of(look.services, rates, per_instance=True)
    if busiest_first:
        rows.sort(key=ORDERS["requests/s"])
    if any(consumer_figures(one) for service in look.services for one in service.events):
        numbers = {**numbers, **CONSUMERS}
    columns = {**NAMES, **numbers, **LAST}
    table = make_table(*columns, right=tuple(numbers))
    for row in rows[:limit]:
        add_row(table, (cell(row) for cell in columns.values()))
    return table


def _plain(look: Look, rates: Mapping[EndpointKey, Rate] | None) -> list[dict[str, Any]]:
    """Return STATS as JSON, with the two rates of each endpoint if known."""
    plain = [
        {**service.as_dict(), **({"events": [one.as_dict() for one in events]} if events else {})}
        for service in look.services
        for events in (service.events,)
    ]
    if rates is None:
        return plain
    for service in plain:
        for endpoint in (*service["endpoints"], *service.get("events", ())):
            rate = rates.get((service["id"], endpoint["name"], endpoint["subject"]))
            endpoint["requests_per_second"] = None if rate is None else round(rate.requests, 3)
            endpoint["errors_per_second"] = None if rate is None else round(rate.errors, 3)
    return plain
