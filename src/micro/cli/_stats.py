"""`micro stats` and `micro top`: the counters of every endpoint, once or live with rates."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from micro._client.client import Client
from micro._client.rates import Rate, consumer_figures, own_figures, rate_between, shortened
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError
from micro._protocol.models import EndpointStats, ServiceStats
from micro.cli._discover import Name, no_answer
from micro.cli._flags import Discovery, Json, parse_duration
from micro.cli._output import add_row, execute, make_console, make_table, print_json
from micro.cli._top.rows import full_name

_Key = tuple[str, str, str]
_NUMBERS = ("Requests", "Req/s", "Errors", "Err/s", "Average")
_LIVE = ("p50", "p95", "p99", "In flight", "Queued", "Refused")
"""Columns that only services made with micro fill."""
_CONSUMER = {
    "Lag": "lag",
    "Ack pending": "ack_pending",
    "Redelivered": "redelivered",
    "Dead letters": "dead_lettered",
}
"""Columns of JetStream consumers, and their figures."""

Interval = Annotated[
    float,
    typer.Option(
        "--interval", metavar="TIME", parser=parse_duration, help="Time between two updates."
    ),
]


@dataclass(frozen=True)
class Look:
    """All counters at one moment of the monotonic clock."""

    at: float
    services: tuple[ServiceStats, ...]

    def counters(self) -> dict[_Key, EndpointStats]:
        """Return the counters of each endpoint of each instance."""
        return {
            (service.id, endpoint.name, endpoint.subject): endpoint
            for service in self.services
            for endpoint in service.handlers
        }

    def rates(self, before: Look) -> dict[_Key, Rate]:
        """Return the rates since `before` of the endpoints in both."""
        old, seconds = before.counters(), self.at - before.at
        rates = {
            key: rate_between(old.get(key), now, seconds) for key, now in self.counters().items()
        }
        return {key: rate for key, rate in rates.items() if rate is not None}


def stats(
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
    work = (
        _watch(connection, name, interval, as_json=as_json)
        if watch
        else _once(connection, name, as_json)
    )
    execute(work, as_json=as_json)


def top(
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
    interactive = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    work = (
        _run_app(connection, name, interval)
        if interactive
        else _watch(connection, name, interval, as_json=as_json, busiest_first=True)
    )
    execute(work, as_json=as_json)


async def _run_app(connection: Discovery, name: str | None, interval: float) -> None:
    try:
        from micro.cli._top.app import Sight, TopApp
    except ModuleNotFoundError as error:
        if error.name != "textual":
            raise
        raise ConfigError("micro top needs textual: pip install 'natsmicro[cli]'") from None
    async with ToolConnection(connection.settings()) as link:
        client = connection.client(link.nc)
        before: Look | None = None

        async def look() -> Sight:
            nonlocal before
            now = await _look(client, name, connection)
            rates = {} if before is None else now.rates(before)
            before = now
            return Sight(now.services, rates)

        app = TopApp(look, interval=interval, problem=link.problem)
        await app.run_async()


async def _once(connection: Discovery, name: str | None, as_json: bool) -> None:
    async with ToolConnection(connection.settings()) as link:
        look = await _look(connection.client(link.nc), name, connection)
    if not look.services:
        raise no_answer(link, name)
    if as_json:
        print_json(_plain(look, None))
    else:
        make_console().print(_table(look, {}))


async def _watch(
    connection: Discovery,
    name: str | None,
    interval: float,
    *,
    as_json: bool,
    busiest_first: bool = False,
) -> None:
    console = make_console()
    async with ToolConnection(connection.settings()) as link:
        client = connection.client(link.nc)
        before: Look | None = None
        with (
            Live(console=console, auto_refresh=False)
            if console.is_terminal
            else nullcontext() as live
        ):
            while True:
                next_look = asyncio.create_task(asyncio.sleep(interval))
                look = await _look(client, name, connection)
                rates = look.rates(look if before is None else before)
                if as_json:
                    print_json(_plain(look, rates))
                elif live is None:
                    console.print(live_table(look, rates, busiest_first=busiest_first))
                else:
                    rows = console.height - 2 if busiest_first else None
                    table = live_table(look, rates, busiest_first=busiest_first, rows=rows)
                    live.update(table, refresh=True)
                before = look
                await next_look


async def _look(client: Client, name: str | None, connection: Discovery) -> Look:
    answers = await client.stats(name, connection.limit, max_interval=connection.stall)
    services = sorted(answers, key=lambda stats: (stats.name, stats.version, stats.id))
    return Look(time.monotonic(), tuple(services))


def _table(look: Look, rates: Mapping[_Key, Rate]) -> Table:
    more = _consumer_columns(look)
    columns = ("Service", "Instance", "Endpoint", *_NUMBERS, *more, "Last error")
    table = make_table(*columns, right=(*_NUMBERS, *more))
    for service in look.services:
        names = _names(service)
        for endpoint in service.handlers:
            rate = rates.get((service.id, endpoint.name, endpoint.subject))
            *counters, error = _cells(endpoint, rate)
            figures = _consumption(endpoint, more)
            shown = names[endpoint.name, endpoint.subject]
            add_row(table, (service.name, service.id, shown, *counters, *figures, error))
    return table


def _consumer_columns(look: Look) -> tuple[str, ...]:
    """Return the columns of JetStream consumers; none while there are none."""
    handlers = (one for service in look.services for one in service.events)
    return tuple(_CONSUMER) if any(consumer_figures(one) for one in handlers) else ()


def _consumption(endpoint: EndpointStats, columns: Iterable[str]) -> Iterable[str]:
    figures = consumer_figures(endpoint)
    for column in columns:
        count = figures.get(_CONSUMER[column])
        yield "-" if count is None else f"{count:,}"


def live_table(
    look: Look, rates: Mapping[_Key, Rate], *, busiest_first: bool = False, rows: int | None = None
) -> Table:
    """Return a table with percentiles and load, of the first `rows` endpoints or all."""
    more = _consumer_columns(look)
    columns = ("Service", "Instance", "Endpoint", *_NUMBERS, *_LIVE, *more, "Last error")
    table = make_table(*columns, right=(*_NUMBERS, *_LIVE, *more))
    selected = [
        (service, endpoint, rates.get((service.id, endpoint.name, endpoint.subject)))
        for service in look.services
        for endpoint in service.handlers
    ]
    if busiest_first:
        selected.sort(key=lambda row: 0.0 if row[2] is None else -row[2].requests)
    for service, endpoint, rate in selected[:rows]:
        *counters, error = _cells(endpoint, rate)
        figures = (*_load(endpoint), *_consumption(endpoint, more))
        shown = _names(service)[endpoint.name, endpoint.subject]
        add_row(table, (service.name, service.id, shown, *counters, *figures, error))
    return table


def _names(service: ServiceStats) -> dict[tuple[str, str], str]:
    """Return the names of endpoints, with their subjects where a name occurs several times."""
    subjects: dict[str, set[str]] = {}
    for each in service.handlers:
        subjects.setdefault(each.name, set()).add(each.subject)
    return {
        (each.name, each.subject): full_name(each.name, each.subject, subjects[each.name])
        for each in service.handlers
    }


def _load(endpoint: EndpointStats) -> Iterable[str]:
    values = own_figures(endpoint)
    for key in ("p50_ns", "p95_ns", "p99_ns"):
        yield _duration(values[key]) if isinstance(values.get(key), int) else "-"
    for key in ("in_flight", "queued", "rejected"):
        yield f"{values[key]:,}" if isinstance(values.get(key), int) else "-"


def _cells(endpoint: EndpointStats, rate: Rate | None) -> Iterable[str]:
    return (
        f"{endpoint.num_requests:,}",
        "-" if rate is None else f"{rate.requests:,.1f}",
        f"{endpoint.num_errors:,}",
        "-" if rate is None else f"{rate.errors:,.1f}",
        _duration(endpoint.average_processing_time),
        shortened(endpoint.last_error),
    )


def _duration(ns: int) -> str:
    if ns < 1_000_000:
        return f"{ns / 1_000:.1f} us"
    return f"{ns / 1_000_000:.1f} ms" if ns < 1_000_000_000 else f"{ns / 1_000_000_000:.2f} s"


def _plain(look: Look, rates: Mapping[_Key, Rate] | None) -> list[dict[str, Any]]:
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
