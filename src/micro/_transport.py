"""The only module that may touch private names of nats-py."""

from __future__ import annotations

from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription


async def leave(nc: NatsClient, subscription: Subscription) -> None:
    """Ask the server to end a subscription, and keep it for the messages that are under way.

    nats-py's ``unsubscribe()`` throws those away, and ``drain()`` waits with a PING that overtakes
    the UNSUB. Follow with a fence, then with ``unsubscribe()``.
    """
    await nc._send_unsubscribe(subscription._id)  # noqa: SLF001 - the public API has no such step
