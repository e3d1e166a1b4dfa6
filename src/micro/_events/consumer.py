"""A pull consumer of a service: an endpoint whose messages come from JetStream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from itertools import starmap
from typing import Any

import nats.errors

from micro._endpoint.dispatcher import Exchange
from micro._endpoint.endpoint import Endpoint, EndpointConfig, Home, ServedEndpoint
from micro._errors import MicroError
from micro._events.delivery import Delivery
from micro._events.jetstream import ask, check_dead_letter, ensure_consumer
from micro._events.lanes import Lanes
from micro._events.puller import Puller, Supply
from micro._events.settling import Settler
from micro._events.terms import Terms
from micro._handlers.typed import AnyHandler
from micro._published import publish
from micro._wire.frames import Message
from micro._wire.paths import Path

logger = logging.getLogger("micro.events")

SLACK = 3
"""Deliveries beyond `max_deliver` that are still run: a stop hands messages back that never ran."""

FRESH = 1.0
"""Seconds that the figures of the server are reported before they are asked for again."""

PATIENCE = 0.5
"""Seconds that an answer to STATS waits for them."""


class Consumer(Endpoint):
    """One JetStream consumer of a running service; made by `add_consumer`."""

    __slots__ = ("_terms",)

    def __init__(self, served: ServedConsumer, terms: Terms) -> None:
        super().__init__(served)
        self._terms = terms

    @property
    def stream(self) -> str:
        """The stream it consumes."""
        return self._terms.stream

    @property
    def durable(self) -> str:
        """The name of the consumer at the server, which all instances share."""
        return self._terms.durable


class ServedConsumer(ServedEndpoint):
    """A consumer as its service sees it; see `ServedEndpoint`.

    Args:
        terms: The terms of the consumer.
        path: The path of the connection.
        config: The declaration.
        handler: The handler.
        home: What it shares with the endpoints of its service.
    """

    __slots__ = ("_asked", "_figures", "_lanes", "_settler", "_terms")

    def __init__(
        self, terms: Terms, path: Path, config: EndpointConfig, handler: AnyHandler, home: Home
    ) -> None:
        self._terms = terms
        self._settler = Settler(path, terms, self._freed)
        self._lanes: Lanes | None = None
        if terms.ordered_by is not None:
            self._lanes = self._settler.lanes = Lanes(terms.ordered_by, self._admit)
        self._figures: dict[str, int] = {}
        self._asked = 0.0
        super().__init__(path, config, handler, home)
        self.public = Consumer(self, terms)

    async def start(self) -> None:
        """Find or make the consumer and begin to pull.

        Raises:
            ConfigError: The stream does not exist, or the consumer is of another kind.
            PermissionDeniedError: The server refuses the inbox.
            ConnectError: The server does not answer.
        """
        await self._ensure(self._path)
        if self._terms.dead_letter is not None:
            await check_dead_letter(self._path.nc, self._terms.dead_letter, self._owner())
        await super().start()

    async def _ensure(self, path: Path) -> None:
        self._settler.ack_wait = await ensure_consumer(path.nc, self._terms, self._owner())

    def _exchange(self) -> Exchange:
        return Exchange(partial(starmap, self._settler.take), self._settler.through, patient=True)

    def _listen(self, path: Path) -> Puller:
        supply = Supply(self._terms, self._waiting, self._ensure)
        return Puller(path, supply, self.receive)

    def _waiting(self) -> int:
        lanes = 0 if self._lanes is None else self._lanes.waiting
        return self._dispatcher.load()["queued"] + lanes

    def _freed(self) -> None:
        if isinstance(self._listener, Puller):
            self._listener.pull()

    def receive(self, messages: list[Message]) -> None:
        """Take in deliveries; the puller calls it."""
        deliveries: Iterator[Delivery] = starmap(self._settler.take, messages)
        if self._lanes is not None:
            deliveries = self._lanes.enter(list(deliveries))
        self._admit(deliveries)

    def _admit(self, deliveries: Iterator[Delivery]) -> None:
        limit = self._terms.max_deliver
        if limit is not None:
            deliveries = iter([each for each in deliveries if self._is_fit(each, limit + SLACK)])
        self._dispatcher.admit(deliveries)

    def _is_fit(self, delivery: Delivery, limit: int) -> bool:
        """Return whether a message may run; give it up when its handlers never returned."""
        fit = delivery.delivered <= limit
        if not fit:
            self._dispatcher.refuse(delivery, "delivered too often")
        return fit

    async def drain(self, timeout: float) -> None:
        """Finish the running handlers, and hand back at once what waits."""
        if self._lanes is not None:
            self._settler.hand_back(self._lanes.close())
        waiting = [each for each in self._dispatcher.withdraw() if isinstance(each, Delivery)]
        self._settler.hand_back(waiting)
        await super().drain(timeout)
        self._settler.close()

    async def refresh(self) -> None:
        """Ask the server for the figures of the consumer, and the statistics handler for `data`."""
        await super().refresh()
        now = asyncio.get_running_loop().time()
        if now - self._asked < FRESH:
            return
        self._asked = now
        terms = self._terms
        try:
            async with asyncio.timeout(PATIENCE):
                state = await ask(self._path.nc, f"CONSUMER.INFO.{terms.stream}.{terms.durable}")
        except (MicroError, nats.errors.Error, OSError, ValueError) as error:
            logger.debug("no figures of consumer %r: %s", terms.durable, error)
            return
        self._figures = {
            "lag": state.get("num_pending", 0),
            "ack_pending": state.get("num_ack_pending", 0),
            "redelivered": state.get("num_redelivered", 0),
        }

    def details(self) -> dict[str, Any]:
        """Return the counters of the consumer beside those of every endpoint."""
        consumer = {**self._settler.counts, "open": len(self._settler), **self._figures}
        return {**super().details(), "consumer": consumer}


publish(Consumer)
