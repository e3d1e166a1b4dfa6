"""The only module that may touch private names of nats-py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription


async def leave(nc: NatsClient, subscription: Subscription) -> None:
    """Ask the server to end a subscription, and keep it for the messages that are under way.

    nats-py's ``unsubscribe()`` throws those away, and ``drain()`` waits with a PING that overtakes
    the UNSUB. Follow with a fence, then with ``unsubscribe()``.
    """
    await nc._send_unsubscribe(subscription._id)  # noqa: SLF001 - the public API has no such step


def watch_errors(nc: NatsClient, record: Callable[[NatsClient, Exception], None]) -> None:
    """Let ``record`` see each asynchronous error, before the error callback of whoever owns ``nc``.

    The public API keeps only the last one. Once per connection; a second call does nothing.
    """
    if not isinstance(nc._error_cb, _Watch):  # noqa: SLF001
        nc._error_cb = _Watch(nc, record, nc._error_cb)  # noqa: SLF001


class _Watch:
    def __init__(
        self,
        nc: NatsClient,
        record: Callable[[NatsClient, Exception], None],
        following: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._nc = nc
        self._record = record
        self._following = following

    async def __call__(self, error: Exception) -> None:
        self._record(self._nc, error)
        await self._following(error)
