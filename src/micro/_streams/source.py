"""The sending of the items of one endpoint's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from micro._errors import ServiceError
from micro._handlers.streaming import Encode, StreamRequest
from micro._streams.flow import Flow, Flows
from micro._streams.format import (
    LEASE,
    LEASES,
    MAX_WINDOW,
    WINDOW,
    end_headers,
    item_block,
    read_number,
)
from micro._wire.frames import Headers
from micro._wire.outbox import DOLLAR
from micro._wire.paths import Path

TURN = 128
"""Items after which other work has its turn."""

DEFAULT_LEASE = 1.0


class Source:
    """Makes requests that are answered with streams, and sends their items.

    Args:
        path: The path of the connection.

    Attributes:
        path: The path that items are sent by.
        items: The number of items sent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items = 0
        self._flows = Flows(path)
        self._former: set[asyncio.Task[None]] = set()

    def make(
        self, subject: bytes, reply: bytes, data: bytes, headers: Headers
    ) -> ArrivedStreamRequest:
        """Make a request of a message."""
        return ArrivedStreamRequest(self, subject, reply, data, headers)

    def move(self, path: Path) -> None:
        """Go on by another path; the callers learn the new control subjects."""
        former, self._flows = self._flows, Flows(path)
        self.path = path
        task = asyncio.get_running_loop().create_task(self._reopen(former, self._flows))
        self._former.add(task)
        task.add_done_callback(self._former.discard)

    async def _reopen(self, former: Flows, present: Flows) -> None:
        for flow in former:
            await present.open(flow)

    async def close(self) -> None:
        """End the inbox for flow control."""
        await self._flows.close()

    async def accept(self, request: ArrivedStreamRequest) -> Flow | None:
        """Begin the flow control of a stream, if its caller takes part in it."""
        headers = request.headers()
        window = read_number(headers.get(WINDOW))
        task = asyncio.current_task()
        if not window or task is None:
            return None
        lease = (read_number(headers.get(LEASE)) or DEFAULT_LEASE * 1000) / 1000
        lease = min(max(lease, LEASES[0]), LEASES[1])
        flow = Flow(request.raw_reply, min(window, MAX_WINDOW), lease, task)
        await self._flows.open(flow)
        return flow

    def finish(self, flow: Flow) -> None:
        """End the flow control of a stream."""
        self._flows.forget(flow)


class ArrivedStreamRequest(StreamRequest):
    """A request that came over NATS to a streaming handler."""

    __slots__ = ("_source",)

    def __init__(
        self, source: Source, subject: bytes, reply: bytes, data: bytes, headers: Headers
    ) -> None:
        super().__init__(subject, reply, data, headers)
        self._source = source

    async def deliver(self, items: AsyncIterator[Any], encode: Encode) -> None:
        """Send items as messages; the answer of the request is their end.

        Raises:
            ServiceError: The caller is gone, code 499.
            ValueError: An item has no payload.
        """
        number = 0
        if self.raw_reply and self.raw_reply[0] != DOLLAR:
            flow = await self._source.accept(self)
            number = await (
                self._send(items, encode, None) if flow is None else self._flow(items, encode, flow)
            )
        await self.respond(b"", end_headers(number))

    async def _flow(self, items: AsyncIterator[Any], encode: Encode, flow: Flow) -> int:
        number = 0
        try:
            number = await self._send(items, encode, flow)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not flow.gone or task is None or self.expired:
                raise
            task.uncancel()
        finally:
            self._source.finish(flow)
        if flow.gone and not flow.left:
            raise ServiceError(499, "caller gone")
        return number

    async def _send(self, items: AsyncIterator[Any], encode: Encode, flow: Flow | None) -> int:
        source, reply, number = self._source, self.raw_reply, 0
        async for item in items:
            data = encode(item)
            if not data:
                raise ValueError("an item of a stream has no payload, which would mean its end")
            number += 1
            if flow is not None and number > flow.limit:
                await flow.wait(number)
            path = source.path
            sending = path.send(reply, data, b"", item_block(number))
            source.items += 1
            if sending is not None:
                await sending
            elif path.congestion.on:
                await path.congestion.over()
            elif not number % TURN:
                await asyncio.sleep(0)
        return number
