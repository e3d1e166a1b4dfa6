"""Errors of the package.

MicroHTTPError
├── ConfigError             also ValueError: a parameter that can't work
├── ClosedError             also RuntimeError: the client was used after close()
├── CircuitOpenError        also httpx.TransportError: the breaker of this origin is open
├── TryTimeoutError         also httpx.TimeoutException: one try took longer than `try_timeout`
└── DeadlineExceededError   also httpx.TimeoutException: all tries together took longer than `deadline`

Whatever the network or the server did wrong stays an httpx (or httpcore) error, unchanged.
"""

from typing import Any

from micro_http._httpx import httpx


class MicroHTTPError(Exception):
    """Root of the errors this package raises itself."""


class ConfigError(MicroHTTPError, ValueError):
    """A parameter has a value that can't work."""


class ClosedError(MicroHTTPError, RuntimeError):
    """The client was used after it had been closed."""

    def __init__(self) -> None:
        super().__init__("client is closed")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class CircuitOpenError(MicroHTTPError, httpx.TransportError):
    """The circuit breaker refuses to send to an origin that kept failing.

    Attributes:
        origin: scheme, host and port, as in `https://example.com:443`.
        retry_in: seconds until the breaker lets a trial through; 0.0 while a trial is under way.
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
    """One try took longer than the policy's `try_timeout`, in seconds."""

    def __init__(self, try_timeout: float) -> None:
        super().__init__(f"no answer to this try within {try_timeout:g} s")
        self.try_timeout = try_timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.try_timeout,)


class DeadlineExceededError(MicroHTTPError, httpx.TimeoutException):
    """All tries together took longer than the policy's `deadline`, in seconds."""

    def __init__(self, deadline: float) -> None:
        super().__init__(f"no answer within the deadline of {deadline:g} s over all tries")
        self.deadline = deadline

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.deadline,)
