"""Prometheus metrics of own or discovered services (extra "prometheus").

In a program, for the services it runs:

    import prometheus_client
    from micro.prometheus import ServiceCollector

    prometheus_client.REGISTRY.register(ServiceCollector(service))
    prometheus_client.start_http_server(9100)

For every service on a NATS server, in any language: `micro exporter`.

The labels of an instance are service, version and instance; an endpoint also has endpoint, subject
and queue_group. Services in other languages only have the metrics above the line:

    micro_service_info                             1 for each instance
    micro_service_started_timestamp_seconds        start or last reset
    micro_endpoint_requests_total
    micro_endpoint_errors_total
    micro_endpoint_processing_seconds_total
    ------------------------------------------------------------------
    micro_endpoint_in_flight                       requests that run now
    micro_endpoint_queued                          requests that wait for a free slot
    micro_endpoint_rejected_total                  refused: 503
    micro_endpoint_expired_total                   past their deadline: 504
    micro_endpoint_errors_by_code_total{code=...}
    micro_endpoint_latency_seconds{quantile=...}   of the latest requests
    micro_endpoint_duration_seconds                a histogram since the start

Quantiles of instances do not add up; histograms do, as all endpoints have the same buckets:

    histogram_quantile(0.99, sum by (le) (rate(micro_endpoint_duration_seconds_bucket[5m])))

`micro exporter` sees the metrics below the line from the first request of an endpoint on. The
exporter also has `micro_discovery_up`: 1 if the NATS server answered the scrape.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import nats.errors

from micro import _extras
from micro._client.client import Client
from micro._client.rates import bounded, own_figures, shortened
from micro._endpoint.counters import BUCKET_NAMES
from micro._program.context import Context
from micro._protocol.models import EndpointStats, ServiceStats
from micro._protocol.subjects import DEFAULT_API_PREFIX, check_prefix
from micro._service.service import Service
from micro._wire.fence import fence

try:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector, CollectorRegistry
except ModuleNotFoundError as error:
    raise _extras.missing(error, "micro.prometheus", "prometheus") from None

__all__ = ["ContextCollector", "DiscoveryCollector", "ServiceCollector", "make_exposition"]

logger = logging.getLogger("micro.prometheus")

SERVICE_LABELS = ("service", "version", "instance")
ENDPOINT_LABELS = (*SERVICE_LABELS, "endpoint", "subject", "queue_group")
GAUGES = {
    "in_flight": "Requests that run now.",
    "queued": "Requests that wait for a free slot.",
    "consumer_lag": "Messages of the stream that the consumer has not delivered.",
    "consumer_ack_pending": "Messages that all instances have not settled.",
    "consumer_redelivered": "Messages that are delivered more than once, and not settled.",
    "consumer_open": "Messages that this instance has not settled.",
}
COUNTERS = {
    "rejected": "Requests that were refused.",
    "expired": "Requests that were past their deadline.",
    "consumer_acked": "Messages that were acknowledged.",
    "consumer_retried": "Failures after which a message comes again.",
    "consumer_terminated": "Messages that were given up.",
    "consumer_dead_lettered": "Messages that were given up and stored as dead letters.",
}
QUANTILES = {"p50_ns": "0.5", "p95_ns": "0.95", "p99_ns": "0.99"}

NOTHING = dict.fromkeys(("in_flight", "queued", "rejected", "expired"), 0)
"""The figures of an own endpoint that says nothing: STATS has no `data` then."""

NANOSECONDS = 1e-9

GRACE = 5.0
"""Seconds that the event loop may be late with a scrape."""


class ServiceCollector(Collector):
    """The metrics of services of this process.

    Args:
        services: The services.
    """

    def __init__(self, *services: Service) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        yield from families((service.stats() for service in self._services), silent=NOTHING)


class ContextCollector(Collector):
    """The metrics of all services of a program, of later ones too.

    Args:
        context: The context of the program.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        yield from families(service.stats() for service in self._context.services)


def make_exposition(
    context: Context, registry: CollectorRegistry | None = None
) -> Callable[[str], tuple[bytes, str]]:
    """Return a function that writes the metrics of a program in the format of an Accept header.

    It may be called in another thread, and returns the text and its content type.

    Args:
        context: The context of the program.
        registry: A registry with further metrics, to which those of the services are added.
    """
    chosen = CollectorRegistry() if registry is None else registry
    chosen.register(ContextCollector(context))

    def expose(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(chosen), content_type

    return expose


class DiscoveryCollector(Collector):
    """The metrics of every instance that answers `$SRV.STATS`, requested at each scrape.

    Scrapes run in threads of an HTTP server. The requests run in the event loop that created the
    collector, over the connection of a context.

    Args:
        context: The connected context.
        service: The name of the only service to ask; all services by default.
        max_wait: Seconds to wait for answers.
        api_prefix: Prefix of the discovery subjects of the services.
    """

    def __init__(
        self,
        context: Context,
        service: str | None = None,
        *,
        max_wait: float = 1.0,
        api_prefix: str = DEFAULT_API_PREFIX,
    ) -> None:
        self._context = context
        self._service = service
        self._max_wait = max_wait
        self._api_prefix = check_prefix("API prefix", api_prefix)
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterator[Metric]:
        """Yield `micro_discovery_up` and the metrics of all instances that answered."""
        up = GaugeMetricFamily("micro_discovery_up", "Whether the NATS server could be asked.")
        future = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
        try:
            answers = future.result(2 * self._max_wait + GRACE)
        except (nats.errors.Error, OSError) as error:  # a time-out is an OSError
            future.cancel()
            logger.error("cannot ask for statistics: %s", str(error) or type(error).__name__)
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield from families(answers)

    async def _ask(self) -> list[ServiceStats]:
        nc = self._context.client  # another one after a replacement
        if not nc.is_connected:
            raise ConnectionError("not connected")
        answers = await Client(nc, api_prefix=self._api_prefix).stats(self._service, self._max_wait)
        if not answers:  # no service runs, or the server hangs
            await fence(nc, self._max_wait, reconnects=False)
        return answers

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering the collector sends no request."""
        return ()


def families(
    answers: Iterable[ServiceStats], silent: Mapping[str, int] = MappingProxyType({})
) -> Iterator[Metric]:
    """Yield the metrics of instances; the last answer of an instance counts.

    Args:
        answers: The answers to STATS.
        silent: The figures of an endpoint whose answer has none.
    """
    info = GaugeMetricFamily("micro_service_info", "A running instance.", labels=SERVICE_LABELS)
    started = GaugeMetricFamily(
        "micro_service_started_timestamp_seconds",
        "Time of the start or last reset of the instance.",
        labels=SERVICE_LABELS,
    )
    endpoints = _EndpointFamilies(silent)
    for key, stats in {(each.name, each.version, each.id): each for each in answers}.items():
        labels = tuple(map(shortened, key))
        info.add_metric(labels, 1)
        started.add_metric(labels, stats.started.timestamp())
        for endpoint in stats.handlers:
            endpoints.add(labels, endpoint)
    yield info
    yield started
    yield from endpoints.all()


class _EndpointFamilies:
    def __init__(self, silent: Mapping[str, int]) -> None:
        self._silent = silent
        self._seen: set[tuple[str, ...]] = set()
        self._requests = _counter("requests", "Requests answered or refused.")
        self._errors = _counter("errors", "Errors, refusals included.")
        self._seconds = _counter("processing_seconds", "Time spent in handlers.")
        self._own: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
            **{key: _gauge(key, text) for key, text in GAUGES.items()},
            **{key: _counter(key, text) for key, text in COUNTERS.items()},
        }
        self._codes = _counter("errors_by_code", "Errors, by their code.", "code")
        self._latency = _gauge("latency_seconds", "Time in the handler, by quantile.", "quantile")
        self._durations = HistogramMetricFamily(
            "micro_endpoint_duration_seconds", "Time in the handler.", labels=ENDPOINT_LABELS
        )

    def add(self, instance: tuple[str, ...], endpoint: EndpointStats) -> None:
        names = (endpoint.name, endpoint.subject, endpoint.queue_group)
        labels = (*instance, *map(shortened, names))
        if labels in self._seen:  # Prometheus refuses a page with duplicates
            return
        self._seen.add(labels)
        self._requests.add_metric(labels, bounded(endpoint.num_requests))
        self._errors.add_metric(labels, bounded(endpoint.num_errors))
        self._seconds.add_metric(labels, bounded(endpoint.processing_time) * NANOSECONDS)
        own = own_figures(endpoint) or self._silent
        self._add_own(labels, own)
        self._add_durations(labels, own.get("durations"), endpoint)

    def _add_own(self, labels: tuple[str, ...], own: Mapping[str, Any]) -> None:
        consumer = own.get("consumer")
        of_consumer = consumer if isinstance(consumer, dict) else {}
        figures = {**own, **{f"consumer_{key}": count for key, count in of_consumer.items()}}
        for key, family in self._own.items():
            if isinstance(figures.get(key), int):
                family.add_metric(labels, figures[key])
        codes = own.get("errors")
        for code, count in (codes if isinstance(codes, dict) else {}).items():
            if isinstance(count, int):
                self._codes.add_metric((*labels, code), count)
        for key, quantile in QUANTILES.items():
            if isinstance(own.get(key), int):
                self._latency.add_metric((*labels, quantile), own[key] * NANOSECONDS)

    def _add_durations(
        self, labels: tuple[str, ...], counts: object, endpoint: EndpointStats
    ) -> None:
        if not isinstance(counts, dict):
            return
        buckets, total = [], 0
        for name in BUCKET_NAMES:
            count = counts.get(name)
            total += count if isinstance(count, int) else 0
            buckets.append((name, total))
        seconds = bounded(endpoint.processing_time) * NANOSECONDS
        self._durations.add_metric(labels, buckets, seconds)

    def all(self) -> Iterator[Metric]:
        yield from (self._requests, self._errors, self._seconds)
        for key, family in self._own.items():
            if family.samples or not key.startswith("consumer_"):
                yield family
        yield from (self._codes, self._latency, self._durations)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"micro_endpoint_{name}", text, labels=(*ENDPOINT_LABELS, *labels))


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"micro_endpoint_{name}", text, labels=(*ENDPOINT_LABELS, *labels))
