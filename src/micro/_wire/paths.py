"""How requests come in and answers leave; there are two ways, and nothing else knows which one it is.

On the fast path messages come straight from the socket. On the public path they are messages of nats-py,
as for WebSocket connections and for clients that somebody else has connected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from itertools import starmap
from typing import Any, Protocol, TypeAlias

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro._errors import PayloadTooLargeError
from micro._handlers.nats_request import FrameRequest, MsgRequest, NatsRequest
from micro._protocol.headers import check_headers, header_block
from micro._wire import fast_transport, nats_py
from micro._wire.fast_transport import FastTransport
from micro._wire.frames import Message
from micro._wire.stepping import go_on

logger = logging.getLogger("micro.path")

DOLLAR = ord("$")


RequestsOf: TypeAlias = Callable[[Iterator[Any]], Iterator[NatsRequest]]
"""Makes requests of messages, each when it is asked for it."""


class Receiver(Protocol):
    """What takes in the requests of a subscription."""

    def receive(self, requests_of: RequestsOf, messages: list[Any]) -> None:
        """Take in messages; never inside a task."""


class Path(Protocol):
    """One of the two ways, over one connection."""

    nc: NatsClient

    @property
    def transport(self) -> FastTransport | None:
        """The transport that messages go by, None on the public path."""

    def subscribe(
        self, subject: str, queue: str, receiver: Receiver
    ) -> Coroutine[Any, Any, Subscription]:
        """Subscribe on behalf of a receiver; a fence must follow."""

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""

    def send(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None
    ) -> Awaitable[object] | None:
        """Send the answer to a request, if it wants one; called inside a task.

        Never to a subject that begins with ``$``: these are the server's, and answering there would
        be acting for somebody who may not.

        Returns:
            None when it has been sent, else what is to be awaited for that.

        Raises:
            ConfigError: A header cannot be sent.
            PayloadTooLargeError: The answer exceeds the server's ``max_payload``.
            nats.errors.Error: It is lost.
        """


def path_of(nc: NatsClient) -> Path:
    """Return the way over a connection."""
    transport = fast_transport.fast(nc)
    return PublicPath(nc) if transport is None else FastPath(nc, transport)


_REQUESTS_OF_MSGS = partial(map, MsgRequest)
_REQUESTS_OF_FRAMES = partial(starmap, FrameRequest)


class _Turn:
    """Messages of one turn of the event loop, which runs handlers itself, outside of tasks."""

    __slots__ = ("_messages", "_receiver")

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._messages: list[Msg] = []

    def receive(self, msg: Msg) -> None:
        if not self._messages:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._messages.append(msg)

    def _hand_over(self) -> None:
        messages, self._messages = self._messages, []
        self._receiver.receive(_REQUESTS_OF_MSGS, messages)


class _FrameSink:
    """Hands messages of the transport over; a third of the size of a `partial` that does."""

    __slots__ = ("_receiver",)

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def __call__(self, messages: list[Message]) -> None:
        self._receiver.receive(_REQUESTS_OF_FRAMES, messages)


class PublicPath:
    """Needs nothing but the public interface of nats-py."""

    transport = None

    def __init__(self, nc: NatsClient) -> None:
        self.nc = nc

    def subscribe(
        self, subject: str, queue: str, receiver: Receiver
    ) -> Coroutine[Any, Any, Subscription]:
        """Subscribe on behalf of a receiver; a fence must follow."""
        return nats_py.subscribe(self.nc, subject, queue, _Turn(receiver).receive)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)
        await asyncio.sleep(0)  # what nats-py has delivered is handed over then

    def send(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None
    ) -> Awaitable[object] | None:
        """Send the answer to a request, if it wants one; see `Path.send`."""
        reply = request.reply
        if not reply or reply[0] == "$":
            return None
        size = len(data)
        if headers:  # nats-py would not count them, the server does
            size += check_headers(headers)
            if size > self.nc.max_payload:
                raise PayloadTooLargeError(size, self.nc.max_payload)
        publishing = self.nc.publish(reply, data, headers=headers or None)
        try:
            waits_for = publishing.send(None)
        except StopIteration:
            return None
        except nats.errors.MaxPayloadError:
            raise PayloadTooLargeError(size, self.nc.max_payload) from None
        return go_on(publishing, waits_for)  # the server is slow to take what is sent


class FastPath:
    """Goes by the transport: messages straight from the socket, the answers to a batch in one write."""

    def __init__(self, nc: NatsClient, transport: FastTransport) -> None:
        self.nc = nc
        self.transport = transport

    def subscribe(
        self, subject: str, queue: str, receiver: Receiver
    ) -> Coroutine[Any, Any, Subscription]:
        """Subscribe on behalf of a receiver; a fence must follow."""
        return self.transport.subscribe(subject, queue, _FrameSink(receiver))

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""
        try:
            await self.transport.unsubscribe(subscription)
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    def send(self, request: NatsRequest, data: bytes, headers: dict[str, str] | None) -> None:
        """Send the answer to a request, if it wants one; see `Path.send`."""
        reply = request.raw_reply
        if reply and reply[0] != DOLLAR:
            self.transport.publish(reply, data, header_block(headers) if headers else b"")
