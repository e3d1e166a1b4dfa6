"""The first connection: one attempt per server, or attempts without end with `retry`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._connection.handshake import RefusedError
from micro._connection.settings import Settings
from micro._errors import ConnectError

logger = logging.getLogger("micro.connect")

PROGRESS = 5.0
"""Seconds between two log lines while connecting."""

INSIST = 0.2
"""Seconds between two cancellations of an attempt that does not end."""

MAX_RESETS = 3
"""Attempts after a connection reset: the reset may have discarded the refusal of the server."""

_RESETS = (ConnectionResetError, BrokenPipeError)
_REFUSALS = ("authorization", "authentication", "expired", "revoked", "maximum connections")


class FirstConnection:
    """The errors of a client that is connecting for the first time.

    nats-py repeats its attempts after any error. Here a refusal ends the attempt, and so does an
    absent server without `retry`.

    Attributes:
        made: Whether the client has connected.
    """

    def __init__(self, settings: Settings) -> None:
        self.made = False
        self._settings = settings
        self._errors: list[BaseException] = []
        self._hopeless = asyncio.Event()
        self._attempts = len(settings.servers)

    def failed(self, error: BaseException) -> None:
        """Record an error; called by the error callback of the client while it connects."""
        if self._errors and error is self._errors[-1]:
            return  # nats-py reports a lost connection again when it closes it
        self._errors.append(error)
        if self._is_refusal(error) or not self._is_patient():
            self._hopeless.set()

    def _is_refusal(self, error: BaseException) -> bool:
        """Return whether no further attempt can succeed; a place may become free with time."""
        if self._settings.retry and "maximum" in str(error).lower():
            return False
        return _refused(error)

    def _is_patient(self) -> bool:
        resets = sum(isinstance(error, _RESETS) for error in self._errors)
        counted = len(self._errors) - min(resets, MAX_RESETS)
        return self._settings.retry or counted < self._attempts

    async def make(
        self,
        nc: NatsClient,
        callbacks: dict[str, Any],
        servers: Sequence[str] | None = None,
    ) -> None:
        """Connect.

        Args:
            nc: A client that is not connected.
            callbacks: Its callbacks.
            servers: The servers in the order of the attempts, instead of those of the settings.

        Raises:
            ConnectError: No server can be reached, or a server refuses the connection.
        """
        keywords = self._settings.keywords(servers)
        self._attempts = len(keywords["servers"])
        connecting = asyncio.create_task(nc.connect(**keywords, **callbacks))
        hopeless = asyncio.create_task(self._hopeless.wait())
        try:
            while not connecting.done() and not hopeless.done():
                await asyncio.wait(
                    {connecting, hopeless},
                    timeout=PROGRESS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not connecting.done() and not hopeless.done():
                    logger.warning("still connecting: %s", self._reason())
        finally:
            hopeless.cancel()
            while not connecting.done():  # before Python 3.12 wait_for() may swallow a cancellation
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=INSIST)
        if connecting.cancelled():
            raise ConnectError(self._reason())
        error = connecting.exception()
        if error is not None:
            self._errors.append(error)
            raise ConnectError(self._reason()) from error
        if nc.is_closed:  # by an error of the server that came after it accepted the client
            self._errors += [] if nc.last_error is None else [nc.last_error]
            raise ConnectError(self._reason())
        self.made = True
        if nc.connected_url is not None:
            keywords["reconnect_to_server_handler"].used(nc.connected_url.netloc)

    def _reason(self) -> str:
        servers = ", ".join(self._settings.servers)
        if not self._errors:
            return f"no answer from {servers} yet"
        # A refusal explains the errors after it, such as a reset.
        refusals = [each for each in self._errors if _refused(each)]
        error = refusals[0] if refusals else self._errors[-1]
        if refusals:
            return f"{servers} refused the connection: {error_text(error)}"
        hint = "" if self._settings.retry else _hint(error)
        return f"cannot connect to {servers}: {error_text(error)}{hint}"


def _refused(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return False  # the connection broke
    if isinstance(error, nats.errors.AuthorizationError | ssl.SSLError | RefusedError):
        return True
    text = str(error).lower()
    return isinstance(error, nats.errors.Error) and any(word in text for word in _REFUSALS)


def _hint(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "; check the host name"
    return (
        "; start one with `micro server`, or wait for one with options.retry() "
        "or `micro run --retry`"
    )


def error_text(error: BaseException) -> str:
    """Return the text of an error without the prefix and quotes of nats-py, never empty."""
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__
