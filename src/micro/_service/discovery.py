"""The nine plain subscriptions of an instance to PING, INFO and STATS (ADR-32)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro._protocol.subjects import VERBS, control_subject
from micro._ratelimit import LimitedLog, TokenBucket
from micro._wire import nats_py, permissions

logger = logging.getLogger("micro.discovery")

Answer = Callable[[], Awaitable[bytes]]


ANSWERS_PER_SECOND = 5_000
"""Limit on discovery answers; further requests are ignored."""


class Discovery:
    """The discovery subscriptions of one service instance.

    Args:
        nc: The connection.
        api_prefix: `$SRV` unless overridden.
        name: The name of the service.
        id: The id of the instance.
        answers: A function for each verb that returns the body of the answer.
    """

    def __init__(
        self,
        nc: NatsClient,
        api_prefix: str,
        name: str,
        id: str,
        *,
        answers: Mapping[str, Answer],
    ) -> None:
        self._nc = nc
        self._answers = {
            control_subject(verb, api_prefix, *scope): answers[verb]
            for verb in VERBS
            for scope in ((), (name,), (name, id))
        }
        self._subscriptions: list[Subscription] = []
        self._bucket = TokenBucket(ANSWERS_PER_SECOND, 2 * ANSWERS_PER_SECOND)
        self._log = LimitedLog(logger)

    @property
    def subjects(self) -> list[str]:
        """The nine subjects."""
        return list(self._answers)

    async def start(self) -> None:
        """Subscribe; call `fence` afterwards."""
        nats_py.guard(self._nc)
        permissions.expect(self._nc, self.subjects)
        for subject, answer in self._answers.items():
            self._subscriptions.append(await self._nc.subscribe(subject, cb=self._callback(answer)))

    async def stop(self) -> None:
        """Unsubscribe; may be called twice and on a closed connection."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    def _callback(self, answer: Answer) -> Callable[[Msg], Awaitable[None]]:
        async def receive(msg: Msg) -> None:
            # A '$' reply subject belongs to the server: an answer there would be a command to it.
            if not msg.reply or msg.reply.startswith("$"):
                return
            if not self._bucket.take():
                self._log.log(
                    logging.WARNING, "flood", "%s: too many requests, not answered", msg.subject
                )
                return
            try:
                await self._nc.publish(msg.reply, await answer())
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("%s: cannot answer", msg.subject)

        return receive
