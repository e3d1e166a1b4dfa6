"""The counters of one endpoint; pure, the caller measures the time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Any

from micro._native import accelerated

QUANTILES = {"p50_ns": 0.5, "p95_ns": 0.95, "p99_ns": 0.99}
MAX_CODES = 64
MAX_LAST_ERROR = 300
"""Limit on the characters of `last_error`, as callers may choose the words of an error."""

RECENT = 512
"""Latest requests that the quantiles cover: enough for the 99th, and 20 KB of a busy endpoint."""

BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds in seconds of the histogram of times, for every endpoint, so that they add up."""

BUCKET_NAMES = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
"""The names of the buckets in `durations`, as Prometheus writes them."""

_BOUNDS = tuple(round(bound * 1e9) for bound in BUCKETS)
_QUICK = _BOUNDS[0]


@accelerated
class Tally:
    """The number of requests, and the times of their handlers in nanoseconds."""

    __slots__ = ("_buckets", "_latest", "num_requests", "processing_time")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Set everything to zero."""
        self.num_requests = self.processing_time = 0
        self._buckets = [0] * len(BUCKET_NAMES)
        self._latest: deque[int] | None = None  # most endpoints of a large service are idle

    def handled(self, times: Sequence[int]) -> None:
        """Count requests whose handlers took these times."""
        count, total = len(times), sum(times)
        self.num_requests += count
        self.processing_time += total
        if self._latest is None:
            self._latest = deque(maxlen=RECENT)
        self._latest.extend(times)
        # Quick handlers do not wait for a histogram.
        if total <= _QUICK or max(times) <= _QUICK:
            self._buckets[0] += count
            return
        for elapsed in times:
            self._buckets[bisect_left(_BOUNDS, elapsed)] += 1

    def buckets(self) -> list[int]:
        """Return the number of times in each bucket, the last one without an upper bound."""
        return self._buckets.copy()

    def latest(self) -> list[int]:
        """Return the latest times, at most `RECENT` of them, in order."""
        return list(self._latest or ())


class EndpointCounters(Tally):
    """The counters of an endpoint since it was added or reset.

    A request counts once it is answered or refused; times are nanoseconds. Quantiles cover the
    latest requests only, so that present slowness shows and memory is bounded.
    """

    __slots__ = ("errors", "expired", "last_error", "num_errors", "rejected")

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Set all counters to zero."""
        self.clear()
        self.num_errors = self.rejected = self.expired = 0
        self.last_error = ""
        self.errors: dict[int, int] = {}

    def fail(self, code: int, description: str) -> None:
        """Count an error; `last_error` becomes `<code>:<description>` as in nats.go."""
        self.num_errors += 1
        self.last_error = f"{code}:{description}"[:MAX_LAST_ERROR]
        if code in self.errors or len(self.errors) < MAX_CODES:
            self.errors[code] = self.errors.get(code, 0) + 1

    def quantiles(self) -> dict[str, int]:
        """Return the times of handlers by quantile; empty before the first request."""
        times = sorted(self.latest())
        last = len(times) - 1
        return {name: times[round(part * last)] for name, part in QUANTILES.items() if times}

    def durations(self) -> dict[str, int]:
        """Return the number of times in each bucket that has any, by its upper bound in seconds."""
        named = zip(BUCKET_NAMES, self.buckets(), strict=True)
        return {name: count for name, count in named if count}

    def details(self) -> dict[str, Any]:
        """Return the counters without a name in ADR-32: refusals, error codes, times."""
        return {
            "rejected": self.rejected,
            "expired": self.expired,
            "errors": {str(code): count for code, count in sorted(self.errors.items())},
            **self.quantiles(),
            **({"durations": durations} if (durations := self.durations()) else {}),
        }
