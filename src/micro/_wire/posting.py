"""Messages that are sent without waiting for the path, such as acknowledgements."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import nats.errors

from micro._errors import MicroError
from micro._wire.paths import Path

logger = logging.getLogger("micro.path")


class Post:
    """Sends small messages by a path; what cannot be sent is lost with a log line.

    Attributes:
        path: The path; set another one to go on by it.
    """

    __slots__ = ("_sending", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sending: set[asyncio.Future[object]] = set()

    def send(self, subject: bytes, data: bytes, reply: bytes = b"", block: bytes = b"") -> None:
        """Send a message; see `Path.send`."""
        try:
            sending = self.path.send(subject, data, reply, block)
        except (nats.errors.Error, MicroError, OSError) as error:
            logger.debug("message to %r is lost: %s", subject, error)
            return
        if sending is not None:
            self._wait(sending)

    def _wait(self, sending: Awaitable[object]) -> None:
        task = asyncio.ensure_future(sending)
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Future[object]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.debug("message is lost: %s", task.exception())
