"""The answers of all instances, combined by service; pure functions with JSON types.

Counters and rates of the instances of a service are added up. Quantiles cannot be added: the
slowest instance stands for all. `own` is null for endpoints of services not made with micro.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from micro._client.rates import Part, Rate, Row, bounded, rate_between, shortened, total_rate
from micro._protocol.adr32 import format_time
from micro._protocol.models import EndpointStats, ServiceInfo, ServiceStats
from micro._protocol.subjects import version_order

SUMMED = ("in_flight", "queued", "rejected", "expired")
QUANTILES = ("p50_ns", "p95_ns", "p99_ns")
STEP = 200
"""Instances in one step of an overview."""

_Instance = tuple[str, str]
_Endpoint = tuple[str, str]


@dataclass(frozen=True)
class Look:
    """The answers at one moment, by name and id of the instance.

    Attributes:
        at: The moment on the monotonic clock.
        infos: The answers to INFO.
        stats: The answers to STATS.
        rtts: The seconds that the answers to PING took.
    """

    at: float
    infos: Mapping[_Instance, ServiceInfo]
    stats: Mapping[_Instance, ServiceStats]
    rtts: Mapping[_Instance, float]
    _counters: dict[_Instance, dict[_Endpoint, EndpointStats]] = field(default_factory=dict)

    def counters(self, key: _Instance) -> dict[_Endpoint, EndpointStats]:
        """Return the counters of the endpoints of an instance; the first of a name counts."""
        if key not in self._counters:
            endpoints = self.stats[key].handlers
            self._counters[key] = {(each.name, each.subject): each for each in reversed(endpoints)}
        return self._counters[key]


def overview_in_steps(
    look: Look, before: Look | None
) -> Generator[None, None, list[dict[str, Any]]]:
    """Return all services by name, with their instances and endpoints.

    A generator of steps that each take a few milliseconds.
    """
    names: dict[str, list[_Instance]] = {}
    for key in sorted(look.infos.keys() | look.stats.keys()):
        names.setdefault(key[0], []).append(key)
    services = []
    for name, keys in names.items():
        services.append((yield from _service(name, keys, look, before)))
    return services


def _service(
    name: str, keys: list[_Instance], look: Look, before: Look | None
) -> Generator[None, None, dict[str, Any]]:
    instances = []
    for number, key in enumerate(keys):
        instances.append(_instance(key, look, before))
        if number % STEP == STEP - 1:
            yield
    # The newest version describes the service.
    infos = [look.infos[key] for key in keys if key in look.infos]
    infos.sort(key=lambda info: version_order(info.version))
    yield
    newest = infos[-1] if infos else None
    return {
        "name": name,
        "description": "" if newest is None else newest.description,
        "metadata": {} if newest is None else newest.own_metadata,
        "versions": sorted({one["version"] for one in instances}, key=version_order),
        "instances": instances,
        "endpoints": (yield from _endpoints(keys, infos, look, before)),
    }


def _instance(key: _Instance, look: Look, before: Look | None) -> dict[str, Any]:
    stats, rtt = look.stats.get(key), look.rtts.get(key)
    answer = look.infos[key] if stats is None else stats
    endpoints = [] if stats is None else stats.handlers
    rate = total_rate(_rate(key, endpoint, look, before) for endpoint in endpoints)
    return {
        "id": answer.id,
        "version": answer.version,
        "metadata": answer.own_metadata,
        "started": None if stats is None else format_time(stats.started),
        "rtt_ms": None if rtt is None else round(rtt * 1000, 2),
        "num_requests": sum(bounded(endpoint.num_requests) for endpoint in endpoints),
        "num_errors": sum(bounded(endpoint.num_errors) for endpoint in endpoints),
        **_plain(rate),
    }


def _endpoints(
    keys: list[_Instance], infos: list[ServiceInfo], look: Look, before: Look | None
) -> Generator[None, None, list[dict[str, Any]]]:
    described = {(one.name, one.subject): one for info in infos for one in info.handlers}
    yield
    counted: dict[_Endpoint, list[Part]] = {endpoint: [] for endpoint in described}
    for number, key in enumerate(keys):
        if key in look.stats:
            for one in look.stats[key].handlers:
                part = Part(look.stats[key], one, _rate(key, one, look, before))
                counted.setdefault((one.name, one.subject), []).append(part)
        if number % STEP == STEP - 1:
            yield
    endpoints = []
    for (name, subject), parts in sorted(counted.items()):
        endpoint = described.get((name, subject))
        endpoints.append(
            {
                "name": name,
                "subject": subject,
                "metadata": {} if endpoint is None else endpoint.metadata,
                **_totals(Row("", tuple(parts), name)),
            }
        )
        yield
    return endpoints


def _totals(row: Row) -> dict[str, Any]:
    groups = {shortened(part.endpoint.queue_group) for part in row.parts}
    own = {
        **{key: row.total(key) or 0 for key in SUMMED},
        **{key: row.worst(key) for key in QUANTILES},
        "errors": row.codes(),
    }
    return {
        "queue_groups": sorted(groups - {""}),
        "num_requests": row.requests,
        "num_errors": row.errors,
        "average_ns": row.average_ns if row.requests else None,
        "last_error": row.last_error,
        "own": own if any(part.figures for part in row.parts) else None,
        **_plain(row.rate),
    }


def _rate(key: _Instance, now: EndpointStats, look: Look, before: Look | None) -> Rate | None:
    """Return the rate of an endpoint of an instance since `before`, None if unknown."""
    if before is None or key not in before.stats:
        return None
    old = before.counters(key).get((now.name, now.subject))
    return rate_between(old, now, look.at - before.at)


def _plain(rate: Rate | None) -> dict[str, float | None]:
    return {
        "requests_per_second": None if rate is None else round(rate.requests, 2),
        "errors_per_second": None if rate is None else round(rate.errors, 2),
    }
