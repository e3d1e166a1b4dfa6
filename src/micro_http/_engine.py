"""The decisions of one request, free of I/O: may it be tried, was that final, how long to wait."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from micro_http._breaker import Circuits, TokenBucket
from micro_http._context import RequestContext
from micro_http._errors import DeadlineExceededError
from micro_http._httpx import TRANSPORT_ERRORS, UNSENT_ERRORS, httpx
from micro_http._policy import IDEMPOTENT_METHODS, RetryPolicy

logger = logging.getLogger("micro_http.engine")


@dataclass(frozen=True)
class Try:
    """What an observer is told when one try has ended.

    Attributes:
        method: HTTP method.
        origin: scheme, host and port.
        number: 1 for the first try of a request.
        elapsed: seconds this try took.
        status_code: of the response, if there was one.
        error: the exception, if there was no response.
        retry_in: seconds until the next try; None if this was the last one.
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
    """The part of a request that decides about retries.

    Attributes:
        method: HTTP method, upper case.
        origin: scheme, host and port.
        idempotent: whether it may be sent twice.
        replayable: whether its body can be sent twice.
    """

    method: str
    origin: str
    idempotent: bool = True
    replayable: bool = True


class Engine:
    """What all requests of one client share: policy, budget, circuits and observers."""

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
        self._observers = tuple(observers)

    def execution(
        self,
        target: Target,
        context: RequestContext | None = None,
        on_retry: RetryListener | None = None,
    ) -> "Execution":
        """Begin one request; the context, if given, rules over the policy's retries and delays."""
        if self.bucket is not None:
            self.bucket.deposit()
        return Execution(self, target, context, on_retry)

    def context(self) -> RequestContext:
        """Return a new context with the policy's retries and delays."""
        policy = self.policy
        return RequestContext(
            max_retries=policy.max_retries,
            base_delay=policy.base_delay,
            max_delay=policy.max_delay,
            jitter=policy.jitter,
        )

    @property
    def observed(self) -> bool:
        """Tell whether there is anybody to be told of a try."""
        return bool(self._observers)

    def observe(self, ended: Try) -> None:
        """Tell the observers; one that raises is logged and harms nobody."""
        for observer in self._observers:
            try:
                observer(ended)
            except Exception:
                logger.exception(
                    "observer %r failed on %s %s", observer, ended.method, ended.origin
                )


class Execution:
    """One request from first try to last. The runner asks and obeys.

    Attributes:
        attempts: calls made so far, hedges included.
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
        """The context of the current attempt, made when first asked for: most requests need none."""
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
        """Raise if no time is left.

        Raises:
            DeadlineExceededError: the policy's deadline has passed.
        """
        deadline = self._policy.deadline
        if deadline is not None and self.remaining == 0:
            raise DeadlineExceededError(deadline)

    def begin(self) -> None:
        """Begin a try.

        Raises:
            CircuitOpenError: the origin's circuit is open.
            DeadlineExceededError: the policy's deadline has passed.
        """
        self.check_deadline()
        self._try_started = self._engine.clock()
        if self._engine.circuits is not None:
            self._engine.circuits.admit(self.target.origin, self._try_started)
        self.attempts += 1

    def may_hedge(self) -> bool:
        """Tell whether a second copy may be sent now, and count it if so."""
        if not self._within_budget():
            return False
        self.attempts += 1
        return True

    def failed(self, error: BaseException) -> float | None:
        """Take note of an exception; return the seconds until the next try, or None to raise it."""
        self._judge(failed=isinstance(error, TRANSPORT_ERRORS) or None)
        delay = None
        if isinstance(error, self._policy.retry_on) and self._may_resend(
            isinstance(error, UNSENT_ERRORS)
        ):
            delay = self._next_delay(error)
        self._report(None, error, delay)
        return delay

    def answered(self, response: httpx.Response) -> float | None:
        """Take note of a response; return the seconds until the next try, or None to return it."""
        status = response.status_code
        self._judge(failed=status >= 500)
        delay = None
        if status in self._policy.statuses and self._may_resend(unsent=False):
            delay = self._next_delay(response)
        self._report(status, None, delay)
        return delay

    def _may_resend(self, unsent: bool) -> bool:
        return unsent or (self.target.idempotent and self.target.replayable)

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
    """Return the seconds `Retry-After` asks for, as a number or a date; 0.0 if it says nothing usable.

    Source: RFC 9110 section 10.2.3.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def target_of(request: httpx.Request, policy: RetryPolicy) -> Target:
    """Describe a request to the engine."""
    try:
        replayable = request.content is not None
    except httpx.RequestNotRead:  # a stream: it can be read only once
        replayable = False
    given = request.extensions.get("idempotent")
    if given is None:
        given = not policy.idempotent_only or is_idempotent(request.method, request.headers)
    return Target(request.method, origin_of(request.url), bool(given), replayable)


def is_idempotent(method: str, headers: httpx.Headers) -> bool:
    """Tell whether a request with this method and these headers may arrive twice.

    Source: RFC 9110 section 9.2.2; the Idempotency-Key header of draft-ietf-httpapi-idempotency-key-header.
    """
    return method.upper() in IDEMPOTENT_METHODS or "idempotency-key" in headers


def origin_of(url: httpx.URL) -> str:
    """Return scheme, host and port of a URL, the default port left out."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
