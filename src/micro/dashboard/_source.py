"""The connection that the dashboard looks through, and what is wrong with it."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.aio.client import Client as NatsClient
from nats.aio.client import ServerVersion

from micro._connection.first_connection import FirstConnection
from micro._connection.settings import Settings
from micro._errors import ConnectError


class Source:
    """A connection that is sought until it is there, and again when it is lost.

    Attributes:
        nc: The NATS client.
        complaint: What the server refused last; whoever wants to know of new ones sets it to None.
    """

    def __init__(self, settings: Settings) -> None:
        self.nc = NatsClient()
        self.complaint: str | None = None
        self._settings = settings
        self._first = FirstConnection(settings)
        self._made = False
        self._closed = asyncio.Event()
        self._last_error = ""

    async def run(self) -> None:
        """Connect, and return only by raising.

        Raises:
            ConnectError: A server refused us, or the connection is gone for good.
        """
        try:
            callbacks: dict[str, Any] = {"error_cb": self._note, "closed_cb": self._end}
            await self._first.make(self.nc, callbacks)
            self._made = True
            await self._closed.wait()
            raise ConnectError(f"the connection is gone for good: {self._last_error}")
        finally:
            await self.nc.close()

    def problem(self) -> str | None:
        """Return why no service can be seen, None if the connection works."""
        if self._made and self.nc.is_connected:
            return None
        servers = ", ".join(self._settings.servers)
        why = f": {self._last_error}" if self._last_error else ""
        if not self._made:
            return f"No NATS server at {servers} yet{why}"
        return f"The connection to {servers} is lost, and sought again{why}"

    def refusal(self, subject: str) -> str | None:
        """Return what the server said if it refused a request to a subject a moment ago."""
        wanted = f'permissions violation for publish to "{subject}"'.lower()
        return self._last_error if wanted in self._last_error.lower() else None

    def describe(self) -> dict[str, Any]:
        """Return which server it is; the URL holds no credentials."""
        url = self.nc.connected_url if self._made else None
        version = self.nc.connected_server_version if self._made else None
        return {
            "connected": self.problem() is None,
            "url": self._settings.servers[0] if url is None else f"{url.scheme}://{_address(url)}",
            "version": _numbers(version),
        }

    async def _note(self, error: Exception) -> None:
        found = error.strerror if isinstance(error, OSError) else None
        text = str(error) if found is None else found
        text = text.removeprefix("nats: ").strip("'") or type(error).__name__
        self._last_error = text
        if self._made:
            self.complaint = text
        else:
            self._first.failed(error)

    async def _end(self) -> None:
        self._closed.set()


def _numbers(version: ServerVersion | None) -> str:
    return "" if version is None else f"{version.major}.{version.minor}.{version.patch}"


def _address(url: Any) -> str:
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port is None else f"{host}:{url.port}"
