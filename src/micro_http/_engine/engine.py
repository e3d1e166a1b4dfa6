"""The decisions about one request, without I/O: try it, return its outcome, or wait and retry."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from micro_http._engine.breaker import Circuits, TokenBucket
from micro_http._engine.context import RequestContext, require_collection
from micro_http._engine.policy import IDEMPOTENT_METHODS, RetryPolicy
from micro_http._errors import DeadlineExceededError
from micro_http._httpx import POOL_TIMEOUTS, TRANSPORT_ERRORS, UNSENT_ERRORS, httpx

logger = logging.getLogger("micro_http.engine")


@dataclass(frozen=True)
class Try:
    """One finished try, as passed to observers.

    Attributes:
        method: HTTP method.
        origin: Scheme, host and port.
        number: 1 for the first try of a request.
        elapsed: Duration of the try in seconds.
        status_code: Status of the response, if there was one.
        error: The exception, if there was no response.
        retry_in: Seconds until the next try; None after the last one.
    """

    method: str
    origin: str
    number: int
    elapsed: float
    status_code: int | None
    error: BaseException | None
    retry_in: float | None


Observer = Callable[[Try], None]
RetryListener = Callable[[RequestContext, httpx.Response | Exception], None]


@dataclass(frozen=True)
class Target:
    """The properties of a request that decide about retries.

    Attributes:
        method: HTTP method, upper case.
        origin: Scheme, host and port.
        idempotent: Whether it may be sent twice; None if only a policy that repeats requests of
            any method may send it twice.
        replayable: Whether its body can be sent twice.
    """

    method: str
    origin: str
    idempotent: bool | None = True
    replayable: bool = True


class Engine:
    """The policy, budget, circuits and observers that all requests of one client share."""

    def __init__(
        self,
        policy: RetryPolicy,
        observers: Iterable[Observer] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.bucket = None if policy.budget is None else TokenBucket(policy.budget)
        self.circuits = None if policy.breaker is None else Circuits(policy.breaker)
        require_collection("observers", observers)
        self._observers = tuple(observers)

    def execution(
        self,
        target: Target,
        context: RequestContext | None = None,
        on_retry: RetryListener | None = None,
    ) -> "Execution":
        """Begin one request; a context overrides the retries and delays of the policy."""
        if self.bucket is not None:
            self.bucket.deposit()
        return Execution(self, target, context, on_retry)

    def context(self) -> RequestContext:
        """Return a new context with the retries and delays of the policy."""
        policy = self.policy
        return RequestContext(
            max_retries=policy.max_retries,
            base_delay=policy.base_delay,
            max_delay=policy.max_delay,
            jitter=policy.jitter,
        )

    @property
    def observed(self) -> bool:
        """Whether there are observers."""
        return bool(self._observers)

    def observe(self, ended: Try) -> None:
        """Call the observers; an exception in one is logged."""
        for observer in self._observers:
            try:
                observer(ended)
            except Exception:
                logger.exception(
                    "observer %r failed on %s %s", observer, ended.method, ended.origin
                )


class Execution:
    """One request from its first try to its last.

    Attributes:
        attempts: Calls made so far, hedges included.
    """

    def __init__(
        self,
        engine: Engine,
        target: Target,
        context: RequestContext | None,
        on_retry: RetryListener | None,
    ) -> None:
        self.target = target
        self.attempts = 0
        self._context = context
        self._engine = engine
        self._policy = engine.policy
        self._on_retry = on_retry
        self._started = self._try_started = engine.clock()

    @property
    def context(self) -> RequestContext:
        """The context of the current attempt, made on first use: most requests need none."""
        if self._context is None:
            self._context = self._engine.context()
        return self._context

    @property
    def elapsed(self) -> float:
        """Seconds since the request began."""
        return self._engine.clock() - self._started

    @property
    def remaining(self) -> float | None:
        """Seconds left until the deadline; None without one."""
        deadline = self._policy.deadline
        return None if deadline is None else max(0.0, deadline - self.elapsed)

    def check_deadline(self) -> None:
        """Check that time is left.

        Raises:
            DeadlineExceededError: The deadline of the policy has passed.
        """
        deadline = self._policy.deadline
        if deadline is not None and self.remaining == 0:
            raise DeadlineExceededError(deadline)

    def begin(self) -> None:
        """Begin a try.

        Raises:
            CircuitOpenError: The circuit of the origin is open.
            DeadlineExceededError: The deadline of the policy has passed.
        """
        self.check_deadline()
        self._try_started = self._engine.clock()
        if self._engine.circuits is not None:
            self._engine.circuits.admit(self.target.origin, self._try_started)
        self.attempts += 1

    def may_hedge(self) -> bool:
        """Return whether a second copy may be sent now, and count it."""
        if not self._within_budget():
            return False
        self.attempts += 1
        return True

    def failed(self, error: BaseException, *, answered: bool = False) -> float | None:
        """Record an exception; return the seconds until the next try, or None to raise it.

        `answered` says that the call received a response before, such as a redirect: then the
        request was sent, even if the error is one of connecting.
        """
        blamed = isinstance(error, TRANSPORT_ERRORS) and not isinstance(error, POOL_TIMEOUTS)
        self._judge(failed=blamed or None)
        delay = None
        if isinstance(error, self._policy.retry_on):
            unsent = isinstance(error, UNSENT_ERRORS)
            if self._may_resend(unsent=unsent and not answered, strict=unsent):
                delay = self._next_delay(error)
        self._report(None, error, delay)
        return delay

    def answered(self, response: httpx.Response) -> float | None:
        """Record a response; return the seconds until the next try, or None to return it."""
        status = response.status_code
        breaker = self._policy.breaker
        self._judge(failed=breaker is not None and breaker.is_failure(response))
        delay = None
        if status in self._policy.statuses and self._may_resend():
            delay = self._next_delay(response)
        self._report(status, None, delay)
        return delay

    def _may_resend(self, *, unsent: bool = False, strict: bool = False) -> bool:
        if unsent:
            return True
        idempotent = self.target.idempotent
        if idempotent is None:
            idempotent = not strict and not self._policy.idempotent_only
        return idempotent and self.target.replayable

    def _within_budget(self) -> bool:
        return self._engine.bucket is None or self._engine.bucket.take()

    def _next_delay(self, cause: httpx.Response | Exception) -> float | None:
        following = self.context.increment_attempt()
        if not following.has_retries_left:
            return None
        delay = self.context.calculate_delay()
        if self._policy.retry_after_cap is not None and isinstance(cause, httpx.Response):
            delay = max(delay, min(retry_after(cause.headers), self._policy.retry_after_cap))
        remaining = self.remaining
        if (remaining is not None and delay >= remaining) or not self._within_budget():
            return None
        self._context = replace(following, last_delay=delay)
        if self._on_retry is not None:
            self._on_retry(self._context, cause)
        return delay

    def _judge(self, failed: bool | None) -> None:
        circuits = self._engine.circuits
        if circuits is None:
            return
        if failed is None:
            circuits.abandoned(self.target.origin)
        elif failed:
            circuits.failed(self.target.origin, self._engine.clock())
        else:
            circuits.succeeded(self.target.origin)

    def _report(self, status: int | None, error: BaseException | None, delay: float | None) -> None:
        if not self._engine.observed:
            return
        elapsed = self._engine.clock() - self._try_started
        target = self.target
        self._engine.observe(
            Try(target.method, target.origin, self.attempts, elapsed, status, error, delay)
        )


def retry_after(headers: httpx.Headers) -> float:
    """Return the seconds in `Retry-After`, a number or a date; 0.0 if it is unusable.

    Source: RFC 9110 section 10.2.3.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):  # it raises all of them
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def target_of(request: httpx.Request) -> Target:
    """Return the properties of a request that decide about retries."""
    try:
        replayable = request.content is not None
    except httpx.RequestNotRead:  # a stream can be read only once
        replayable = False
    idempotent = is_idempotent(request.method, request.headers, request.extensions)
    return Target(request.method, origin_of(request.url), idempotent, replayable)


def is_idempotent(
    method: str, headers: httpx.Headers, extensions: Mapping[str, Any] | None
) -> bool | None:
    """Return `Target.idempotent` of a request; its extension `idempotent` decides first.

    Source: RFC 9110 section 9.2.2; draft-ietf-httpapi-idempotency-key-header.
    """
    given = None if extensions is None else extensions.get("idempotent")
    if given is not None:
        return bool(given)
    return True if method.upper() in IDEMPOTENT_METHODS or "idempotency-key" in headers else None


def origin_of(url: httpx.URL) -> str:
    """Return scheme, host and port of a URL, the default port left out."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
