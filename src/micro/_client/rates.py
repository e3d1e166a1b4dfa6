"""Figures that the command line, the dashboard and the exporter compute from STATS; pure.

The answers come from services in any language, so every value is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from micro._protocol.models import EndpointStats, ServiceStats

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


def total_rate(rates: Iterable[Rate | None]) -> Rate | None:
    """Return the rates of several endpoints together, None if none is known."""
    known = [rate for rate in rates if rate is not None]
    if not known:
        return None
    return Rate(sum(rate.requests for rate in known), sum(rate.errors for rate in known))


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


@dataclass(frozen=True)
class Part:
    """An endpoint of one instance."""

    service: ServiceStats
    endpoint: EndpointStats
    rate: Rate | None

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The figures that only endpoints of micro report."""
        return own_figures(self.endpoint)


@dataclass(frozen=True)
class Row:
    """An endpoint of some instances.

    Attributes:
        key: The identity of the row from one look to the next.
        parts: The endpoint of each instance, one or more, or none that has answered.
        name: The name of the endpoint, with its subject if the service has another of that name.
    """

    key: str
    parts: tuple[Part, ...]
    name: str

    @property
    def service(self) -> str:
        """The name of the service."""
        return self.parts[0].service.name

    @property
    def subject(self) -> str:
        """The subject of the endpoint."""
        return self.parts[0].endpoint.subject

    @property
    def instance(self) -> str:
        """The id of the only instance, or their number."""
        return self.parts[0].service.id if len(self.parts) == 1 else f"{len(self.parts)} instances"

    @property
    def requests(self) -> int:
        """Requests of all instances."""
        return sum(bounded(part.endpoint.num_requests) for part in self.parts)

    @property
    def errors(self) -> int:
        """Errors of all instances."""
        return sum(bounded(part.endpoint.num_errors) for part in self.parts)

    @property
    def rate(self) -> Rate | None:
        """The rates of all instances together, None before the second look."""
        return total_rate(part.rate for part in self.parts)

    @property
    def average_ns(self) -> int:
        """The average time in the handler."""
        spent = sum(bounded(part.endpoint.processing_time) for part in self.parts)
        return spent // self.requests if self.requests else 0

    @property
    def last_error(self) -> str:
        """The last error of the instance with the most."""
        worst = max(self.parts, key=lambda part: part.endpoint.num_errors, default=None)
        return "" if worst is None else shortened(worst.endpoint.last_error)

    def total(self, figure: str) -> int | None:
        """Return the sum of a figure of micro over the instances that have it."""
        values = self._values(figure)
        return sum(values) if values else None

    def worst(self, figure: str) -> int | None:
        """Return the greatest value of a figure of micro, as percentiles do not add up."""
        return max(self._values(figure), default=None)

    def codes(self) -> dict[str, int]:
        """Return the number of errors by code."""
        codes: Counter[str] = Counter()
        for part in self.parts:
            given = part.figures.get("errors")
            codes.update(given if isinstance(given, dict) else {})
        return dict(codes.most_common(MAX_CODES))

    def _values(self, figure: str) -> list[int]:
        figures = (part.figures.get(figure) for part in self.parts)
        return [value for value in figures if isinstance(value, int)]
