"""The settling of deliveries: acknowledged, handed back, repeated later, or given up.

The outcome of a handler arrives as the answer of its request: an error answer means that it failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

import nats.errors

from micro._errors import MicroError, Reject, ServiceError
from micro._events.dead_letters import bury, letter_headers
from micro._events.delivery import Delivery
from micro._events.lanes import Lanes
from micro._events.terms import ACK_WAIT, Terms
from micro._protocol.adr32 import one_line, received_error
from micro._wire.frames import Headers
from micro._wire.paths import Path, Reply
from micro._wire.posting import Post

logger = logging.getLogger("micro.events")

ACK, NAK, PROGRESS = b"+ACK", b"-NAK", b"+WPI"
STOPPED = "service stopped"
SHARE = 3
"""Parts of the acknowledgement time; an open delivery is kept alive once in each."""

MAX_REASON = 200


def nak(delay: float) -> bytes:
    """Return the acknowledgement that has a message delivered again after some seconds."""
    return b'-NAK {"delay": %d}' % round(delay * 1_000_000_000) if delay > 0 else NAK


class Settler:
    """The open deliveries of one consumer.

    Args:
        path: The path of the connection.
        terms: The terms of the consumer.
        freed: Called after each delivery that has been settled.

    Attributes:
        ack_wait: Seconds that the server waits for an acknowledgement.
        lanes: The order of messages of one key; None without one.
        counts: The number of deliveries by what became of them.
    """

    def __init__(self, path: Path, terms: Terms, freed: Callable[[], None]) -> None:
        self.ack_wait = ACK_WAIT
        self.lanes: Lanes | None = None
        self.counts = {"acked": 0, "retried": 0, "terminated": 0, "dead_lettered": 0}
        self._terms = terms
        self._freed = freed
        self._open: dict[bytes, Delivery] = {}
        self._post = Post(path)
        self._round = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def take(self, subject: bytes, reply: bytes, data: bytes, headers: Headers) -> Delivery:
        """Open a delivery, which is kept alive until it is settled."""
        delivery = self._open[reply] = Delivery(subject, reply, data, headers, self._round)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(
                self.ack_wait / SHARE, self._keep_alive
            )
        return delivery

    def through(self, path: Path) -> Reply:
        """Settle by a path from now on; return what takes the outcomes."""
        self._post.path = path
        return self._settle

    def hand_back(self, deliveries: Iterable[Delivery]) -> None:
        """Have the server deliver messages again at once, perhaps to another instance."""
        for delivery in deliveries:
            self._open.pop(delivery.raw_reply, None)
            self._post.send(delivery.raw_reply, NAK)

    def close(self) -> None:
        """Keep no delivery alive any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _settle(
        self, subject: bytes, data: bytes, headers: Mapping[str, str] | None
    ) -> Awaitable[object] | None:
        delivery = self._open.get(subject)
        if delivery is None:
            return None
        error = received_error(headers, "", data) if headers else None
        if error is not None:
            return self._fail(delivery, error)
        self.counts["acked"] += 1
        return self._end(delivery, ACK)

    def _fail(self, delivery: Delivery, error: ServiceError) -> Awaitable[object] | None:
        terms = self._terms
        if error.code == 503 and error.description == STOPPED:
            return self._end(delivery, NAK)
        number = delivery.delivered
        if isinstance(delivery.failure, Reject) or terms.is_last(number):
            return self._give_up(delivery, one_line(error.description)[:MAX_REASON])
        self.counts["retried"] += 1
        delay = terms.delay(number)
        if self.lanes is not None and self.lanes.repeat(delivery, delay, self._reopen):
            return None
        return self._end(delivery, nak(delay))

    def _reopen(self, delivery: Delivery) -> None:
        self._open[delivery.raw_reply] = delivery

    def _end(self, delivery: Delivery, verdict: bytes) -> Awaitable[object] | None:
        del self._open[delivery.raw_reply]
        if self.lanes is not None:
            self.lanes.leave(delivery)
        sending = self._post.path.send(delivery.raw_reply, verdict)
        self._freed()
        return sending

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        """End a message for good, behind its dead letter."""
        verdict = b"+TERM %b" % reason.encode()
        try:
            if self._terms.dead_letter is not None:
                headers = letter_headers(self._terms, delivery, reason)
                subject, nc = self._terms.dead_letter, self._post.path.nc
                await bury(nc, subject, delivery.data(), headers)
                self.counts["dead_lettered"] += 1
            self.counts["terminated"] += 1
        except (nats.errors.Error, MicroError, OSError, ValueError) as error:
            text = "dead letter of %r is not stored, the message is delivered again: %s"
            logger.error(text, delivery.subject(), str(error) or type(error).__name__)
            verdict = nak(self._terms.delay(delivery.delivered))
        except BaseException:
            self._end(delivery, NAK)
            raise
        sending = self._end(delivery, verdict)
        if sending is not None:
            await sending

    def _keep_alive(self) -> None:
        """Tell the server that the deliveries of former rounds are still worked on."""
        self._timer = None
        former, self._round = self._round, self._round + 1
        for reply, delivery in self._open.items():
            if delivery.round <= former:
                self._post.send(reply, PROGRESS)
        if self._open:
            self._timer = asyncio.get_running_loop().call_later(
                self.ack_wait / SHARE, self._keep_alive
            )
