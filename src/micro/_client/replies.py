"""Many replies to one request (ADR-47)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro._client.requester import in_time
from micro._errors import PayloadTooLargeError
from micro._published import publish
from micro._wire import nats_py
from micro._wire.client_state import check_open
from micro._wire.frames import Message
from micro._wire.paths import path_of

NO_RESPONDERS = "503"


class _TooLargeError(PayloadTooLargeError, nats.errors.MaxPayloadError):
    """A request that exceeds the server's `max_payload`."""


@dataclass(frozen=True, kw_only=True)
class Until:
    """The limits of waiting for replies; the first one reached ends them.

    Attributes:
        max_wait: Seconds in all.
        max_interval: Seconds without a reply, counted from the first reply on.
        max_count: Number of replies.
        sentinel: Called with each reply; return False to stop. That reply is discarded.
    """

    max_wait: float
    max_interval: float | None = None
    max_count: int | None = None
    sentinel: Callable[[Msg], bool] | None = None


class Replies:
    """The replies to one request: an async context manager that yields them as they arrive.

    Time that the consumer spends between two replies does not count. Time in which the server does
    not take the request does.

    Attributes:
        reason: The reason of the end: `timeout`, `stall`, `count`, `sentinel` or `no responders`;
            None before the end.
    """

    def __init__(
        self,
        nc: NatsClient,
        subject: str,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        until: Until,
    ) -> None:
        self.reason: str | None = None
        self._nc = nc
        self._path = path_of(nc)
        self._subject = subject
        self._data = data
        self._headers = dict(headers) if headers else None
        self._until = until
        self._left = until.max_wait
        self._count = 0
        self._received: deque[Msg] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        check_open(self._nc)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._left
        try:
            await self._send(end)
        except nats.errors.TimeoutError:
            self.reason = "timeout"
            await self._close()
        except BaseException:
            await self._close()
            raise
        self._left = end - loop.time()
        return self

    async def _send(self, end: float) -> None:
        """Subscribe and send the request, by the end of the time to wait."""
        congestion = self._path.congestion
        if congestion.on:
            await in_time(congestion.over(), end)
        inbox = self._nc.new_inbox()
        self._subscription = await self._path.subscribe(inbox, "", self._receive)
        try:
            sending = self._path.publish(self._subject, self._data, self._headers, inbox.encode())
        except PayloadTooLargeError as error:
            raise _TooLargeError(error.size, error.limit) from None
        if sending is not None:
            await in_time(sending, end)

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Msg:
        if self.reason is None and not self._received:
            await self._wait()
        if self.reason is None:
            message = self._received.popleft()
            self._judge(message)
            if self.reason in (None, "count"):
                return message
        await self._close()
        raise StopAsyncIteration

    def _judge(self, message: Msg) -> None:
        until = self._until
        if not message.data and message.headers and message.headers.get("Status") == NO_RESPONDERS:
            self.reason = "no responders"
        elif until.sentinel is not None and not until.sentinel(message):
            self.reason = "sentinel"
        else:
            self._count += 1
            if until.max_count is not None and self._count >= until.max_count:
                self.reason = "count"

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        limit, reason = self._left, "timeout"
        stall = self._until.max_interval
        if stall is not None and self._count and stall < limit:
            limit, reason = stall, "stall"
        self._arrival = loop.create_future()
        began = loop.time()
        try:
            async with asyncio.timeout(limit):
                await self._arrival
        except TimeoutError:
            self.reason = reason
        finally:
            self._arrival = None
            self._left -= loop.time() - began

    def _receive(self, messages: list[Message]) -> None:
        self._received.extend(nats_py.msg(self._nc, message) for message in messages)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._path.unsubscribe(subscription)


publish(Replies, Until)
