"""The pulling of messages from a JetStream consumer over one connection.

Pulls are raw requests on an own inbox: every status of the server is seen, and ending the
subscription takes them back. The last token of the inbox is the generation of the pulls, so that
the status of a former pull is not taken for the present one's.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import nats.errors

from micro._backoff import Backoff
from micro._errors import MicroError
from micro._events.delivery import ACK
from micro._events.terms import Terms
from micro._protocol.headers import DESCRIPTION, STATUS, decode_headers
from micro._wire.frames import Message, Sink
from micro._wire.paths import Path
from micro._wire.posting import Post
from micro._wire.subscription import Listener

logger = logging.getLogger("micro.events")

EXPIRES = 30.0
"""Seconds after which the server ends a pull."""

HEARTBEAT = 2.0
"""Seconds between two signs of life of a server that has no messages."""

MISSED = 2 * HEARTBEAT + 0.5
"""Seconds of silence after which a pull is repeated: two heartbeats are missing."""

TICK = 0.2
"""Seconds between two looks at the connection."""

NANOSECONDS = 1_000_000_000
PENDING = "Nats-Pending-Messages"
HEARD, ENDED = ("100",), ("404", "408", "409")

BACKOFF = Backoff(first_delay=0.1, max_delay=2.0)
"""Delays between two attempts to find or make a consumer that is gone."""


class Supply(NamedTuple):
    """What a puller needs of its consumer.

    Attributes:
        terms: The terms of the consumer.
        waiting: Returns how many messages wait for a free place.
        mend: Finds the consumer again, or makes it.
    """

    terms: Terms
    waiting: Callable[[], int]
    mend: Callable[[Path], Awaitable[None]]


class Puller(Listener):
    """The pulls of one consumer on one connection.

    Args:
        path: The path of the connection.
        supply: What it needs of the consumer.
        sink: Receives the messages.
    """

    __slots__ = (
        "_batch",
        "_deliver",
        "_dropped",
        "_generation",
        "_half",
        "_heard",
        "_inbox",
        "_lost",
        "_next",
        "_post",
        "_pulling",
        "_reconnects",
        "_requested",
        "_supply",
        "_task",
        "_waiting",
    )

    def __init__(self, path: Path, supply: Supply, sink: Sink) -> None:
        inbox = path.nc.new_inbox()
        super().__init__(path, f"{inbox}.*", "", self._receive)
        self._inbox = inbox.encode()
        self._post = Post(path)
        self._supply = supply
        self._waiting = supply.waiting
        terms = supply.terms
        self._batch, self._half = terms.batch, terms.batch // 2
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{terms.stream}.{terms.durable}".encode()
        self._deliver = sink
        self._requested = 0  # messages that the server still owes
        self._generation = 0
        self._heard = 0.0
        self._pulling = False
        self._lost: MicroError | None = None
        self._reconnects = 0
        self._dropped: Callable[[MicroError], None] = lambda error: None
        self._task: asyncio.Task[None] | None = None

    @property
    def refused(self) -> bool:
        """Whether the server has dropped the inbox, or has no such consumer at present."""
        return self._lost is not None or super().refused

    async def join(
        self, owner: str, dropped: Callable[[MicroError], None], *, insist: bool = True
    ) -> None:
        """Subscribe to the inbox and begin to pull; see `Listener.join`."""
        self._dropped = dropped
        await super().join(owner, dropped, insist=insist)
        self._pulling = True
        self._renew()
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def leave(self) -> None:
        """Pull no more; messages under way are still received."""
        self._end()
        await super().leave()

    async def close(self) -> None:
        """End the subscription; may be called twice."""
        self._end()
        await super().close()

    def _end(self) -> None:
        self._pulling = False
        if self._task is not None:
            self._task.cancel()

    def pull(self) -> None:
        """Ask for messages if fewer than half a batch are under way or waiting."""
        waiting = self._requested + self._waiting()
        if waiting > self._half or not self._pulling or self._lost is not None:
            return
        missing = self._batch - waiting
        self._requested += missing
        body = {
            "batch": missing,
            "expires": int(EXPIRES * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT * NANOSECONDS),
        }
        reply = b"%b.%d" % (self._inbox, self._generation)
        self._post.send(self._next, json.dumps(body).encode(), reply)

    def _renew(self) -> None:
        """Forget all former pulls and pull anew."""
        nc = self._post.path.nc
        self._reconnects = nc.stats["reconnects"]
        self._generation += 1
        self._requested = 0
        self._heard = asyncio.get_running_loop().time()
        self.pull()

    def _receive(self, messages: list[Message]) -> None:
        self._heard = asyncio.get_running_loop().time()
        deliveries = [message for message in messages if message[1].startswith(ACK)]
        self._requested = max(0, self._requested - len(deliveries))
        if len(deliveries) < len(messages):
            for message in messages:
                if not message[1].startswith(ACK):
                    self._note(message)
        if deliveries:
            self._deliver(deliveries)
        self.pull()

    def _note(self, message: Message) -> None:
        """Act on a status of the server."""
        subject, _, _, headers = message
        if isinstance(headers, bytes):
            headers = decode_headers(headers)
        if not headers or subject.rpartition(b".")[2] != b"%d" % self._generation:
            return
        status, text = headers.get(STATUS), headers.get(DESCRIPTION, "")
        if status in HEARD:
            return
        pending = headers.get(PENDING, "")
        if status in ENDED and pending.isdigit():
            self._requested = max(0, self._requested - int(pending))
        elif status == "409" and "deleted" not in text.lower():
            self._requested, self._heard = 0, float("-inf")  # the next look pulls again
        elif status not in ENDED or status == "409":
            self._lose(MicroError(f"cannot pull: {status} {text}".rstrip()))
        else:
            self._requested = 0

    def _lose(self, error: MicroError) -> None:
        if self._lost is None:
            self._lost = error

    async def _watch(self) -> None:
        attempts = 0
        while self._pulling:
            await asyncio.sleep(TICK if self._lost is None else BACKOFF.delay(attempts))
            if not self._post.path.nc.is_connected:
                continue
            if self._lost is not None:
                attempts = 0 if await self._mend(attempts) else attempts + 1
            elif self._is_silent():
                self._renew()
            else:
                attempts = 0
                self.pull()

    def _is_silent(self) -> bool:
        if self._post.path.nc.stats["reconnects"] != self._reconnects:
            return True
        now = asyncio.get_running_loop().time()
        return now - self._heard > MISSED and (self._requested > 0 or self._heard < 0)

    async def _mend(self, attempts: int) -> bool:
        """Find or make the consumer; return whether it can be pulled from again."""
        terms = self._supply.terms
        try:
            await self._supply.mend(self._post.path)
        except (MicroError, nats.errors.Error, OSError, ValueError) as error:
            if attempts == 0:
                logger.error(
                    "consumer %r of stream %r is gone: %s", terms.durable, terms.stream, error
                )
                self._dropped(error if isinstance(error, MicroError) else MicroError(str(error)))
            self._lost = error if isinstance(error, MicroError) else MicroError(str(error))
            return False
        logger.warning("consumer %r of stream %r: pulling again", terms.durable, terms.stream)
        self._lost = None
        self._renew()
        return True
