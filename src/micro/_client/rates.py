"""Figures that the command line, the dashboard and the exporter compute from STATS; pure.

The answers come from services in any language, so every value is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from micro._protocol.models import EndpointStats

MAX_COUNT = 1_000_000_000_000_000_000
"""Upper bound for counters reported by other services."""


@dataclass(frozen=True)
class Rate:
    """Requests and errors per second between two STATS answers."""

    requests: float
    errors: float

    def __add__(self, other: Rate | None) -> Rate:
        if other is None:
            return self
        return Rate(self.requests + other.requests, self.errors + other.errors)


def rate_between(then: EndpointStats | None, now: EndpointStats, seconds: float) -> Rate | None:
    """Return the rate of an endpoint, None without earlier counters.

    Counters that were reset in between start from 0.

    Args:
        then: The earlier counters, if there are any.
        now: The present counters.
        seconds: The time between the two; 0 and less give no rate.
    """
    if then is None or seconds <= 0:
        return None
    reset = now.num_requests < then.num_requests
    requests = bounded(now.num_requests) - (0 if reset else bounded(then.num_requests))
    errors = bounded(now.num_errors) - (0 if reset else bounded(then.num_errors))
    return Rate(requests / seconds, max(0, errors) / seconds)


def own_figures(endpoint: EndpointStats) -> dict[str, Any]:
    """Return the figures that only endpoints of micro report; empty for all others."""
    own = endpoint.data.get("micro") if isinstance(endpoint.data, dict) else None
    return own if isinstance(own, dict) else {}


def bounded(count: int) -> int:
    """Return a count within the bounds of the arithmetic."""
    return max(0, min(count, MAX_COUNT))
