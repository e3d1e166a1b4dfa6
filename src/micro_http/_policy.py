"""RetryPolicy: what is retried, how long it may take and what protects the server; two presets."""

from dataclasses import dataclass
from typing import Self

from micro_http._context import Jitter, require_jitter, require_positive
from micro_http._errors import ConfigError
from micro_http._httpx import CONNECT_ERRORS, TRANSPORT_ERRORS

IDEMPOTENT_METHODS = frozenset(
    {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
)  # RFC 9110 9.2.2


@dataclass(frozen=True)
class RetryBudget:
    """Let retries be only a share of the traffic, so that an outage is not answered with a storm.

    A token bucket per client: each request adds `ratio` tokens, each retry or hedge takes one.

    Attributes:
        ratio: retries allowed per request in the long run.
        burst: tokens the bucket holds, and starts with.
    """

    ratio: float = 0.1
    burst: float = 10.0

    def __post_init__(self) -> None:
        require_positive("ratio", self.ratio, zero=True)
        require_positive("burst", self.burst, zero=True)


@dataclass(frozen=True)
class CircuitBreaker:
    """Stop sending to an origin that keeps failing, and try it again with one request at a time.

    A failure is a transport error or a status of 500 and above.

    Attributes:
        failures: consecutive failures after which the circuit opens.
        open_for: seconds it stays open before one trial request is let through.
    """

    failures: int = 5
    open_for: float = 30.0

    def __post_init__(self) -> None:
        require_positive("failures", self.failures)
        require_positive("open_for", self.open_for)


@dataclass(frozen=True)
class RetryPolicy:
    """Describe how requests are retried; the defaults retry connection errors twice and nothing else.

    Attributes:
        max_retries: repetitions after the first try.
        base_delay: seconds before the first retry; each further one waits twice as long.
        max_delay: upper bound of one delay, in seconds.
        jitter: see `RequestContext.jitter`.
        retry_on: exception classes that are retried.
        statuses: response statuses that are retried; the last response is returned when retries run out.
        retry_after_cap: obey `Retry-After` up to this many seconds; None ignores the header.
        idempotent_only: repeat a request that may have been sent only if its method is idempotent
            (RFC 9110 9.2.2) or it has an `Idempotency-Key` header. A single request overrules this with
            `extensions={"idempotent": True}` or `False`.
        deadline: seconds for all tries and delays together.
        try_timeout: seconds for one try.
        max_concurrency: tries under way at the same time; others wait.
        hedge_after: seconds without an answer after which a GET is sent once more and the first answer wins.
            Asynchronous clients only.
        budget: see `RetryBudget`.
        breaker: see `CircuitBreaker`; one circuit per origin.

    Raises:
        ConfigError: a value that can't work.
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
        if not all(
            issubclass(kind, Exception) for kind in self.retry_on
        ):  # or cancelling would be retried
            raise ConfigError(
                f"invalid retry_on {self.retry_on!r}: expected subclasses of Exception"
            )
        unknown = sorted(status for status in self.statuses if not 100 <= status <= 599)
        if unknown:
            raise ConfigError(f"invalid statuses {unknown!r}: expected numbers from 100 to 599")

    @classmethod
    def for_connection_errors(cls, max_retries: int = 2, base_delay: float = 1.0) -> Self:
        """Return the default policy: only errors of connecting, additive jitter, nothing else."""
        return cls(max_retries=max_retries, base_delay=base_delay)

    @classmethod
    def for_registry(
        cls,
        max_retries: int = 3,
        retry_backoff_ms: int = 1000,
        retry_max_backoff_ms: int = 20000,
    ) -> Self:
        """Return the policy of the schema registry clients, with parameters in milliseconds.

        Any transport error and 429, 502, 503, 504 are retried after 0 to min(backoff * 2^n, max_backoff) ms.
        `Retry-After` is obeyed up to the same maximum.
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
