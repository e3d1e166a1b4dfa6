"""The bounds of data that the server has not taken yet, the same on both paths."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import nats.errors

PORTION = 1024 * 1024
"""Unsent bytes above which a path is congested: no further request is started then."""

MAX_UNSENT = 24 * 1024 * 1024
"""Unsent bytes above which answers are replaced with 503."""

SMALL = 1024
"""Bytes of an answer that is never replaced, as the 503 itself."""


class CongestedError(nats.errors.OutboundBufferLimitError):
    """The server takes data too slowly, and too much is waiting to be sent."""


class Congestion:
    """The state of a path whose server takes data slowly.

    Attributes:
        on: Whether the path is congested.
        unsent: Bytes of the messages that wait for their turn on the public path.
    """

    __slots__ = ("_waiting", "on", "unsent")

    def __init__(self) -> None:
        self.on = False
        self.unsent = 0
        self._waiting: list[Callable[[], None]] = []

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have a function called once when the congestion is over."""
        self._waiting.append(callback)

    def end(self) -> None:
        """End the congestion."""
        self.on = False
        waiting, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        for callback in waiting:
            loop.call_soon(callback)

    async def over(self) -> None:
        """Wait until the congestion is over."""
        while self.on:
            ended = asyncio.Event()
            self.when_over(ended.set)
            await ended.wait()
