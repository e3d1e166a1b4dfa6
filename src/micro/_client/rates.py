"""Figures that the command line, the dashboard and the exporter compute from STATS; pure.

The answers come from services in any language, so every value is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from micro._protocol.models import EndpointStats

MAX_COUNT = 1_000_000_000_000_000_000
"""Upper bound for counters reported by other services."""


MAX_TEXT = 300
MAX_FIGURES = 32
MAX_CODES = 64


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
    return _sane(own, MAX_FIGURES) if isinstance(own, dict) else {}


def consumer_figures(endpoint: EndpointStats) -> dict[str, int]:
    """Return the figures of a JetStream consumer; empty for everything else."""
    figures = own_figures(endpoint).get("consumer")
    return figures if isinstance(figures, dict) else {}


def _sane(figures: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return the integers within bounds, and the first level of dicts of them."""
    sane: dict[str, Any] = {}
    for key, value in islice(figures.items(), limit):
        if isinstance(value, int):
            sane[shortened(key)] = bounded(value)
        elif isinstance(value, dict) and limit == MAX_FIGURES:
            sane[shortened(key)] = _sane(value, MAX_CODES)
    return sane


def shortened(text: str) -> str:
    """Return a text of another service for display, at most a few hundred characters."""
    text = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
    return text.encode(errors="replace").decode()


def bounded(count: int) -> int:
    """Return a count within the bounds of the arithmetic."""
    return max(0, min(count, MAX_COUNT))
