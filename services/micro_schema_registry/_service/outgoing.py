"""A bound on the bytes of answers that the NATS server has not taken yet."""

import asyncio
from collections.abc import Awaitable, Callable

from micro import unbound_context

_LIMIT = 8 * 1024 * 1024
_SMALL = 16 * 1024
"""Answers up to this many bytes are not counted: a round trip costs more than they do."""


class Outgoing:
    """The large answers on their way out; further ones are not encoded before there is room.

    Args:
        confirm: Returns when the server has taken everything that was sent before the call.
        max_answer: Returns the most bytes that an answer may have.
    """

    def __init__(
        self, confirm: Callable[[], Awaitable[object]], max_answer: Callable[[], int]
    ) -> None:
        self._confirm = confirm
        self.max_answer = max_answer
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._confirming: asyncio.Task[None] | None = None

    async def admit(self, size: int) -> None:
        """Wait until an answer of this size may be encoded, in the order of the calls."""
        if size <= _SMALL:
            return
        async with self._turn:
            while self._bytes and self._bytes + size > _LIMIT:
                self._room.clear()
                await self._room.wait()
            self._bytes += size
        if self._confirming is None or self._confirming.done():
            self._confirming = asyncio.create_task(self._until_taken(), context=unbound_context())

    async def aclose(self) -> None:
        """Stop waiting for the server."""
        if self._confirming is not None:
            self._confirming.cancel()
            await asyncio.wait({self._confirming})

    async def _until_taken(self) -> None:
        while self._bytes:
            admitted = self._bytes
            await asyncio.sleep(0)  # the admitted answers are encoded in this turn of the loop
            await asyncio.sleep(0)  # and leave in the next one
            try:
                await self._confirm()
            finally:
                self._bytes -= admitted
                self._room.set()
