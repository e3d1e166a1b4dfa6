"""The path on which endpoint messages never become messages of nats-py."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

import nats.errors
from nats.aio.subscription import Subscription

from micro._parked import ParkedTasks
from micro._path import Receiver
from micro._request import DONE, FrameRequest, NatsRequest, Response
from micro._transport import FastTransport

logger = logging.getLogger("micro.path")


class FastPath:
    """Messages come straight from the socket, and the answers to a batch leave in one write.

    Attributes:
        pool: The tasks that requests run in.
    """

    def __init__(self, transport: FastTransport) -> None:
        self.pool = ParkedTasks()
        self._transport = transport

    async def subscribe(self, subject: str, queue: str, receiver: Receiver) -> Subscription:
        """Subscribe on behalf of a receiver; a fence must follow."""
        admit, start, refusal = receiver.admit, self.pool.start, _Refusal(receiver)

        def sink(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
            request = FrameRequest(subject, reply, data, headers)
            if not admit(request):
                start(refusal, request)

        return await self._transport.subscribe(subject, queue, sink)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""
        try:
            await self._transport.unsubscribe(subscription)
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    def send(self, request: NatsRequest, response: Response) -> Awaitable[None]:
        """Send the answer to a request, if it wants one; see `micro._path.Path.send`."""
        assert isinstance(request, FrameRequest)  # noqa: S101 - made by the sink above
        if request.raw_reply:
            self._transport.publish(request.raw_reply, response.data(), response.header_block())
        return DONE


class _Refusal:
    """Runs the refusal of a request where otherwise the request would run."""

    def __init__(self, receiver: Receiver) -> None:
        self.run = receiver.refuse
