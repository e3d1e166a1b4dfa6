"""The reading of a streaming answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, Self, TypeVar

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription

from micro._errors import MicroError, RemoteServiceError, StreamLostError
from micro._protocol import deadline
from micro._protocol.adr32 import received_error
from micro._protocol.headers import STATUS, decode_headers
from micro._published import publish
from micro._streams.format import (
    ALIVE,
    ITEM,
    LEASE,
    LEAVE,
    OPEN,
    SEQUENCE,
    STATE,
    WINDOW,
    read_number,
)
from micro._wire.frames import Headers, Message
from micro._wire.paths import path_of
from micro._wire.posting import Post

T = TypeVar("T")

SILENCE = 4
"""Leases without a message from the service after which it counts as gone."""

_END = object()


class Reader:
    """The items of one stream that have arrived, and the words to its service.

    Args:
        nc: The connection.
        subject: The subject of the endpoint, for errors.
        window: Items that may be unread; 0 without flow control.
        lease: Seconds between two signs of life, at most.

    Attributes:
        items: The payloads that have arrived, in order.
        outcome: The end of the stream or its error, once it has arrived.
    """

    def __init__(self, nc: NatsClient, subject: str, window: int, lease: float) -> None:
        self.items: deque[bytes] = deque()
        self.outcome: object = None
        self.path = path_of(nc)
        self._loop = asyncio.get_running_loop()
        self._subject = subject
        self._post = Post(self.path)
        self._step = max(1, window // 2)
        self._lease = lease
        self._control = b""
        self._received = 0  # items, which have this number at least
        self._told = 0
        self._heard = self._loop.time()
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def open(self, data: bytes, headers: Mapping[str, str] | None) -> None:
        """Send the request."""
        nc = self.path.nc
        inbox = nc.new_inbox()
        self._subscription = await self.path.subscribe(inbox, "", self._receive)
        sending = self.path.publish(self._subject, data, headers, inbox.encode())
        if sending is not None:
            await sending

    async def more(self) -> None:
        """Wait for an item, the end, or an error."""
        while not self.items and self.outcome is None:
            self._wake = self._loop.create_future()
            await self._wake

    def credit(self) -> None:
        """Tell the service how many items have been read, if it is time to."""
        read = self._received - len(self.items)
        if read - self._told >= self._step and self._control:
            self._tell(read)

    def _tell(self, read: int) -> None:
        self._told = read
        self._post.send(self._control, b"%d" % read)

    def _receive(self, messages: list[Message]) -> None:
        self._heard = self._loop.time()
        for _, reply, data, headers in messages:
            number = _number(headers)
            if data and number is not None:
                self._received += 1
                if number != self._received:
                    self._fail(f"item {self._received} is missing, item {number} arrived")
                    break
                self.items.append(data)
            else:
                self._note(reply, data, headers)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _note(self, reply: bytes, data: bytes, headers: Headers) -> None:
        """Act on a message that is no numbered item."""
        told = decode_headers(headers) if isinstance(headers, bytes) else headers or {}
        state = told.get(STATE)
        if state == OPEN:
            self._control = reply
            self._tell(self._received - len(self.items))
            self._live()
        elif state == ALIVE:
            return
        elif (error := received_error(told, self._subject, data, RemoteServiceError)) is not None:
            self._end(error)
        elif told.get(STATUS) == "503":
            self._end(nats.errors.NoRespondersError())
        elif data:
            self._received += 1
            self.items.append(data)
        else:
            count = read_number(told.get(SEQUENCE))
            if count is not None and count != self._received:
                self._fail(f"{count - self._received} items at the end are missing")
            else:
                self._end(_END)

    def _fail(self, reason: str) -> None:
        self._end(StreamLostError(self._subject, reason))

    def _end(self, outcome: object) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._stop()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _live(self) -> None:
        """Give a sign of life now and then, and expect one."""
        self._stop()
        if self._loop.time() - self._heard > SILENCE * self._lease:
            self._fail("the service is gone")
            return
        self._timer = self._loop.call_later(self._lease / 3, self._beat)

    def _beat(self) -> None:
        self._timer = None
        self._tell(self._received - len(self.items))
        self._live()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> Awaitable[None] | None:
        """End the stream; the service stops making items. May be called twice."""
        self._stop()
        if self.outcome is None:
            self.outcome = _END
            if self._control:
                self._post.send(self._control, LEAVE)
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return None
        self._leaving = self._loop.create_task(self.path.unsubscribe(subscription))
        return self._leaving


def _number(headers: Headers) -> int | None:
    if isinstance(headers, bytes):
        return int(headers[len(ITEM) : -4]) if headers.startswith(ITEM) else None
    return read_number(headers.get(SEQUENCE)) if headers else None


class Limits(NamedTuple):
    """The limits of one stream; see `Client.stream`."""

    timeout: float | None
    gap: float | None
    window: int
    lease: float

    def headers(self) -> dict[str, str]:
        """Return the headers that ask for flow control."""
        if not self.window:
            return {}
        return {WINDOW: str(self.window), LEASE: str(round(self.lease * 1000))}


class Stream(AsyncIterator[T], Generic[T]):
    """The items of a streaming answer; made by `Client.stream`.

    An async iterator, and an async context manager that leaves the stream at its end. A stream that
    is no longer referred to is left, too, as behind `break` in `async for`.
    """

    def __init__(
        self,
        nc: Callable[[], NatsClient],
        subject: str,
        request: tuple[bytes, dict[str, str]],
        read: Callable[[bytes, str], T],
        limits: Limits,
    ) -> None:
        self._nc = nc
        self._subject = subject
        self._request = request
        self._read = read
        self._limits = limits
        self._reader: Reader | None = None
        self._until: float | None = None

    async def __anext__(self) -> T:
        reader = self._reader
        if reader is None:
            reader = await self._open()
        items = reader.items
        if not items:
            await self._wait(reader)
        item = items.popleft()
        reader.credit()
        return self._read(item, self._subject)

    async def _open(self) -> Reader:
        loop = asyncio.get_running_loop()
        inherited = deadline.inherited()
        moments = [] if inherited is None else [inherited]
        limits = self._limits
        if limits.timeout is not None:
            moments.append(loop.time() + limits.timeout)
        data, headers = self._request
        headers = {**headers, **limits.headers()}
        if moments:
            self._until = min(moments)
            left = self._until - loop.time()
            if left <= 0:
                raise nats.errors.TimeoutError
            headers = {**headers, deadline.HEADER: deadline.header_value(left)}
        reader = self._reader = Reader(self._nc(), self._subject, limits.window, limits.lease)
        await reader.open(data, headers)
        return reader

    async def _wait(self, reader: Reader) -> None:
        """Wait for an item; raise for the end or an error."""
        now = asyncio.get_running_loop().time()
        limits = [] if self._limits.gap is None else [now + self._limits.gap]
        if self._until is not None:
            limits.append(self._until)
        try:
            async with asyncio.timeout_at(min(limits) if limits else None):
                await reader.more()
        except TimeoutError:
            await self.aclose()
            raise nats.errors.TimeoutError from None
        if reader.items:
            return
        outcome = reader.outcome
        await self.aclose()
        if isinstance(outcome, Exception):
            raise outcome
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Leave the stream; the service stops making items. May be called twice."""
        if self._reader is not None:
            leaving = self._reader.leave()
            if leaving is not None:
                await leaving

    async def __aenter__(self) -> Self:
        if self._reader is None:
            await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._reader is not None:
            with contextlib.suppress(RuntimeError, MicroError):  # the event loop may have ended
                self._reader.leave()


publish(Stream)
