"""Resilient HTTP on httpx: a client that retries, and its policy engine as httpx transports."""

from micro_http._client import AsyncResilientClient
from micro_http._engine.context import Jitter, RequestContext
from micro_http._engine.engine import Observer, Try
from micro_http._engine.exchange import PerLoop, on_behalf_of
from micro_http._engine.policy import CircuitBreaker, RetryBudget, RetryPolicy
from micro_http._engine.runner import no_delays
from micro_http._errors import (
    CircuitOpenError,
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    LoopChangedError,
    MicroHTTPError,
    TryTimeoutError,
)
from micro_http._httpx import shared_ssl_context
from micro_http._observability.events import AsyncEvent, EventCallback, EventType, RequestResult
from micro_http._observability.metrics import opentelemetry_observer, prometheus_observer
from micro_http._options import open_client
from micro_http._shortcuts import create_async_resilient_client, simple_async_request
from micro_http._transport import AsyncRetryTransport, RetryTransport
from micro_http._urls import hide_credentials, split_credentials

__all__ = [
    "AsyncEvent",
    "AsyncResilientClient",
    "AsyncRetryTransport",
    "CircuitBreaker",
    "CircuitOpenError",
    "ClosedError",
    "ConfigError",
    "DeadlineExceededError",
    "EventCallback",
    "EventType",
    "Jitter",
    "LoopChangedError",
    "MicroHTTPError",
    "Observer",
    "PerLoop",
    "RequestContext",
    "RequestResult",
    "RetryBudget",
    "RetryPolicy",
    "RetryTransport",
    "Try",
    "TryTimeoutError",
    "create_async_resilient_client",
    "hide_credentials",
    "no_delays",
    "on_behalf_of",
    "open_client",
    "opentelemetry_observer",
    "prometheus_observer",
    "shared_ssl_context",
    "simple_async_request",
    "split_credentials",
]

for _name in __all__:  # tracebacks, reprs and pickles name the module that users import
    if getattr(globals()[_name], "__module__", "").startswith("micro_http._"):
        globals()[_name].__module__ = __name__
