"""The first connection: one attempt per server, or attempts without end with `retry`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any

import nats.errors
from nats.aio.client import Client as NatsClient

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
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._errors: list[BaseException] = []
        self._hopeless = asyncio.Event()

    def failed(self, error: BaseException) -> None:
        """Record an error; called by the error callback of the client while it connects."""
        if self._errors and error is self._errors[-1]:
            return  # nats-py reports a lost connection again when it closes it
        self._errors.append(error)
        if _refused(error) or not self._is_patient():
            self._hopeless.set()

    def _is_patient(self) -> bool:
        resets = sum(isinstance(error, _RESETS) for error in self._errors)
        counted = len(self._errors) - min(resets, MAX_RESETS)
        return self._settings.retry or counted < len(self._settings.servers)

    async def make(self, nc: NatsClient, callbacks: dict[str, Any]) -> None:
        """Connect.

        Raises:
            ConnectError: No server can be reached, or a server refuses the connection.
        """
        connecting = asyncio.create_task(nc.connect(**self._settings.keywords(), **callbacks))
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

    def _reason(self) -> str:
        servers = ", ".join(self._settings.servers)
        if not self._errors:
            return f"no answer from {servers} yet"
        # A refusal explains the errors after it, such as a reset.
        error = next((each for each in self._errors if _refused(each)), self._errors[-1])
        if _refused(error):
            return f"{servers} refused the connection: {error_text(error)}"
        hint = "" if self._settings.retry else _hint(error)
        return f"cannot connect to {servers}: {error_text(error)}{hint}"


def _refused(error: BaseException) -> bool:
    if isinstance(error, nats.errors.AuthorizationError | ssl.SSLError):
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
