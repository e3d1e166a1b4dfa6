"""The queue of requests that wait for a free place, bounded in number, bytes and time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from micro._endpoint.options import EndpointOptions
from micro._handlers.nats_request import NatsRequest

Arrival = tuple[NatsRequest, float]
"""A request and the time of its arrival."""

_NONE: deque[Arrival] = deque(maxlen=0)
"""Shared empty queue of endpoints that never had to queue a request; a queue takes 0.5 KB."""


class RequestQueue:
    """A queue in the order of arrival.

    Args:
        options: The options of the endpoint.
        late: Called with each request that has waited too long.

    Attributes:
        arrivals: The requests with the times of their arrival; looked at for each batch.
    """

    __slots__ = (
        "_bytes",
        "_late",
        "_max_bytes",
        "_max_requests",
        "_max_seconds",
        "_timer",
        "arrivals",
    )

    def __init__(self, options: EndpointOptions, late: Callable[[NatsRequest], None]) -> None:
        self._max_requests = options.pending_msgs
        self._max_bytes = options.pending_bytes_limit
        self._max_seconds = options.timeout
        self._late = late
        self.arrivals = _NONE
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.arrivals)

    def keep(self, request: NatsRequest) -> bool:
        """Add a request; return False when there is no room for it."""
        size = self._bytes + len(request.data())
        if len(self.arrivals) >= self._max_requests or size > self._max_bytes:
            return False
        if self.arrivals is _NONE:
            self.arrivals = deque()
        now = asyncio.get_running_loop().time()
        request.arrived(now)
        self.arrivals.append((request, now))
        self._bytes = size
        self._watch()
        return True

    def take(self) -> NatsRequest:
        """Remove and return the request that has waited longest."""
        request, _ = self.arrivals.popleft()
        self._bytes -= len(request.data())
        return request

    def take_all(self) -> Iterator[NatsRequest]:
        """Remove requests in order of arrival, each when it is asked for."""
        while self.arrivals:
            yield self.take()

    def _watch(self) -> None:
        limit = self._max_seconds
        if limit is not None and self._timer is None and self.arrivals:
            moment = self.arrivals[0][1] + limit
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(moment, self._hand_out_late_ones, limit)

    def _hand_out_late_ones(self, max_seconds: float) -> None:
        self._timer = None
        arrived_before = asyncio.get_running_loop().time() - max_seconds
        while self.arrivals and self.arrivals[0][1] <= arrived_before:
            self._late(self.take())
        self._watch()
