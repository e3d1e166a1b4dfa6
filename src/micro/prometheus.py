"""Prometheus metrics of services (extra "prometheus"): of one's own, or of all that can be discovered.

In a program, for the services it runs:

    import prometheus_client
    from micro.prometheus import ServiceCollector

    prometheus_client.REGISTRY.register(ServiceCollector(service))
    prometheus_client.start_http_server(9100)

For every service on a NATS server, in any language: ``micro exporter``.

Metrics, all labelled with service, version, instance; those of endpoints also with endpoint,
subject and queue_group:

    micro_service_info                             1 for each instance
    micro_service_started_timestamp_seconds        start or last reset
    micro_endpoint_requests_total
    micro_endpoint_errors_total
    micro_endpoint_processing_seconds_total
    micro_endpoint_in_flight, _queued              of services made with micro
    micro_endpoint_latency_seconds{quantile=...}   of services made with micro
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from micro._client import Client
from micro._models import EndpointStats, ServiceStats
from micro._service import Service

__all__ = ["DiscoveryCollector", "ServiceCollector"]

SERVICE_LABELS = ("service", "version", "instance")
ENDPOINT_LABELS = (*SERVICE_LABELS, "endpoint", "subject", "queue_group")
NANOSECONDS = 1e-9


class ServiceCollector(Collector):
    """The metrics of services of this process.

    Args:
        services: The services.
    """

    def __init__(self, *services: Service) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from families(service.stats() for service in self._services)


class DiscoveryCollector(Collector):
    """The metrics of every instance that answers ``$SRV.STATS``, asked anew for each scrape.

    Scrapes run in threads of the HTTP server; the asking runs in the event loop it was made in.

    Args:
        client: The client to ask with.
        service: Only instances of this service.
        max_wait: Seconds to gather answers.
    """

    def __init__(
        self, client: Client, service: str | None = None, *, max_wait: float = 1.0
    ) -> None:
        self._client = client
        self._service = service
        self._max_wait = max_wait
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all instances that answered.

        Raises:
            TimeoutError: The event loop does not answer.
            nats.errors.Error: The connection is gone.
        """
        asked = self._client.stats(
            self._service, self._max_wait, max_interval=min(0.3, self._max_wait)
        )
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        yield from families(future.result(self._max_wait + 5))

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not ask."""
        return ()


def families(found: Iterable[ServiceStats]) -> Iterator[Metric]:
    """Yield the metrics of instances."""
    up = GaugeMetricFamily("micro_service_info", "A running instance.", labels=SERVICE_LABELS)
    started = GaugeMetricFamily(
        "micro_service_started_timestamp_seconds",
        "When the instance was started or reset.",
        labels=SERVICE_LABELS,
    )
    endpoints = _EndpointFamilies()
    for stats in found:
        labels = (stats.name, stats.version, stats.id)
        up.add_metric(labels, 1)
        started.add_metric(labels, stats.started.timestamp())
        for endpoint in stats.endpoints:
            endpoints.add(labels, endpoint)
    yield up
    yield started
    yield from endpoints.all()


class _EndpointFamilies:
    def __init__(self) -> None:
        prefix = "micro_endpoint"
        self._requests = CounterMetricFamily(
            f"{prefix}_requests", "Requests answered or refused.", labels=ENDPOINT_LABELS
        )
        self._errors = CounterMetricFamily(
            f"{prefix}_errors", "Errors, refusals included.", labels=ENDPOINT_LABELS
        )
        self._seconds = CounterMetricFamily(
            f"{prefix}_processing_seconds", "Time spent in handlers.", labels=ENDPOINT_LABELS
        )
        self._in_flight = GaugeMetricFamily(
            f"{prefix}_in_flight", "Requests that run now.", labels=ENDPOINT_LABELS
        )
        self._queued = GaugeMetricFamily(
            f"{prefix}_queued", "Requests that wait for a free slot.", labels=ENDPOINT_LABELS
        )
        self._latency = GaugeMetricFamily(
            f"{prefix}_latency_seconds",
            "Time in the handler, by quantile.",
            labels=(*ENDPOINT_LABELS, "quantile"),
        )

    def add(self, instance: tuple[str, ...], endpoint: EndpointStats) -> None:
        labels = (*instance, endpoint.name, endpoint.subject, endpoint.queue_group)
        self._requests.add_metric(labels, endpoint.num_requests)
        self._errors.add_metric(labels, endpoint.num_errors)
        self._seconds.add_metric(labels, endpoint.processing_time * NANOSECONDS)
        own = endpoint.data.get("micro") if isinstance(endpoint.data, dict) else None
        if isinstance(own, dict):
            self._add_own(labels, own)

    def _add_own(self, labels: tuple[str, ...], own: dict[str, Any]) -> None:
        for family, key in ((self._in_flight, "in_flight"), (self._queued, "queued")):
            if isinstance(own.get(key), int):
                family.add_metric(labels, own[key])
        for key, quantile in (("p50_ns", "0.5"), ("p95_ns", "0.95"), ("p99_ns", "0.99")):
            if isinstance(own.get(key), int):
                self._latency.add_metric((*labels, quantile), own[key] * NANOSECONDS)

    def all(self) -> Iterator[Metric]:
        yield from (self._requests, self._errors, self._seconds)
        yield from (self._in_flight, self._queued, self._latency)
