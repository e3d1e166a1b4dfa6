"""Errors of the package.

MicroHTTPError
├── ConfigError             also ValueError: an invalid parameter
├── ClosedError             also RuntimeError: the client is closed
├── LoopChangedError        also RuntimeError: the client belongs to another event loop
├── CircuitOpenError        also httpx.TransportError: the circuit of the origin is open
├── TryTimeoutError         also httpx.TimeoutException: one try exceeded `try_timeout`
└── DeadlineExceededError   also httpx.TimeoutException: all tries together exceeded `deadline`

Faults of the network or the server stay httpx (or httpcore) errors, unchanged.
"""

from typing import Any

from micro_http._httpx import httpx


class MicroHTTPError(Exception):
    """The root of the errors of this package."""


class ConfigError(MicroHTTPError, ValueError):
    """An invalid parameter."""


class ClosedError(MicroHTTPError, RuntimeError):
    """The client is closed."""

    def __init__(self) -> None:
        super().__init__("client is closed")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class LoopChangedError(MicroHTTPError, RuntimeError):
    """The client belongs to another event loop.

    A client makes a new pool when the loop before has stopped, but keeps the pool of a transport
    that it was given.
    """

    def __init__(self) -> None:
        super().__init__("client belongs to another event loop: expected one client per loop")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class CircuitOpenError(MicroHTTPError, httpx.TransportError):
    """The circuit breaker refuses a request to an origin that kept failing.

    Attributes:
        origin: Scheme, host and port, as in `https://example.com:8443`.
        retry_in: Seconds until the breaker admits a trial; 0.0 while a trial is under way.
    """

    def __init__(self, origin: str, retry_in: float) -> None:
        super().__init__(
            f"circuit of {origin!r} is open: expected to try again in {retry_in:.3f} s"
        )
        self.origin = origin
        self.retry_in = retry_in

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.origin, self.retry_in)


class TryTimeoutError(MicroHTTPError, httpx.TimeoutException):
    """One try took longer than the `try_timeout` of the policy, in seconds."""

    def __init__(self, try_timeout: float) -> None:
        super().__init__(f"no answer to this try within {try_timeout:g} s")
        self.try_timeout = try_timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.try_timeout,)


class DeadlineExceededError(MicroHTTPError, httpx.TimeoutException):
    """All tries together took longer than the `deadline` of the policy, in seconds."""

    def __init__(self, deadline: float) -> None:
        super().__init__(f"no answer within the deadline of {deadline:g} s over all tries")
        self.deadline = deadline

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.deadline,)
