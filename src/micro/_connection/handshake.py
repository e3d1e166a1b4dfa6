"""Setting up a connection: addresses, TLS, and the credentials in CONNECT.

nats-py reads credentials and TLS files once per client, and sends CONNECT to a server without TLS.
The transports of micro call a `Handshake` at each attempt instead.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import re
import socket
import ssl
from typing import Any
from urllib.parse import ParseResult, urlparse

import nats.errors

from micro._connection.settings import Settings
from micro._errors import ConfigError

_OLD_SERVER = re.compile(r"[01]\.|2\.[01]\.")  # these say nothing of headers

MIN_ATTEMPT = 0.25
"""Seconds at least for one of several addresses of a host."""


class AttemptError(nats.errors.Error):
    """An attempt that ended before the server refused it; nats-py makes another attempt."""


class RefusedError(AttemptError):
    """A server that cannot be used with these settings, whatever the number of attempts."""


class Handshake:
    """The steps of each attempt of one client to connect.

    Args:
        settings: The connection settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._urls = [urlparse(url) for url in settings.servers]
        self._fields: dict[str, str] = {}

    def target(self, uri: ParseResult) -> ParseResult:
        """Return the URL of a server, for a discovered one with the scheme and path of ours."""
        if any(uri.netloc == own.netloc for own in self._urls):
            return uri
        own = self._urls[0]
        return uri._replace(scheme=own.scheme, path=own.path, query=own.query)

    def tls_name(self, host: str | None) -> str | None:
        """Return the name in the certificate of a server: for a discovered address a given name."""
        names = [own.hostname for own in self._urls]
        if host in names or not is_address(host):
            return host
        return next((name for name in names if not is_address(name)), host)

    def ssl_context(self) -> ssl.SSLContext:
        """Return a TLS context from files as they are now.

        Raises:
            AttemptError: A file cannot be used.
        """
        try:
            return self._settings.ssl_context()
        except ConfigError as error:
            raise AttemptError(str(error)) from None

    async def greeted(self, line: bytes, server: str, *, encrypted: bool) -> bytes:
        """Take the INFO line of a server, and return it as nats-py needs it.

        Raises:
            RefusedError: The server offers no TLS or no headers.
            AttemptError: There are no usable credentials now.
        """
        command, _, text = line.partition(b" ")
        if command != b"INFO":
            return line
        try:
            info: dict[str, Any] = json.loads(text)
        except ValueError:
            return line
        if not info.get("headers", not _OLD_SERVER.match(str(info.get("version")))):
            raise RefusedError(
                "the server does not support headers: expected nats-server 2.2 or later"
            )
        if self._settings.encrypted and not encrypted and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise RefusedError("the server offers no TLS, which the settings require")
            info["tls_required"] = True
        self._fields = await self._prove(server, info.get("nonce") or "")
        return b"INFO " + json.dumps(info).encode() + b"\r\n"

    def connect_command(self, frame: bytes) -> bytes:
        """Return a CONNECT command with the credentials."""
        options = json.loads(frame.partition(b" ")[2]) | self._fields
        self._fields = {}
        return b"CONNECT " + json.dumps(options).encode() + b"\r\n"

    async def _prove(self, server: str, nonce: str) -> dict[str, str]:
        credentials = self._settings.credentials
        if credentials is None:
            return {}
        try:
            return await credentials.prove(server, nonce)
        except ConfigError as error:
            raise AttemptError(str(error)) from None


async def addresses(uri: ParseResult) -> list[ParseResult]:
    """Return a URL for each address of a host, in random order."""
    port = uri.port or 4222
    host = uri.hostname or ""
    if is_address(host):
        return [uri]
    loop = asyncio.get_running_loop()
    entries = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    hosts = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    random.shuffle(hosts)
    places = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
    return [uri._replace(netloc=place) for place in places]


def is_address(host: str | None) -> bool:
    """Return whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True
