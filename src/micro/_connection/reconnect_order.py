"""The order and the delays of the attempts of a client to reconnect."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Server

from micro._backoff import Backoff


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
