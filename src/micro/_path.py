"""How requests come in and answers leave; there are two ways, and nothing else knows which one it is.

On the fast path messages come straight from the socket. On the public path they are messages of nats-py,
as for WebSocket connections and for clients that somebody else has connected.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Protocol

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro import _transport
from micro._errors import ConfigError, PayloadTooLargeError
from micro._headers import check_headers, header_block
from micro._request import DONE, NatsRequest
from micro._transport import FastTransport

logger = logging.getLogger("micro.path")

DOLLAR = ord("$")


class Receiver(Protocol):
    """What takes in the requests of a subscription."""

    def receive_frame(
        self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        """Take in a request straight from the socket; never inside a task."""

    def admit(self, request: NatsRequest) -> bool:
        """Take in a request, called inside a task; False when it is to be refused."""

    async def refuse(self, request: NatsRequest) -> None:
        """Answer a request that is not taken in."""


class Path(Protocol):
    """One of the two ways, over one connection."""

    nc: NatsClient

    async def subscribe(self, subject: str, queue: str, receiver: Receiver) -> Subscription:
        """Subscribe on behalf of a receiver; a fence must follow."""

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""

    def send(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None
    ) -> Awaitable[None]:
        """Send the answer to a request, if it wants one.

        Never to a subject that begins with ``$``: these are the server's, and answering there would
        be acting for somebody who may not.

        On the fast path it has been sent when this returns; the result is `DONE` then.

        Raises:
            ConfigError: A header cannot be sent.
            PayloadTooLargeError: The answer exceeds the server's ``max_payload``.
            nats.errors.Error: It is lost.
        """


def path_of(nc: NatsClient) -> Path:
    """Return the way over a connection."""
    transport = _transport.fast(nc)
    return PublicPath(nc) if transport is None else FastPath(nc, transport)


class PublicPath:
    """Uses nothing but the public interface of nats-py."""

    def __init__(self, nc: NatsClient) -> None:
        self.nc = nc

    async def subscribe(self, subject: str, queue: str, receiver: Receiver) -> Subscription:
        """Subscribe on behalf of a receiver; a fence must follow."""

        async def receive(msg: Msg) -> None:
            request = NatsRequest(msg.subject, msg.reply, msg.data, msg.headers)
            if not receiver.admit(request):
                await receiver.refuse(request)

        return await self.nc.subscribe(subject, queue=queue, cb=receive)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    async def send(self, request: NatsRequest, data: bytes, headers: dict[str, str] | None) -> None:
        """Send the answer to a request, if it wants one; see `Path.send`."""
        reply = request.reply
        if not reply or reply[0] == "$":
            return
        size = len(data) + (check_headers(headers) if headers else 0)
        if size > self.nc.max_payload:  # nats-py would not count the headers, the server does
            raise PayloadTooLargeError(size, self.nc.max_payload)
        try:
            await self.nc.publish(reply, data, headers=headers or None)
        except nats.errors.BadHeaderError as error:
            raise ConfigError(f"invalid header: {error}") from error


class FastPath:
    """Goes by the transport: messages straight from the socket, the answers to a batch in one write."""

    def __init__(self, nc: NatsClient, transport: FastTransport) -> None:
        self.nc = nc
        self._transport = transport

    async def subscribe(self, subject: str, queue: str, receiver: Receiver) -> Subscription:
        """Subscribe on behalf of a receiver; a fence must follow."""
        return await self._transport.subscribe(subject, queue, receiver.receive_frame)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""
        try:
            await self._transport.unsubscribe(subscription)
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    def send(
        self, request: NatsRequest, data: bytes, headers: dict[str, str] | None
    ) -> Awaitable[None]:
        """Send the answer to a request, if it wants one; see `Path.send`."""
        reply = request.raw_reply
        if reply and reply[0] != DOLLAR:
            self._transport.publish(reply, data, header_block(headers) if headers else b"")
        return DONE
