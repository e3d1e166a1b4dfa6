"""A connection for the time of one command."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as NatsClient

from micro._connection.first_connection import FirstConnection
from micro._connection.settings import Settings
from micro._wire import fast_transport

logger = logging.getLogger("micro.cli")


class Link:
    """A connection, and what the server complained about while it lasted."""

    def __init__(self, settings: Settings) -> None:
        self.nc = NatsClient()
        self._settings = settings
        self.complaints: list[str] = []
        self._first: FirstConnection | None = FirstConnection(settings)

    async def open(self) -> None:
        """Connect, once.

        Raises:
            ConnectError: No server took us; the text says why.
        """
        if self._first is not None:
            fast_transport.install(self.nc, self._settings.servers)
            await self._first.make(self.nc, {"error_cb": self._note})
            self._first = None

    def refusal(self, action: str, subject: str) -> str | None:
        """Return what the server said when it refused a "publish" or "subscription" to a subject."""
        wanted = f'permissions violation for {action} to "{subject}"'.lower()
        return next((text for text in self.complaints if wanted in text.lower()), None)

    async def _note(self, error: Exception) -> None:
        if self._first is not None:
            self._first.failed(error)
            return
        text = str(error).removeprefix("nats: ").strip("'")
        self.complaints.append(text)
        logger.debug("connection: %s", text)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Link]:
    """Connect for the time of a block.

    Raises:
        ConnectError: No server took us; the text says why.
    """
    link = Link(settings)
    try:
        await link.open()
        yield link
    finally:
        await link.nc.close()
