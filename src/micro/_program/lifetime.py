"""The life of a program: the things that it owns, and the order of their end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

from nats.aio.client import Client as NatsClient

from micro._connection.callbacks import Callbacks
from micro._errors import MicroError
from micro._program.background import Background
from micro._program.last_resort import HURRY, MARGIN, LastResort
from micro._program.stopping import Cancellation, StopSignals, grace_time
from micro._service.service import Service

logger = logging.getLogger("micro.context")

MIN_EXIT = 0.2
"""Seconds that entered contexts have for their exits, however long the services take to stop."""


class Lifetime:
    """The life of one program, from its first service to its end.

    Args:
        grace: Seconds that a stop may take in all; see `Context`.

    Attributes:
        services: The running services.
        background: The background work.
        stack: Everything that was entered or pushed; left in reverse order.
        callbacks: The callbacks of the connection.
        cancelled: The event that is set when the program has to stop.
        signals: The signals that stop it.
        last_resort: The end of the process when the stop takes too long.
        failure: The error after which the connection stays closed; None without one.

    Raises:
        ConfigError: The grace time is not a number of seconds from 0.
    """

    def __init__(self, grace: float | None) -> None:
        self._grace = grace_time(grace)
        self.services: list[Service] = []
        self.background = Background()
        self.stack = AsyncExitStack()
        self.callbacks = Callbacks()
        self.cancelled = Cancellation()
        self.signals = StopSignals(
            stopping=self.cancelled.is_set, stop=self._stop, hurry=self._hurry
        )
        self.last_resort = LastResort()
        self.failure: MicroError | None = None
        self._hurried: asyncio.Future[Any] | None = None

    def cancel(self) -> None:
        """Have the program stop."""
        self.cancelled.set()
        if self.last_resort.kept:
            self.last_resort.arm(self._grace + MARGIN)

    def fail(self, error: MicroError) -> None:
        """Have the program stop with an error."""
        logger.error("%s", error)
        self.failure = error
        self.cancel()

    async def move(self, client: NatsClient) -> None:
        """Move the services to another connection."""
        await asyncio.gather(*(service.__instance__.move(client) for service in self.services))

    async def end(self, *error: Any) -> bool | None:
        """Stop the services, then end everything else.

        Args:
            error: The arguments of `__aexit__`.

        Returns:
            Whether something that was entered has suppressed the error.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._grace
        self.cancelled.set()  # who waits for the stop goes first, so that its requests end
        try:
            # First of all: a handler may use something that was entered after its service.
            await asyncio.gather(*(service.stop(self._grace) for service in self.services))
            await self.background.close(end - loop.time())
        finally:
            try:
                suppressed = await self._exit(max(end, loop.time() + MIN_EXIT), *error)
            finally:
                self.signals.release()
                self.services.clear()
                await self.callbacks.close()
                if not self.last_resort.kept:
                    self.last_resort.disarm()
        return suppressed

    async def _exit(self, until: float, *error: Any) -> bool | None:
        """Leave everything that was entered, and cancel what does not end in time."""
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                return await self.stack.__aexit__(*error)
        except TimeoutError:
            if not limit.expired():
                raise
            logger.error("entered contexts did not exit within the grace time: cancelled")
            return None

    def _stop(self) -> None:
        self.last_resort.arm(self._grace + MARGIN)
        self.cancel()

    def _hurry(self) -> None:
        self.last_resort.arm(HURRY)
        self._hurried = asyncio.gather(*(service.__instance__.abort() for service in self.services))
