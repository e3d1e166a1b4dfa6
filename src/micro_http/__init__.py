"""Resilient HTTP on httpx: a client that retries, and its policy engine as transports for any httpx client."""

from micro_http._context import Jitter, RequestContext
from micro_http._engine import Observer, Try
from micro_http._errors import (
    CircuitOpenError,
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    MicroHTTPError,
    TryTimeoutError,
)
from micro_http._httpx import shared_ssl_context
from micro_http._policy import CircuitBreaker, RetryBudget, RetryPolicy
from micro_http._runner import no_delays
from micro_http._transport import AsyncRetryTransport, RetryTransport

__all__ = [
    "AsyncRetryTransport",
    "CircuitBreaker",
    "CircuitOpenError",
    "ClosedError",
    "ConfigError",
    "DeadlineExceededError",
    "Jitter",
    "MicroHTTPError",
    "Observer",
    "RequestContext",
    "RetryBudget",
    "RetryPolicy",
    "RetryTransport",
    "Try",
    "TryTimeoutError",
    "no_delays",
    "shared_ssl_context",
]
