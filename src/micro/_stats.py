"""Counters of one endpoint; pure, and told the time by its caller."""

from __future__ import annotations

from typing import Any


class EndpointCounters:
    """What an endpoint has done since it was added or reset.

    A request counts once it is answered, refused ones included; times are nanoseconds.
    """

    __slots__ = ("last_error", "num_errors", "num_requests", "processing_time")

    def __init__(self) -> None:
        self.num_requests = 0
        self.num_errors = 0
        self.processing_time = 0
        self.last_error = ""

    def fail(self, code: int, description: str) -> None:
        """Count an error; ``last_error`` becomes ``<code>:<description>`` as in nats.go."""
        self.num_errors += 1
        self.last_error = f"{code}:{description}"

    def reset(self) -> None:
        """Start again from nothing."""
        self.num_requests = self.num_errors = self.processing_time = 0
        self.last_error = ""

    def snapshot(self) -> dict[str, Any]:
        """Return the counters under their ADR-32 names; the average is truncated, 0 at first."""
        requests = self.num_requests
        return {
            "num_requests": requests,
            "num_errors": self.num_errors,
            "last_error": self.last_error,
            "processing_time": self.processing_time,
            "average_processing_time": self.processing_time // requests if requests else 0,
        }
