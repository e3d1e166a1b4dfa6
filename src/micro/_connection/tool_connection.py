"""The connection of a tool: of one command, or of a page that watches services."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any, Self

from nats.aio.client import Client as NatsClient

from micro._connection import transports
from micro._connection.first_connection import FirstConnection, error_text
from micro._connection.settings import Settings
from micro._errors import ConnectError
from micro._wire import nats_py, permissions

logger = logging.getLogger("micro.cli")

MAX_COMPLAINTS = 100

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the state of the client."""


class ToolConnection:
    """A connection that remembers the errors of the server; `async with` opens and closes it.

    Attributes:
        nc: The NATS client.
        complaints: The latest asynchronous errors; the owner may clear them.
    """

    def __init__(self, settings: Settings) -> None:
        self.nc = NatsClient()
        self.complaints: deque[str] = deque(maxlen=MAX_COMPLAINTS)
        self._settings = settings
        self._first = FirstConnection(settings)
        self._closed = asyncio.Event()
        self._last_error = ""

    async def keep(self) -> None:
        """Connect, and close when this is cancelled; never returns normally.

        Raises:
            ConnectError: A server refused the connection, or the connection was closed for good.
        """
        async with self:
            # nats-py may also stop reconnecting without closing, and then calls nothing.
            while not self.nc.is_closed and nats_py.abandonment(self.nc) is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), LOOK_INTERVAL)
            raise ConnectError(f"the connection is gone for good: {self._last_error}")

    def refusal(self, action: str, subject: str) -> str | None:
        """Return the error with which the server refused an action on a subject.

        Args:
            action: `publish` or `subscription`.
            subject: The subject.
        """
        for text in self.complaints:
            refused = permissions.refusal(text)
            if refused is not None and refused[:2] == (action, subject.lower()):
                return text
        return None

    def problem(self) -> str | None:
        """Return why no service can be seen, None if the connection works."""
        if self._first.made and self.nc.is_connected:
            return None
        servers = ", ".join(self._settings.servers)
        reason = f": {self._last_error}" if self._last_error else ""
        if not self._first.made:
            return f"No NATS server at {servers} yet{reason}"
        return f"The connection to {servers} is lost; reconnecting{reason}"

    def describe(self) -> dict[str, Any]:
        """Return the state, the URL without credentials, and the version of the server."""
        url = self.nc.connected_url if self._first.made else None
        version = self.nc.connected_server_version if self._first.made else None
        return {
            "connected": self.problem() is None,
            "url": self._settings.servers[0] if url is None else f"{url.scheme}://{_address(url)}",
            "version": f"{version.major}.{version.minor}.{version.patch}" if version else "",
        }

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectError: No server accepted the connection.
        """
        try:
            transports.install(self.nc, self._settings)
            await self._first.make(self.nc, {"error_cb": self._note, "closed_cb": self._end})
        except BaseException:
            await self.nc.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.nc.close()

    async def _note(self, error: Exception) -> None:
        self._last_error = error_text(error)
        if self._first.made:
            self.complaints.append(self._last_error)
            logger.debug("connection: %s", self._last_error)
        else:
            self._first.failed(error)

    async def _end(self) -> None:
        self._closed.set()


def _address(url: Any) -> str:
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port is None else f"{host}:{url.port}"
