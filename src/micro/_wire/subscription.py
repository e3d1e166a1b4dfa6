"""The subscription of an endpoint on one connection: joined and left without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.subscription import Subscription

from micro._errors import MicroError
from micro._wire import nats_py, resubscribing
from micro._wire.fence import fence, settle
from micro._wire.frames import Sink
from micro._wire.paths import Path
from micro._wire.permissions import Expectation
from micro._wire.resubscribing import Kept

LINGER = 0.5
"""Seconds that a message takes at most to cross a cluster."""


class Listener:
    """A subject, perhaps in a queue group, on one connection.

    Args:
        path: The path of the connection.
        subject: The subject.
        queue_group: The queue group; empty for none.
        sink: Receives the messages.
    """

    __slots__ = ("_kept", "_nc", "_path", "_queue_group", "_sink", "_subject", "_subscription")

    def __init__(self, path: Path, subject: str, queue_group: str, sink: Sink) -> None:
        self._nc = path.nc
        self._path = path
        self._subject = subject
        self._queue_group = queue_group
        self._sink = sink
        self._subscription: Subscription | None = None
        self._kept: Kept | None = None

    @property
    def refused(self) -> bool:
        """Whether the server has dropped the subscription."""
        return self._kept is not None and self._kept.error is not None

    async def join(
        self, owner: str, dropped: Callable[[MicroError], None], *, insist: bool = True
    ) -> None:
        """Subscribe; return when the server has the subscription.

        Args:
            owner: The owner of the subscription, for errors.
            dropped: Called with the error when the server drops the subscription later.
            insist: Whether a refusal is an error now, instead of subscribing again until it holds.

        Raises:
            PermissionDeniedError: The server refuses it.
            ConnectError: The server does not answer, or its limit of subscriptions is reached.
        """
        with Expectation(self._nc, [self._subject]) as expectation:
            subscription = await self._path.subscribe(self._subject, self._queue_group, self._sink)
            self._subscription = subscription
            self._kept = Kept(subscription, owner, dropped)
            try:
                await fence(self._nc)
                refusal = expectation.refusal(owner)
                if refusal is not None and insist:
                    raise refusal
            except BaseException:
                await self.close()
                raise
        if refusal is not None:
            self._kept.note(refusal)
        resubscribing.keep(self._nc, self._kept)

    async def linger(self) -> None:
        """Wait for messages that other servers of the cluster still route to this connection.

        Without a queue group there is no need to: the other connection receives each message too.
        """
        if self._queue_group and self._nc.is_connected:
            await asyncio.sleep(LINGER)

    async def leave(self) -> None:
        """Ask the server for no more messages; messages under way are still received."""
        if self._subscription is not None and self._nc.is_connected:
            await nats_py.leave(self._nc, self._subscription)
            await settle(self._nc)

    async def close(self) -> None:
        """Pass on received messages, then end the subscription; may be called twice."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        if self._kept is not None:
            resubscribing.release(self._nc, self._kept)
        while subscription.pending_msgs and not self._nc.is_closed:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)  # nats-py passes them on one by one
        await self._path.unsubscribe(subscription)
