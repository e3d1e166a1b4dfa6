"""The receiving end of a stream: items in order, their end, and what has been read."""

from __future__ import annotations

import asyncio
from collections import deque

from micro._errors import StreamLostError
from micro._streams.format import ITEM, SEQUENCE, read_number
from micro._wire.frames import Headers

END: object = object()
"""The outcome of a stream that has ended without an error."""


class Arrivals:
    """The items of one stream that have arrived.

    Args:
        subject: The subject of the endpoint, for errors.

    Attributes:
        items: The payloads that have arrived, in order.
        outcome: `END` or an error, once it has arrived.
        received: The number of items that have arrived, read ones included.
        waiter: The task that waits for an item.
    """

    def __init__(self, subject: str) -> None:
        self.items: deque[bytes] = deque()
        self.outcome: object = None
        self.received = 0
        self.waiter: asyncio.Task[object] | None = None
        self._subject = subject
        self._wake: asyncio.Future[None] | None = None

    @property
    def read(self) -> int:
        """The number of items that have been read."""
        return self.received - len(self.items)

    def has_ended(self) -> bool:
        """Return whether the end or an error has arrived."""
        return self.outcome is not None

    def take(self, number: int, data: bytes) -> bool:
        """Keep an item; return False if one before it is missing."""
        self.received += 1
        if number != self.received:
            self.fail(f"item {self.received} is missing, item {number} arrived")
            return False
        self.items.append(data)
        return True

    def finish(self, count: int | None) -> None:
        """Take in the end of the stream, behind a number of items."""
        if count is not None and count != self.received:
            self.fail(f"{count - self.received} items at the end are missing")
        else:
            self.end(END)

    def fail(self, reason: str) -> None:
        """End the stream with an error."""
        self.end(StreamLostError(self._subject, reason))

    def end(self, outcome: object) -> None:
        """End the stream; the first outcome counts."""
        if self.outcome is None:
            self.outcome = outcome
        self.wake()

    async def change(self) -> None:
        """Wait until something arrives."""
        self._wake = asyncio.get_running_loop().create_future()
        self.waiter = asyncio.current_task()
        try:
            await self._wake
        finally:
            self.waiter = None

    def wake(self) -> None:
        """Wake who waits."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def number_of(headers: Headers) -> int | None:
    """Return the number of an item, None for another message."""
    if isinstance(headers, bytes):
        if not headers.startswith(ITEM):
            return None
        text = headers[len(ITEM) : -4]
        return int(text) if text.isdigit() and len(text) <= 18 else None
    return read_number(headers.get(SEQUENCE)) if headers else None
