"""The sending end of a stream: numbered items, no more than the other end takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, TypeAlias

from micro._streams.format import item_block, upload_end_block
from micro._wire.paths import Path

logger = logging.getLogger("micro.stream")

TURN = 128
"""Items after which other work has its turn."""

GRACE = 1.0
"""Seconds that a source of items has to end when it is cancelled or closed."""

Way: TypeAlias = Callable[[], tuple[Path, bytes]]
"""Returns the path and the subject of the next item."""


class Credit:
    """The number of items that may be sent: a window beyond those that have been read.

    Args:
        window: Items that the other end takes unread.

    Attributes:
        limit: The number of items that may be sent in all.
    """

    __slots__ = ("_wake", "_window", "limit")

    def __init__(self, window: int) -> None:
        self.limit = self._window = window
        self._wake: asyncio.Future[None] | None = None

    async def wait(self, number: int) -> None:
        """Wait until an item of a number may be sent."""
        while number > self.limit:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    def extend(self, read: int) -> None:
        """Take in how many items have been read."""
        if read + self._window > self.limit:
            self.limit = read + self._window
            if self._wake is not None and not self._wake.done():
                self._wake.set_result(None)


async def send_items(
    items: AsyncIterator[Any], encode: Callable[[Any], bytes], way: Way, credit: Credit | None
) -> int:
    """Send items as messages; return their number.

    Raises:
        ValueError: An item has no payload.
    """
    number = 0
    async for item in items:
        data = encode(item)
        if not data:
            raise ValueError("an item of a stream has no payload, which would mean its end")
        number += 1
        if credit is not None and number > credit.limit:
            await credit.wait(number)
        path, subject = way()
        sending = path.send(subject, data, b"", item_block(number))
        if sending is not None:
            await sending
        elif path.congestion.on:
            await path.congestion.over()
        elif not number % TURN:
            await asyncio.sleep(0)
    return number


class Upload:
    """The items that a caller sends to the service of its stream.

    Args:
        items: The items.
        encode: Returns the payload of an item.
        window: Items that the service takes unread.

    Attributes:
        credit: The number of items that may be sent.
        control: The subject that the items go to; empty until the service has told it.
    """

    def __init__(
        self, items: AsyncIterable[Any], encode: Callable[[Any], bytes], window: int
    ) -> None:
        self.credit = Credit(window)
        self.control = b""
        self._items = items
        self._encode = encode
        self._task: asyncio.Task[None] | None = None
        self._runs = self._closed = False

    @property
    def runs(self) -> bool:
        """Whether items are being sent."""
        return self._runs

    def begin(self, path: Path, ended: Callable[[Exception | None], None]) -> None:
        """Send the items.

        Args:
            path: The path of the connection.
            ended: Called with the error of the items, or None behind the last one.
        """
        if self._task is None:
            self._runs = True
            self._task = asyncio.get_running_loop().create_task(self._run(path, ended))

    async def stop(self) -> None:
        """Send no more items, and close them. May be called twice.

        Items that go on regardless are left to themselves after `GRACE`.
        """
        task = self._task
        if task is asyncio.current_task():
            return
        if task is None or not task.done():
            await self._end(task)
        if task is not None and task.cancelled():  # perhaps before its first step
            await self._end(None)

    async def _end(self, task: asyncio.Task[None] | None) -> None:
        if task is None:
            task = asyncio.get_running_loop().create_task(self._close())
        else:
            task.cancel()
        if (await asyncio.wait({task}, timeout=GRACE))[1]:
            logger.warning("the items of an upload do not end within %s s", GRACE)

    async def _run(self, path: Path, ended: Callable[[Exception | None], None]) -> None:
        try:
            count = await send_items(
                aiter(self._items), self._encode, lambda: (path, self.control), self.credit
            )
            sending = path.send(self.control, b"", b"", upload_end_block(count))
            if sending is not None:
                await sending
        except Exception as error:  # noqa: BLE001 - of the items, raised to their reader
            self._runs = False
            ended(error)
        else:
            self._runs = False
            ended(None)
        finally:
            await self._close()

    async def _close(self) -> None:
        close = getattr(self._items, "aclose", None)
        if close is not None and not self._closed:
            self._closed = True
            await close()
