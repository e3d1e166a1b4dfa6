"""The order of messages of one key: one at a time, and a failed one again before the next."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from micro._events.delivery import Delivery
from micro._handlers.request import Request

logger = logging.getLogger("micro.events")


class Lanes:
    """The messages of each key, of which the first one runs.

    Args:
        ordered_by: Returns the key of a message.
        admit: Runs messages; must not be called inside a task.
    """

    def __init__(
        self,
        ordered_by: Callable[[Request], object],
        admit: Callable[[Iterator[Delivery]], None],
    ) -> None:
        self._ordered_by = ordered_by
        self._admit = admit
        self._lanes: dict[object, deque[Delivery]] = {}  # that wait behind the one that runs
        self._repeats: dict[Delivery, asyncio.TimerHandle] = {}
        self._open = True
        self.waiting = 0

    def enter(self, deliveries: Iterable[Delivery]) -> Iterator[Delivery]:
        """Yield the messages that may run now, and keep the others."""
        for delivery in deliveries:
            key = delivery.key = self._key(delivery)
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = deque()
                yield delivery
            else:
                lane.append(delivery)
                self.waiting += 1

    def _key(self, delivery: Delivery) -> object:
        try:
            key = self._ordered_by(delivery)
            hash(key)
        except Exception:
            logger.exception("no key for a message of %r: it has no order", delivery.subject())
            return object()
        return key

    def leave(self, delivery: Delivery) -> None:
        """Run the next message of the key, behind one that is settled."""
        lane = self._lanes.get(delivery.key)
        if lane is None or not self._open:
            return
        if lane:
            self.waiting -= 1
            self._soon(lane.popleft())
        else:
            del self._lanes[delivery.key]

    def repeat(self, delivery: Delivery, delay: float, reopen: Callable[[Delivery], None]) -> bool:
        """Run a message again after some seconds; return False when it has to go back.

        A message that was handed back would come behind its successors.
        """
        if not self._open:
            return False
        again = delivery.again()
        reopen(again)
        loop = asyncio.get_running_loop()
        self._repeats[again] = loop.call_later(delay, self._run, again)
        return True

    def close(self) -> list[Delivery]:
        """Let no further message run; return those that wait."""
        self._open = False
        waiting = [delivery for lane in self._lanes.values() for delivery in lane]
        for timer in self._repeats.values():
            timer.cancel()
        waiting.extend(self._repeats)
        self._repeats.clear()
        self._lanes.clear()
        self.waiting = 0
        return waiting

    def _soon(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        self._repeats[delivery] = loop.call_later(0, self._run, delivery)

    def _run(self, delivery: Delivery) -> None:
        del self._repeats[delivery]
        self._admit(iter((delivery,)))
