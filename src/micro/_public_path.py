"""The path that uses nothing but the public interface of nats-py."""

from __future__ import annotations

import logging

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro._errors import ConfigError, PayloadTooLargeError
from micro._path import Receiver
from micro._request import NatsRequest, Response, check_headers
from micro._workers import Workers

logger = logging.getLogger("micro.path")


class PublicPath:
    """Messages come from subscription callbacks and leave by ``publish``.

    Attributes:
        pool: The tasks that requests run in.
    """

    def __init__(self, nc: NatsClient) -> None:
        self.pool = Workers()
        self._nc = nc

    async def subscribe(self, subject: str, queue: str, receiver: Receiver) -> Subscription:
        """Subscribe on behalf of a receiver; a fence must follow."""

        async def receive(msg: Msg) -> None:
            request = NatsRequest(msg.subject, msg.reply, msg.data, msg.headers)
            if not receiver.admit(request):
                await receiver.refuse(request)

        return await self._nc.subscribe(subject, queue=queue, cb=receive)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    async def send(self, request: NatsRequest, response: Response) -> None:
        """Send the answer to a request, if it wants one; see `micro._path.Path.send`."""
        if not request.reply:
            return
        data, headers = response.data(), response.headers()
        size = len(data) + (check_headers(headers) if headers else 0)
        if size > self._nc.max_payload:  # nats-py would not count the headers, the server does
            raise PayloadTooLargeError(size, self._nc.max_payload)
        try:
            await self._nc.publish(request.reply, data, headers=headers or None)
        except nats.errors.BadHeaderError as error:
            raise ConfigError(f"invalid header: {error}") from error
