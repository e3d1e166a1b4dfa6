"""The bodies of the PING, INFO and STATS answers of an instance (ADR-32)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from micro._endpoint.endpoint import ServedEndpoint
from micro._protocol import adr32
from micro._ratelimit import TokenBucket

MAX_INFO_BYTES = 64 * 1024
"""A larger INFO answer carries hashes of the schemas in their place."""

FRESH_STATS_PER_SECOND = 200
"""Limit on STATS answers that are made anew; further requests get the last one again."""


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
        if self._stats is None or self._fresh.take():
            for endpoint in tuple(self._endpoints):
                await endpoint.refresh()
            self._stats = self.measured()
        return self._stats

    def described(self) -> bytes:
        """Return the answer to INFO, without schemas if it is larger than 64 KiB with them."""
        if self._info is None:
            self._info = self._describe(schemas=True)
            if len(self._info) > MAX_INFO_BYTES:
                self._info = self._describe(schemas=False)
        return self._info

    def measured(self) -> bytes:
        """Return the answer to STATS, with the last results of the statistics handlers."""
        endpoints = [endpoint.measure() for endpoint in self._endpoints]
        return _encode(adr32.stats(self._identity, self.started, endpoints))

    def _describe(self, *, schemas: bool) -> bytes:
        endpoints = [endpoint.describe(schemas=schemas) for endpoint in self._endpoints]
        return _encode(adr32.info(self._identity, self._description, endpoints))


def _encode(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
