"""The rows of `micro top`: endpoints over all their instances, or of each; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from micro._client.rates import Rate, own_figures
from micro._protocol.models import EndpointStats, ServiceStats

EndpointKey = tuple[str, str, str]
"""The id of an instance, the name of an endpoint and its subject."""


@dataclass(frozen=True)
class Part:
    """An endpoint of one instance."""

    service: ServiceStats
    endpoint: EndpointStats
    rate: Rate | None


@dataclass(frozen=True)
class Row:
    """An endpoint of some instances.

    Attributes:
        key: The identity of the row from one look to the next.
        parts: The endpoint of each instance, at least one.
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
        return sum(part.endpoint.num_requests for part in self.parts)

    @property
    def errors(self) -> int:
        """Errors of all instances."""
        return sum(part.endpoint.num_errors for part in self.parts)

    @property
    def rate(self) -> Rate | None:
        """The rates of all instances together, None before the second look."""
        known = [part.rate for part in self.parts if part.rate is not None]
        return sum(known[1:], known[0]) if known else None

    @property
    def average_ns(self) -> int:
        """The average time in the handler."""
        spent = sum(part.endpoint.processing_time for part in self.parts)
        return spent // self.requests if self.requests else 0

    @property
    def last_error(self) -> str:
        """The last error of the instance with the most."""
        worst = max(self.parts, key=lambda part: part.endpoint.num_errors)
        return worst.endpoint.last_error

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
            given = own_figures(part.endpoint).get("errors")
            codes.update(given if isinstance(given, dict) else {})
        return dict(codes.most_common())

    def _values(self, figure: str) -> list[int]:
        figures = (own_figures(part.endpoint).get(figure) for part in self.parts)
        return [value for value in figures if isinstance(value, int)]


def rows_of(
    services: Iterable[ServiceStats], rates: Mapping[EndpointKey, Rate], *, per_instance: bool
) -> list[Row]:
    """Return the rows of a look.

    Args:
        services: The STATS of all instances.
        rates: The rates since the last look.
        per_instance: A row for each instance, not for each endpoint.
    """
    parts: defaultdict[tuple[str, ...], list[Part]] = defaultdict(list)
    subjects: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for service in services:
        for endpoint in service.handlers:
            subjects[service.name, endpoint.name].add(endpoint.subject)
            rate = rates.get((service.id, endpoint.name, endpoint.subject))
            key = (service.name, endpoint.name, endpoint.subject)
            whole = (*key, service.id) if per_instance else key
            parts[whole].append(Part(service, endpoint, rate))
    return [
        Row("\n".join(key), tuple(found), full_name(key[1], key[2], subjects[key[0], key[1]]))
        for key, found in parts.items()
    ]


def full_name(name: str, subject: str, subjects: set[str]) -> str:
    """Return the name of an endpoint, with its subject if there are several of the name."""
    return name if len(subjects) == 1 else f"{name} ({subject})"


ORDERS: dict[str, Callable[[Row], Any]] = {
    "requests/s": lambda row: 0 if row.rate is None else -row.rate.requests,
    "errors/s": lambda row: 0 if row.rate is None else -row.rate.errors,
    "p99": lambda row: -(row.worst("p99_ns") or 0),
    "in flight": lambda row: -(row.total("in_flight") or 0),
    "requests": lambda row: -row.requests,
    "name": lambda row: 0,
}
"""What rows may be sorted by; names decide between equal ones."""


def chosen(rows: Iterable[Row], *, order: str, text: str) -> list[Row]:
    """Return the rows that contain a text in any case, in an order."""
    wanted = text.lower()
    found = [row for row in rows if wanted in f"{row.key} {row.instance}".lower()]
    return sorted(found, key=lambda row: (ORDERS[order](row), row.key))
