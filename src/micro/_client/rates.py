"""What the command line, the dashboard and the exporter read out of STATS; pure.

The answers come from services in any language, so nothing in them is taken for granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from micro._protocol.models import EndpointStats

MAX_COUNT = 1_000_000_000_000_000_000
"""What anybody may claim to have counted; more would not fit the arithmetic."""


@dataclass(frozen=True)
class Rate:
    """What happened per second between two looks."""

    requests: float
    errors: float

    def __add__(self, other: Rate | None) -> Rate:
        if other is None:
            return self
        return Rate(self.requests + other.requests, self.errors + other.errors)


def rate_between(then: EndpointStats | None, now: EndpointStats, seconds: float) -> Rate | None:
    """Return what an endpoint did per second, None if it was not there before.

    Counters that were reset in between start from 0.

    Args:
        then: Its counters in the look before, if it was in it.
        now: Its counters.
        seconds: The time between the two; none or less than none gives no rate.
    """
    if then is None or seconds <= 0:
        return None
    reset = now.num_requests < then.num_requests
    requests = bounded(now.num_requests) - (0 if reset else bounded(then.num_requests))
    errors = bounded(now.num_errors) - (0 if reset else bounded(then.num_errors))
    return Rate(requests / seconds, max(0, errors) / seconds)


def own_figures(endpoint: EndpointStats) -> dict[str, Any]:
    """Return what only endpoints made with micro tell, empty for all others."""
    own = endpoint.data.get("micro") if isinstance(endpoint.data, dict) else None
    return own if isinstance(own, dict) else {}


def bounded(count: int) -> int:
    """Return a count that fits the arithmetic."""
    return max(0, min(count, MAX_COUNT))
