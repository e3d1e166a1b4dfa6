"""The two ways that messages take; no other package knows which one a connection has.

On the fast path, messages come straight from the socket (`FastTransport`). On the public path they
pass through nats-py: over WebSocket, and for clients that the user has connected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription

from micro import _native
from micro._errors import PayloadTooLargeError
from micro._protocol.headers import check_headers, decode_headers
from micro._wire import fast_transport, nats_py
from micro._wire.client_state import state_of
from micro._wire.congestion import MAX_UNSENT, SMALL, CongestedError, Congestion
from micro._wire.frames import Message, Sink
from micro._wire.outbox import DOLLAR, MAX_TARGET, LongSubjectError, ServersSubjectError
from micro._wire.stepping import go_on

logger = logging.getLogger("micro.path")

Reply = Callable[[bytes, bytes, Mapping[str, str] | None], Awaitable[object] | None]
"""Send an answer to a reply subject, see `Path.reply`."""
PAUSE = 0.02
"""Seconds between two checks of the buffer of nats-py."""


class Path(Protocol):
    """Receives and sends messages over one connection."""

    nc: NatsClient
    congestion: Congestion

    def subscribe(self, subject: str, queue: str, sink: Sink) -> Coroutine[Any, Any, Subscription]:
        """Subscribe and pass the messages to a sink; a fence must follow."""

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; do nothing when the connection is closed."""

    def publish(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        reply: bytes = b"",
        block: bytes = b"",
    ) -> Awaitable[object] | None:
        """Send a message.

        Args:
            subject: The subject.
            data: The payload.
            headers: The headers.
            reply: The reply subject; empty for none.
            block: The header block of the headers, if the caller has it: no header is checked then.

        Returns:
            None when the message has been sent, else an awaitable that sends it.

        Raises:
            ConfigError: A header cannot be sent, or the subjects are too long.
            PayloadTooLargeError: The message exceeds the server's `max_payload`.
            CongestedError: Too much is waiting to be sent.
            nats.errors.Error: The message is lost.
        """

    def reply(
        self, subject: bytes, data: bytes, headers: Mapping[str, str] | None = None
    ) -> Awaitable[object] | None:
        """Send an answer to the reply subject of a request, as `publish` does.

        Without a reply subject nothing is sent.

        Raises:
            ServersSubjectError: The subject begins with `$`. It is the server's, and the caller may
                lack the right to publish to it.
        """

    def send(
        self, subject: bytes, data: bytes, reply: bytes = b"", block: bytes = b""
    ) -> Awaitable[object] | None:
        """Send a message whose subject and header block need no check; see `publish`."""


def path_of(nc: NatsClient) -> Path:
    """Return the path that a connection has."""
    return fast_transport.fast(nc) or PublicPath(nc)


def reply_anywhere(path: Path) -> Reply:
    """Return a function that answers to subjects of the server as well."""

    def reply(
        subject: bytes, data: bytes, headers: Mapping[str, str] | None = None
    ) -> Awaitable[object] | None:
        return path.publish(subject.decode(), data, headers) if subject else None

    return reply


def _check_length(subject: str, reply: bytes) -> None:
    length = len(subject.encode()) + len(reply)
    if length > MAX_TARGET:
        raise LongSubjectError(length)


class _Turn:
    """Collects the messages of one turn of the event loop: nats-py reads inside a task."""

    __slots__ = ("_messages", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._messages: list[Message] = []

    def receive(self, message: Message) -> None:
        if not self._messages:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._messages.append(message)

    def _hand_over(self) -> None:
        messages, self._messages = self._messages, []
        self._sink(messages)


class PublicPath:
    """Sends and receives through nats-py; see `Path`."""

    def __init__(self, nc: NatsClient) -> None:
        _native.check()
        nats_py.guard(nc)
        self.nc = nc
        self.congestion = state_of(nc).congestion
        self._full = nats_py.max_pending_size(nc) // 2
        self._watching: asyncio.Task[None] | None = None

    def subscribe(self, subject: str, queue: str, sink: Sink) -> Coroutine[Any, Any, Subscription]:
        return nats_py.subscribe(self.nc, subject, queue, _Turn(sink).receive)

    async def unsubscribe(self, subscription: Subscription) -> None:
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)
        await asyncio.sleep(0)  # then the messages that nats-py has delivered are handed over

    def publish(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        reply: bytes = b"",
        block: bytes = b"",
    ) -> Awaitable[object] | None:
        nc, size = self.nc, len(data) + len(block)
        if len(subject) + len(reply) > MAX_TARGET // 4:  # a character has up to four bytes
            _check_length(subject, reply)
        if headers and not block:  # nats-py would not count them, the server does
            size += check_headers(headers)
        if size > nc.max_payload:
            raise PayloadTooLargeError(size, nc.max_payload)
        if self.congestion.unsent + size > MAX_UNSENT // 3 and size > SMALL:  # nats-py makes copies
            raise CongestedError("too much is waiting to be sent")
        publishing = nc.publish(subject, data, reply.decode(), dict(headers) if headers else None)
        if nc.pending_data_size + size > self._full:
            return self._wait(publishing, size)
        try:
            waits_for = publishing.send(None)
        except StopIteration:
            return None
        return go_on(publishing, waits_for)

    def reply(
        self, subject: bytes, data: bytes, headers: Mapping[str, str] | None = None
    ) -> Awaitable[object] | None:
        if not subject:
            return None
        if subject[0] == DOLLAR:
            raise ServersSubjectError(subject)
        return self.publish(subject.decode(), data, headers)

    def send(
        self, subject: bytes, data: bytes, reply: bytes = b"", block: bytes = b""
    ) -> Awaitable[object] | None:
        headers = decode_headers(block) if block else None
        return self.publish(subject.decode(), data, headers, reply)

    async def _wait(self, publishing: Coroutine[Any, Any, None], size: int) -> None:
        """Publish in a task, and wait until the server takes data again."""
        self.congestion.unsent += size
        if not self.congestion.on:
            self.congestion.on = True
            self._watching = asyncio.create_task(self._watch())
        try:
            await publishing
            await self.congestion.over()  # nats-py gives up waiting after a while
        finally:
            self.congestion.unsent -= size

    async def _watch(self) -> None:
        while self.nc.is_connected and self.nc.pending_data_size > self._full:  # noqa: ASYNC110 - no event
            await asyncio.sleep(PAUSE)
        self.congestion.end()
