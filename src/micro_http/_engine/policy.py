"""RetryPolicy: the retries, time limits and protection of one client; two presets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from micro_http._engine.context import Jitter, require_collection, require_jitter, require_positive
from micro_http._errors import ConfigError
from micro_http._httpx import CONNECT_ERRORS, TRANSPORT_ERRORS, httpx

IDEMPOTENT_METHODS = frozenset(
    {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
)  # RFC 9110 9.2.2


@dataclass(frozen=True)
class RetryBudget:
    """A limit on the share of retries in the traffic, so that an outage causes no storm of retries.

    Each client has a token bucket: a request adds `ratio` tokens, a retry or hedge takes one.

    Attributes:
        ratio: Retries allowed per request in the long run.
        burst: Capacity of the bucket, and its first content.
    """

    ratio: float = 0.1
    burst: float = 10.0

    def __post_init__(self) -> None:
        require_positive("ratio", self.ratio, zero=True)
        require_positive("burst", self.burst, zero=True)


def _is_server_error(response: httpx.Response) -> bool:
    """Tell whether a response has a status of 500 and above."""
    return response.status_code >= 500


@dataclass(frozen=True)
class CircuitBreaker:
    """A switch that stops requests to an origin that keeps failing.

    A failure is a transport error or, by default, a status of 500 and above.

    Attributes:
        failures: Consecutive failures after which the circuit opens.
        open_for: Seconds that it stays open before it admits one trial request.
        is_failure: Tells whether a response is a failure; its body has not been read yet.
    """

    failures: int = 5
    open_for: float = 30.0
    is_failure: Callable[[httpx.Response], bool] = _is_server_error

    def __post_init__(self) -> None:
        require_positive("failures", self.failures)
        require_positive("open_for", self.open_for)


@dataclass(frozen=True)
class RetryPolicy:
    """How requests are retried; the defaults retry connection errors twice and nothing else.

    Attributes:
        max_retries: Retries after the first try.
        base_delay: Seconds before the first retry; the delay doubles with each further retry.
        max_delay: Upper bound of one delay, in seconds.
        jitter: See `RequestContext.jitter`.
        retry_on: Exception classes that are retried.
        statuses: Response statuses that are retried. The last response is returned when retries
            run out.
        retry_after_cap: Obey `Retry-After` up to this many seconds; None ignores the header.
        idempotent_only: Repeat a request that may have been sent only if its method is idempotent
            (RFC 9110 9.2.2) or it has an `Idempotency-Key` header. One request overrides this with
            `extensions={"idempotent": True}` or `False`.
        deadline: Seconds for all tries and delays together.
        try_timeout: Seconds for one try.
        max_concurrency: Number of tries at the same time; others wait. By default the size of the
            connection pool: `limits` of a client, or 100.
        hedge_after: Seconds without a response after which a GET is sent once more, if there is a
            place for it; the first response wins. Asynchronous clients only.
        budget: See `RetryBudget`.
        breaker: See `CircuitBreaker`; one circuit per origin.

    Raises:
        ConfigError: A value is invalid.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    max_delay: float = 60.0
    jitter: Jitter = "additive"
    retry_on: tuple[type[Exception], ...] = CONNECT_ERRORS
    statuses: frozenset[int] = frozenset()
    retry_after_cap: float | None = None
    idempotent_only: bool = False
    deadline: float | None = None
    try_timeout: float | None = None
    max_concurrency: int | None = None
    hedge_after: float | None = None
    budget: RetryBudget | None = None
    breaker: CircuitBreaker | None = None

    def __post_init__(self) -> None:
        for name in ("max_retries", "base_delay", "max_delay", "retry_after_cap", "hedge_after"):
            require_positive(name, getattr(self, name), zero=True)
        for name in ("deadline", "try_timeout", "max_concurrency"):
            require_positive(name, getattr(self, name))
        require_jitter(self.jitter)
        for name in ("retry_on", "statuses"):
            require_collection(name, getattr(self, name))
        # A subclass of BaseException alone would let a cancellation be retried.
        kinds: tuple[object, ...] = self.retry_on
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise ConfigError(
                f"invalid retry_on {self.retry_on!r}: expected subclasses of Exception"
            )
        given: Sequence[object] = sorted(self.statuses)
        unknown = [each for each in given if not isinstance(each, int) or not 100 <= each <= 599]
        if unknown:
            raise ConfigError(f"invalid statuses {unknown!r}: expected numbers from 100 to 599")

    @classmethod
    def for_connection_errors(cls, max_retries: int = 2, base_delay: float = 1.0) -> Self:
        """Return the default policy: connection errors only, additive jitter."""
        return cls(max_retries=max_retries, base_delay=base_delay)

    @classmethod
    def for_registry(
        cls,
        max_retries: int = 3,
        retry_backoff_ms: int = 1000,
        retry_max_backoff_ms: int = 20000,
    ) -> Self:
        """Return the policy of the schema registry clients, with parameters in milliseconds.

        Any transport error and 429, 502, 503, 504 are retried after 0 to
        min(backoff * 2^n, max_backoff) ms. `Retry-After` is obeyed up to the same maximum.
        """
        return cls(
            max_retries=max_retries,
            base_delay=retry_backoff_ms / 1000,
            max_delay=retry_max_backoff_ms / 1000,
            jitter="full",
            retry_on=TRANSPORT_ERRORS,
            statuses=frozenset({429, 502, 503, 504}),
            retry_after_cap=retry_max_backoff_ms / 1000,
        )
