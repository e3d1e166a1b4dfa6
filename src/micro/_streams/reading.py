"""The reading of a streaming answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, Self, TypeVar

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription

from micro._errors import MicroError, RemoteServiceError
from micro._protocol import deadline
from micro._protocol.adr32 import received_error
from micro._protocol.headers import STATUS, decode_headers
from micro._published import publish
from micro._streams.arrivals import END, Arrivals, number_of
from micro._streams.format import (
    ALIVE,
    LEASE,
    LEAVE,
    OPEN,
    READ,
    SEQUENCE,
    STATE,
    UPLOAD,
    WINDOW,
    read_number,
)
from micro._streams.format import END as END_STATE
from micro._streams.sending import Upload
from micro._wire.frames import Headers, Message
from micro._wire.paths import path_of
from micro._wire.posting import Post

T = TypeVar("T")

SILENCE = 4
"""Leases without a message from the service after which it counts as gone."""


class Reader(Arrivals):
    """The items of one stream that have arrived, and the words to its service.

    Args:
        nc: The connection.
        subject: The subject of the endpoint, for errors.
        window: Items that may be unread; 0 without flow control.
        lease: Seconds between two signs of life, at most.
        upload: The items to send; None without any.
    """

    def __init__(
        self, nc: NatsClient, subject: str, window: int, lease: float, upload: Upload | None
    ) -> None:
        super().__init__(subject)
        self.path = path_of(nc)
        self._loop = asyncio.get_running_loop()
        self._upload = upload
        self._post = Post(self.path)
        self._step = max(1, window // 2)
        self._lease = lease
        self._control = b""
        self._told = 0
        self._heard = self._loop.time()
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

    @property
    def sends(self) -> bool:
        """Whether items are being sent, so that the service may answer later."""
        return self._upload is not None and self._upload.runs

    def credit(self) -> None:
        """Tell the service how many items have been read, if it is time to."""
        read = self.received - len(self.items)
        if read - self._told >= self._step and self._control:
            self._tell(read)

    def _tell(self, read: int) -> None:
        self._told = read
        self._post.send(self._control, b"%d" % read)

    def _receive(self, messages: list[Message]) -> None:
        self._heard = self._loop.time()
        if self.has_ended():
            return
        for _, reply, data, headers in messages:
            number = number_of(headers)
            if data and number is not None:
                if not self.take(number, data):
                    break
            else:
                self._note(reply, data, headers)
                if self.has_ended():
                    break
        self.wake()

    def _note(self, reply: bytes, data: bytes, headers: Headers) -> None:
        """Act on a message that is no numbered item."""
        told = decode_headers(headers) if isinstance(headers, bytes) else headers or {}
        state = told.get(STATE)
        if state == OPEN:
            self._open_control(reply, read_number(told.get(READ)))
        elif state == ALIVE:
            if self._upload is not None:
                self._upload.credit.extend(read_number(told.get(READ)) or 0)
        elif (error := received_error(told, self._subject, data, RemoteServiceError)) is not None:
            self.end(error)
        elif told.get(STATUS) == "503":
            self.end(nats.errors.NoRespondersError())
        elif self._upload is not None and not self._upload.control:
            self.fail("the endpoint takes no items")
        elif data:
            self.received += 1
            self.items.append(data)
            if state == END_STATE:
                self.end(END)
        else:
            self.finish(read_number(told.get(SEQUENCE)))

    def _open_control(self, control: bytes, read: int | None) -> None:
        """Speak to the service on its control subject from now on."""
        self._control = control
        self._tell(self.read)
        self._live()
        if self._upload is None:
            return
        if read is None:
            self.fail("the endpoint takes no items")
            return
        self._upload.control = control
        self._upload.credit.extend(read)
        self._upload.begin(self.path, self._sent)

    def _sent(self, error: Exception | None) -> None:
        """Take in the end of the upload."""
        if error is not None and self.outcome is None:
            self._post.send(self._control, LEAVE)
            self.end(error)
        self.wake()

    def end(self, outcome: object) -> None:
        """End the stream; the first outcome counts."""
        super().end(outcome)
        self._stop()

    def _live(self) -> None:
        """Give a sign of life now and then, and expect one."""
        self._stop()
        if self._loop.time() - self._heard > SILENCE * self._lease:
            self.fail("the service is gone")
            return
        self._timer = self._loop.call_later(self._lease / 3, self._beat)

    def _beat(self) -> None:
        self._timer = None
        self._tell(self.read)
        self._live()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> Awaitable[None] | None:
        """End the stream; the service stops making items. May be called twice."""
        self._stop()
        if self.outcome is None:
            self.outcome = END
            if self._control:
                self._post.send(self._control, LEAVE)
        subscription, self._subscription = self._subscription, None
        if subscription is None or self._loop.is_closed():
            return None
        self._leaving = self._loop.create_task(self._leave(subscription))
        return self._leaving

    async def _leave(self, subscription: Subscription) -> None:
        if self._upload is not None:
            await self._upload.stop()
        await self.path.unsubscribe(subscription)


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
        upload: Upload | None = None,
    ) -> None:
        self._nc = nc
        self._subject = subject
        self._request = request
        self._read = read
        self._limits = limits
        self._upload = upload
        self._reader: Reader | None = None
        # For clients of declarations and of services, and not part of the interface.
        self.__find__: Callable[[], Awaitable[str]] | None = None
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
        try:
            if self.__find__ is not None:
                self._subject = await self.__find__()
            headers = self._headers()
            self._reader = Reader(
                self._nc(), self._subject, self._limits.window, self._limits.lease, self._upload
            )
            await self._reader.open(self._request[0], headers)
        except BaseException:
            await self.aclose()
            raise
        return self._reader

    def _headers(self) -> dict[str, str]:
        """Return the headers of the request, which tell the time that is left."""
        loop = asyncio.get_running_loop()
        inherited = deadline.inherited()
        moments = [] if inherited is None else [inherited]
        limits = self._limits
        if limits.timeout is not None:
            moments.append(loop.time() + limits.timeout)
        headers = {**self._request[1], **limits.headers()}
        if self._upload is not None:
            headers[UPLOAD] = "1"
        if moments:
            self._until = min(moments)
            left = self._until - loop.time()
            if left <= 0:
                raise nats.errors.TimeoutError
            headers[deadline.HEADER] = deadline.header_value(left)
        return headers

    async def _wait(self, reader: Reader) -> None:
        """Wait for an item; raise for the end or an error."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            while not reader.items and reader.outcome is None:
                limits = [] if self._until is None else [self._until]
                if reader.sends:
                    since = loop.time()
                elif self._limits.gap is not None:
                    limits.append(since + self._limits.gap)
                async with asyncio.timeout_at(min(limits) if limits else None):
                    await reader.change()
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
        leaving = None if self._reader is None else self._reader.leave()
        if leaving is not None:
            await leaving
        elif self._upload is not None:
            await self._upload.stop()

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
