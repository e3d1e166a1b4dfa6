"""The bodies of the PING, INFO and STATS answers of an instance (ADR-32)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from micro._endpoint.endpoint import ServedEndpoint
from micro._protocol import adr32
from micro._ratelimit import TokenBucket

MAX_INFO_BYTES = 64 * 1024
"""A larger INFO answer carries hashes of the schemas in their place."""

FRESH_STATS_PER_SECOND = 200
"""Limit on STATS answers that are made anew; further requests get the last one again."""

MAX_STATS_SHARE = 0.1
"""Part of the time that may be spent on new STATS answers, beyond a burst of one second."""

STEP = 0.002
"""Seconds of work on one STATS answer in one step of the event loop."""


class Identity(NamedTuple):
    """The constant facts of an instance."""

    name: str
    id: str
    version: str
    description: str
    metadata: dict[str, str]


class Answers:
    """The answers of one instance.

    Args:
        identity: The constant facts of the instance.
        endpoints: Its endpoints; call `changed` after each change.
        started: The time of its start.
    """

    def __init__(
        self, identity: Identity, endpoints: Collection[ServedEndpoint], started: datetime
    ) -> None:
        self.started = started
        self._endpoints = endpoints
        self._identity = adr32.identity(
            identity.name, identity.id, identity.version, identity.metadata
        )
        self._description = identity.description
        self._ping = _encode(adr32.ping(self._identity))
        self._info: bytes | None = None
        self._stats: bytes | None = None
        self._fresh = TokenBucket(FRESH_STATS_PER_SECOND, 2 * FRESH_STATS_PER_SECOND)
        self._time = TokenBucket(MAX_STATS_SHARE, 1.0)

    def changed(self) -> None:
        """Forget the last INFO answer."""
        self._info = None

    async def ping(self) -> bytes:
        """Return the answer to PING."""
        return self._ping

    async def info(self) -> bytes:
        """Return the answer to INFO."""
        return self.described()

    async def stats(self) -> bytes:
        """Return the answer to STATS, with fresh results of the statistics handlers."""
        if self._stats is None or (self._time.rest() > 0 and self._fresh.take()):
            events = [part async for part in self._measure(events=True)]
            told = f"[{','.join(part.decode() for part in events)}]" if events else ""
            empty = _encode(adr32.stats(self._identity, self.started, [], told))  # ends with []}
            endpoints = [part async for part in self._measure(events=False)]
            self._stats = b"%b%b]}" % (empty[:-2], b",".join(endpoints))
        return self._stats

    async def _measure(self, *, events: bool) -> AsyncIterator[bytes]:
        step = time.perf_counter()
        for endpoint in self._of_kind(events=events):
            await endpoint.refresh()
            began = time.perf_counter()
            part = _encode(endpoint.measure())
            now = time.perf_counter()
            self._time.spend(now - began)
            yield part
            if now - step > STEP:
                await asyncio.sleep(0)
                step = time.perf_counter()

    def described(self) -> bytes:
        """Return the answer to INFO, without schemas if it is larger than 64 KiB with them."""
        if self._info is None:
            self._info = self._describe(schemas=True)
            if len(self._info) > MAX_INFO_BYTES:
                self._info = self._describe(schemas=False)
        return self._info

    def complete(self) -> bytes:
        """Return the answer to INFO with all schemas, however large it is."""
        return self._describe(schemas=True)

    def measured(self) -> bytes:
        """Return the answer to STATS, with the last results of the statistics handlers."""
        endpoints = [each.measure() for each in self._of_kind(events=False)]
        events = [each.measure() for each in self._of_kind(events=True)]
        return _encode(adr32.stats(self._identity, self.started, endpoints, _text(events)))

    def _of_kind(self, *, events: bool) -> list[ServedEndpoint]:
        """Return the endpoints, or the handlers of events."""
        return [endpoint for endpoint in self._endpoints if endpoint.config.event is events]

    def _describe(self, *, schemas: bool) -> bytes:
        endpoints = [each.describe(schemas=schemas) for each in self._of_kind(events=False)]
        events = [each.describe(schemas=schemas) for each in self._of_kind(events=True)]
        return _encode(adr32.info(self._identity, self._description, endpoints, _text(events)))


def _text(events: list[dict[str, Any]]) -> str:
    """Return handlers of events as a JSON array; empty for none."""
    return json.dumps(events, separators=(",", ":")) if events else ""


def _encode(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
