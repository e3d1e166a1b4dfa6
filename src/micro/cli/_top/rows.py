"""The rows of `micro top`: endpoints over all their instances, or of each; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from micro._client.rates import Part, Rate, Row
from micro._protocol.models import ServiceStats

EndpointKey = tuple[str, str, str]
"""The id of an instance, the name of an endpoint and its subject."""


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
        Row("\n".join(key), tuple(instances), full_name(key[1], key[2], subjects[key[0], key[1]]))
        for key, instances in parts.items()
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
    matching = [row for row in rows if wanted in f"{row.key} {row.instance}".lower()]
    return sorted(matching, key=lambda row: (ORDERS[order](row), row.key))
