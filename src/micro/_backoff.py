"""Delays that grow from attempt to attempt."""

from __future__ import annotations

import random
from typing import NamedTuple

from micro._errors import ConfigError


class Backoff(NamedTuple):
    """Delays that grow from round to round; a round tries every known server once.

    Attributes:
        first_delay: Seconds before the first round.
        factor: The ratio of the delays of two successive rounds.
        max_delay: The longest delay in seconds.
        jitter: The random share of a delay, 0 to 1; it keeps the clients of a server from
            reconnecting at the same moment.
        max_attempts: Attempts per server before giving up; -1 means never.
    """

    first_delay: float = 0.01
    factor: float = 2.0
    max_delay: float = 0.5
    jitter: float = 0.5
    max_attempts: int = -1

    def check(self) -> None:
        """Raise ConfigError for a value out of its range."""
        if not 0 < self.first_delay <= self.max_delay:
            raise ConfigError(
                f"invalid reconnect delays {self.first_delay!r} to {self.max_delay!r}: "
                "expected 0 < first_delay <= max_delay"
            )
        if self.factor < 1:
            raise ConfigError(f"invalid reconnect factor {self.factor!r}: expected 1 or more")
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"invalid reconnect jitter {self.jitter!r}: expected 0 to 1")
        if self.max_attempts != -1 and self.max_attempts < 1:
            raise ConfigError(
                f"invalid reconnect attempts {self.max_attempts!r}: "
                "expected 1 or more, or -1 for ever"
            )

    def delay(self, round_number: int) -> float:
        """Return the seconds to wait in a round; the first round is 0."""
        longest = self.max_delay
        # A higher power overflows, long after the delay has reached its cap.
        if round_number < 64:
            longest = min(self.max_delay, self.first_delay * self.factor**round_number)
        return longest * random.uniform(1 - self.jitter, 1)  # noqa: S311 - spreads load, no secret
