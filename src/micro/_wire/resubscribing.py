"""Subscriptions that the server drops while a client is connected, subscribed to again.

A server drops subscriptions when permissions or limits change: by a reload, by a new JWT, at a
restart. nats-py reports the error and keeps the subscription, which receives nothing any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import ref

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription

from micro._backoff import Backoff
from micro._errors import ConnectError, MicroError
from micro._wire import nats_py, permissions
from micro._wire.client_state import state_of
from micro._wire.fence import fence
from micro._wire.permissions import Refusal

logger = logging.getLogger("micro.subscriptions")

BACKOFF = Backoff(first_delay=0.1, max_delay=2.0)
"""Delays between two attempts to subscribe again."""


@dataclass(eq=False)
class Kept:
    """A subscription that is subscribed to again when the server drops it.

    Attributes:
        subscription: The subscription.
        owner: Its owner, for the error.
        dropped: Called with the error when the server drops it.
        error: The error while it is dropped, else None.
    """

    subscription: Subscription
    owner: str
    dropped: Callable[[MicroError], None]
    error: MicroError | None = field(default=None)

    def matches(self, refused: Refusal) -> bool:
        """Return whether the server refused this subscription."""
        if refused.action != "subscription":
            return False
        if refused.sid is not None:
            return refused.sid == nats_py.sid(self.subscription)
        return refused.subject in (None, self.subscription.subject.lower())

    def note(self, error: MicroError) -> None:
        """Record that the server has dropped the subscription."""
        is_new, self.error = self.error is None, error
        if is_new:
            logger.error("%s", error)
            self.dropped(error)


class Keeper:
    """The kept subscriptions of one client."""

    def __init__(self, nc: NatsClient) -> None:
        self._client = ref(nc)
        self._kept: list[Kept] = []
        self._refused: set[Kept] = set()  # since the last attempt
        self._task: asyncio.Task[None] | None = None
        permissions.watch(nc, self._note)

    def add(self, kept: Kept) -> None:
        """Keep a subscription."""
        self._kept.append(kept)
        if kept.error is not None:
            self._start()

    def remove(self, kept: Kept) -> None:
        """Keep a subscription no longer; may be called twice."""
        if kept in self._kept:
            self._kept.remove(kept)
        if self._task is not None and not self._missing():
            self._task.cancel()

    def _note(self, refused: Refusal) -> None:
        for kept in self._kept:
            if kept.matches(refused):
                self._refused.add(kept)
                kept.note(refused.error(kept.subscription.subject, kept.owner))
                self._start()

    def _missing(self) -> list[Kept]:
        return [kept for kept in self._kept if kept.error is not None]

    def _start(self) -> None:
        if self._task is None or self._task.done():
            nc = self._client()
            if nc is not None:
                self._task = asyncio.create_task(self._mend(nc))

    async def _mend(self, nc: NatsClient) -> None:
        attempts = 0
        while self._missing() and not nc.is_closed:
            await asyncio.sleep(BACKOFF.delay(attempts))
            attempts += 1
            try:
                await self._attempt(nc, self._missing())
            except (ConnectError, nats.errors.Error, OSError) as error:
                logger.debug("cannot subscribe again: %s", error)

    async def _attempt(self, nc: NatsClient, missing: list[Kept]) -> None:
        self._refused.clear()
        for kept in missing:
            await nats_py.subscribe_again(nc, kept.subscription)
        await fence(nc)
        for kept in missing:
            if kept not in self._refused:
                kept.error = None
                logger.warning("%s: subscribed to %r again", kept.owner, kept.subscription.subject)


def keep(nc: NatsClient, kept: Kept) -> None:
    """Subscribe again whenever the server drops a subscription."""
    state = state_of(nc)
    if state.keeper is None:
        state.keeper = Keeper(nc)
    state.keeper.add(kept)


def release(nc: NatsClient, kept: Kept) -> None:
    """End `keep`; may be called twice."""
    keeper = state_of(nc).keeper
    if keeper is not None:
        keeper.remove(kept)
