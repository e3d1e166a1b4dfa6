"""Delays between attempts, and the order in which a client tries its servers."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from nats.aio.client import Server

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

    def handler(self) -> ReconnectHandler:
        """Return a reconnect handler for one client."""
        return ReconnectHandler(self)


class ReconnectHandler:
    """The order of the attempts of one client: the least recently used server first.

    A round tries each known server once; only its first attempt waits. nats-py reports earlier
    attempts only as counters of the servers.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._round: set[str] = set()  # host and port of the servers tried in this round
        self._rounds = 0
        self._turns: dict[str, int] = {}  # host and port -> the last call that chose it
        self._calls = 0
        self._chosen = ""

    def used(self, server: str) -> None:
        """Record the server of the first connection, which nats-py chooses by itself."""
        self._turns[server] = self._calls

    def __call__(self, pool: list[Server], info: dict[str, Any]) -> tuple[Server | None, float]:
        # nats-py sets the counter of a server to zero after a success.
        if any(s.uri.netloc == self._chosen and s.reconnects == 0 for s in pool):
            self._round.clear()
            self._rounds = 0
        fresh = [entry for entry in pool if entry.uri.netloc not in self._round]
        if not fresh:
            self._round.clear()
            self._rounds += 1
        delay = 0.0 if self._round else self._backoff.delay(self._rounds)
        server = min(fresh or pool, key=lambda entry: self._turns.get(entry.uri.netloc, -1))
        self._calls += 1
        self._chosen = server.uri.netloc
        self._turns[self._chosen] = self._calls
        self._round.add(self._chosen)
        return server, delay
