"""The state of all services, updated on demand and at most once per interval."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import nats.errors

from micro._client.client import Client
from micro._connection.tool_connection import ToolConnection
from micro._protocol.models import PingInfo, ServiceInfo
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro.dashboard._missing import Roll
from micro.dashboard._overview import Look, overview_in_steps

MAX_WAIT = 1.0
STALL = 0.75
"""Seconds without a further answer that end a question, unless the time is given."""

M = TypeVar("M", bound=PingInfo)
T = TypeVar("T")


class Watch:
    """The state of all services; no service is asked while no page is open.

    Args:
        source: The connection.
        interval: Seconds that a state is valid, so that several pages ask no more than one.
        max_wait: Seconds to wait for answers; one second by default, less if no more arrive.
        api_prefix: Prefix of the discovery subjects of the services.
    """

    def __init__(
        self,
        source: ToolConnection,
        *,
        interval: float,
        max_wait: float | None = None,
        api_prefix: str = DEFAULT_API_PREFIX,
    ) -> None:
        self._max_wait = MAX_WAIT if max_wait is None else max_wait
        self._stall = STALL if max_wait is None else None
        self._interval = interval
        self._source = source
        self._client = Client(source.nc, api_prefix=api_prefix)
        self._lock = asyncio.Lock()
        self._look: Look | None = None
        self._roll = Roll()
        self._asked_at = float("-inf")
        self._state: dict[str, Any] = {
            "interval_ms": round(interval * 1000),
            "looked_at_ms": None,
            "services": [],
            "missing": [],
        }

    async def state(self) -> dict[str, Any]:
        """Return the content of the page."""
        async with self._lock:
            # Less than the interval, as a page asks again after exactly one interval.
            if time.monotonic() - self._asked_at >= self._interval * 0.8:
                problem = await self._refresh()
                self._state |= {"server": self._source.describe(), "problem": problem}
                self._asked_at = time.monotonic()
        return self._state

    async def infos(self, service: str | None) -> list[ServiceInfo]:
        """Return the INFO of the instances of a service, or of all services."""
        await self.state()
        known = {} if self._look is None else self._look.infos
        return [info for (name, _), info in known.items() if service in (None, name)]

    async def _refresh(self) -> str | None:
        """Update the state and return the problem; without an answer, keep the last services."""
        problem = self._source.problem()
        if problem is not None:
            return problem
        self._source.complaints.clear()
        look = None
        try:
            look = await self._ask()
        except* nats.errors.Error as errors:  # the connection was lost meanwhile
            problem = self._source.problem() or str(errors.exceptions[0])
        if look is None:
            return problem
        services = await _in_turns(overview_in_steps(look, self._look))
        now = time.time()
        missing = self._roll.call(look, now)
        self._state |= {
            "services": services,
            "missing": missing,
            "looked_at_ms": round(now * 1000),
        }
        self._look = look
        return self._source.complaints[-1] if self._source.complaints else None

    async def _ask(self) -> Look:
        client, max_wait, stall = self._client, self._max_wait, self._stall
        # Alone, because the answers to INFO and STATS would delay these.
        rtts = await _timed(client.ping_iter(max_wait=max_wait, max_interval=stall))
        async with asyncio.TaskGroup() as group:
            infos = group.create_task(client.info(max_wait=max_wait, max_interval=stall))
            stats = group.create_task(client.stats(max_wait=max_wait, max_interval=stall))
        return Look(
            time.monotonic(),
            {(info.name, info.id): info for info in infos.result()},
            {(each.name, each.id): each for each in stats.result()},
            rtts,
        )


async def _in_turns(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, each step in a turn of the event loop of its own."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


async def _timed(
    question: AbstractAsyncContextManager[AsyncIterator[M]],
) -> dict[tuple[str, str], float]:
    start = time.perf_counter()
    async with question as answers:
        return {(each.name, each.id): time.perf_counter() - start async for each in answers}
