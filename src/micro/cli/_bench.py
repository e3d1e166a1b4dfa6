"""`micro bench`: the request rate of an endpoint and its latencies."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from contextlib import nullcontext
from typing import Annotated, Any

import nats.errors
import typer
from rich.live import Live
from rich.table import Table

from micro._client.client import Client
from micro._errors import ServiceError
from micro.cli._completion import complete_endpoint, complete_name
from micro.cli._flags import Discovery, Json, parse_duration
from micro.cli._output import (
    NoAnswerError,
    add_row,
    execute,
    make_console,
    make_table,
    print_json,
    read_payload,
)
from micro.cli._request import look_up

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
REFRESH = 0.5
"""Seconds between two updates of the live table."""

_STEPS = 32  # buckets for each doubling of a latency: 2 % wide


class Latencies:
    """A histogram of latencies in buckets that are 2 % wide."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Add one latency."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        self._buckets[round(math.log2(max(seconds, 1e-9)) * _STEPS)] += 1

    def quantile(self, part: float) -> float:
        """Return the seconds that a part (0 to 1) of the latencies does not exceed; 0 if none."""
        left = part * self.count
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(float(2 ** (bucket / _STEPS)), self.longest)
        return 0.0


class Bench:
    """Callers of an endpoint, each of which sends a request once it has the last answer.

    Args:
        client: The client of all callers.
        subject: The subject of the endpoint.
        payload: The payload of each request.
        timeout: Seconds to wait for each answer.
    """

    def __init__(self, client: Client, subject: str, payload: bytes, timeout: float) -> None:
        self.latencies = Latencies()
        self.errors: Counter[str] = Counter()
        self._client = client
        self._subject = subject
        self._payload = payload
        self._timeout = timeout
        self._began = time.perf_counter()

    async def call(self, until: float) -> None:
        """Send requests until a moment of `time.perf_counter()`."""
        while (sent := time.perf_counter()) < until:
            try:
                await self._client.request(self._subject, self._payload, timeout=self._timeout)
            except ServiceError as error:
                self.errors[f"{error.code} {error.description}"] += 1
            except nats.errors.NoRespondersError:
                raise NoAnswerError(f"no service listens on {self._subject!r} any more") from None
            except TimeoutError:
                self.errors["no answer in time"] += 1
                continue  # not a latency
            self.latencies.add(time.perf_counter() - sent)

    def result(self) -> dict[str, Any]:
        """Return the figures so far, with latencies in milliseconds."""
        elapsed = time.perf_counter() - self._began
        latencies = self.latencies
        quantiles = {name: latencies.quantile(part) for name, part in QUANTILES.items()}
        return {
            "subject": self._subject,
            "seconds": round(elapsed, 3),
            "answers": latencies.count,
            "rate": round(latencies.count / elapsed, 1),
            "errors": dict(self.errors),
            "latency_ms": {
                name: round(seconds * 1000, 3)
                for name, seconds in {**quantiles, "max": latencies.longest}.items()
            },
        }


def bench(  # noqa: PLR0913 - flags of a command
    connection: Discovery,
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", autocompletion=complete_name, help="The service.")
    ],
    endpoint: Annotated[
        str,
        typer.Argument(metavar="ENDPOINT", autocompletion=complete_endpoint, help="Its endpoint."),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Payload; - reads standard input.")
    ] = "",
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="Requests in flight at a time.")
    ] = 64,
    duration: Annotated[
        float,
        typer.Option("--duration", "-d", metavar="TIME", parser=parse_duration, help="How long."),
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Measure how many requests per second an endpoint answers, and how long they take.

    A live table shows the figures meanwhile. Errors of the service are counted, and end nothing.

    Examples:
      micro bench echo echo hello
      micro bench math add '{"a": 1, "b": 2}' -c 256 -d 30s
      micro bench echo echo --json
    """
    payload = read_payload(data)

    async def work() -> None:
        console = make_console()
        async with connection.open() as link:
            subject = await look_up(link, service, endpoint)
            run = Bench(link.client, subject, payload, link.limit)
            live = Live(_table(run.result()), console=console, auto_refresh=False)
            shown = console.is_terminal and not as_json
            with live if shown else nullcontext():
                try:
                    async with asyncio.TaskGroup() as callers:
                        until = time.perf_counter() + duration
                        for _ in range(concurrency):
                            callers.create_task(run.call(until))
                        while shown and time.perf_counter() < until:
                            await asyncio.sleep(REFRESH)
                            live.update(_table(run.result()), refresh=True)
                except ExceptionGroup as group:
                    raise group.exceptions[0] from None  # all callers fail alike
        if as_json:
            print_json(run.result())
        elif not shown:
            console.print(_table(run.result()))

    execute(work(), as_json=as_json)


def _table(result: dict[str, Any]) -> Table:
    latency = result["latency_ms"]
    columns = ("Seconds", "Answers", "Req/s", "Errors", *(f"{name} ms" for name in latency))
    table = make_table(*columns, right=columns, title=result["subject"])
    numbers = (result["seconds"], result["answers"], result["rate"])
    cells = [*numbers, sum(result["errors"].values()), *latency.values()]
    add_row(table, (f"{cell:,}" for cell in cells))
    return table
