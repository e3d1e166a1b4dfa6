"""Requests that wait for a free slot: bounded in number, in bytes, and where wanted in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from micro._request import NatsRequest


class Waiting:
    """A queue in the order of arrival.

    Args:
        max_msgs: How many requests may wait.
        max_bytes: Bytes of their payloads together.
        max_seconds: How long one may wait; None for as long as it takes.
        late: Given each request that has waited too long, when it is out of the queue.
    """

    def __init__(
        self,
        *,
        max_msgs: int,
        max_bytes: int,
        max_seconds: float | None,
        late: Callable[[NatsRequest], None],
    ) -> None:
        self._max_msgs = max_msgs
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._late = late
        self._queue: deque[tuple[NatsRequest, float]] = deque()  # with the time of arrival
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def keep(self, request: NatsRequest) -> bool:
        """Add a request; False when there is no room for it."""
        size = self._bytes + len(request.data())
        if len(self._queue) >= self._max_msgs or size > self._max_bytes:
            return False
        self._queue.append((request, self._loop.time()))
        self._bytes = size
        self._watch()
        return True

    def take(self) -> NatsRequest:
        """Remove and return the one that has waited longest."""
        request, _ = self._queue.popleft()
        self._bytes -= len(request.data())
        return request

    def _watch(self) -> None:
        if self._max_seconds is not None and self._timer is None and self._queue:
            moment = self._queue[0][1] + self._max_seconds
            self._timer = self._loop.call_at(moment, self._hand_out_late_ones, self._max_seconds)

    def _hand_out_late_ones(self, max_seconds: float) -> None:
        self._timer = None
        arrived_before = self._loop.time() - max_seconds
        while self._queue and self._queue[0][1] <= arrived_before:
            self._late(self.take())
        self._watch()
