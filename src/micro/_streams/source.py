"""The sending of the items of one endpoint's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from micro._errors import ServiceError
from micro._handlers.streaming import Decode, Encode, StreamRequest, Take
from micro._streams.arrivals import Arrivals
from micro._streams.flow import Flow, Flows
from micro._streams.format import (
    END,
    LEASE,
    LEASES,
    MAX_WINDOW,
    STATE,
    UPLOAD,
    WINDOW,
    end_headers,
    read_number,
)
from micro._streams.sending import send_items
from micro._wire.frames import Headers
from micro._wire.outbox import DOLLAR
from micro._wire.paths import Path

T = TypeVar("T")

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

    async def accept(self, request: ArrivedStreamRequest, *, takes: bool = False) -> Flow | None:
        """Begin the flow control of a stream, if its caller takes part in it."""
        headers = request.headers()
        window = read_number(headers.get(WINDOW))
        task = asyncio.current_task()
        if not window or task is None:
            return None
        lease = (read_number(headers.get(LEASE)) or DEFAULT_LEASE * 1000) / 1000
        lease = min(max(lease, LEASES[0]), LEASES[1])
        arrivals = Arrivals(request.subject()) if takes and UPLOAD in headers else None
        flow = Flow(request.raw_reply, min(window, MAX_WINDOW), lease, task, arrivals)
        await self._flows.open(flow)
        return flow

    def tell(self, flow: Flow) -> None:
        """Tell a caller how many of its items have been read."""
        self._flows.tell(flow)

    def finish(self, flow: Flow) -> None:
        """End the flow control of a stream."""
        self._flows.forget(flow)


class ArrivedStreamRequest(StreamRequest):
    """A request that came over NATS to a streaming handler."""

    __slots__ = ("_flow", "_source")

    def __init__(
        self, source: Source, subject: bytes, reply: bytes, data: bytes, headers: Headers
    ) -> None:
        super().__init__(subject, reply, data, headers)
        self._source = source
        self._flow: Flow | None = None  # of a caller that sends items

    async def deliver(self, items: AsyncIterator[Any], encode: Encode) -> None:
        """Send items as messages; the answer of the request is their end.

        Raises:
            ServiceError: The caller is gone, code 499.
            ValueError: An item has no payload.
        """
        number = 0
        if self.raw_reply and self.raw_reply[0] != DOLLAR:
            flow = self._flow or await self._source.accept(self)
            credit = None if flow is None else flow.credit
            sending = send_items(items, encode, self._way, credit)
            number = await (sending if flow is None else self._until_gone(sending, flow))
        if self.sent is None:
            await self.respond(b"", end_headers(number))

    async def exchange(self, decode: Decode, handle: Take) -> None:
        """Pass the items that the caller sends to a handler.

        Raises:
            ServiceError: The caller sends no items, code 400, or is gone, code 499.
        """
        flow = await self._source.accept(self, takes=True)
        if flow is None or flow.arrivals is None:
            raise ServiceError(400, "expected a stream of items")
        self._flow = flow
        try:
            await self._until_gone(handle(_Items(self._source, flow, flow.arrivals, decode)), flow)
        finally:
            flow.arrivals.end(ServiceError(499, "the handler has ended"))
        if self.sent is None:  # the caller has left
            await self.respond(b"", {STATE: END})

    def _way(self) -> tuple[Path, bytes]:
        self._source.items += 1
        return self._source.path, self.raw_reply

    async def _until_gone(self, work: Coroutine[Any, Any, T], flow: Flow) -> T | int:
        """Do work that ends, without an error, when the caller leaves."""
        done: T | int = 0
        try:
            done = await work
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not flow.gone or task is None or self.expired:
                raise
            task.uncancel()
        except ServiceError as error:
            if not flow.gone or flow.arrivals is None or error is not flow.arrivals.outcome:
                raise
        finally:
            self._source.finish(flow)
        if flow.gone and not flow.left:
            raise ServiceError(499, "caller gone")
        return done


class _Items(AsyncIterator[Any]):
    """The items that a caller sends, as its handler reads them."""

    def __init__(self, source: Source, flow: Flow, arrivals: Arrivals, decode: Decode) -> None:
        self._source = source
        self._flow = flow
        self._arrivals = arrivals
        self._decode = decode

    async def __anext__(self) -> Any:
        arrivals = self._arrivals
        while not arrivals.items:
            if isinstance(arrivals.outcome, Exception):
                raise arrivals.outcome
            if arrivals.outcome is not None:
                raise StopAsyncIteration
            await arrivals.change()
        data = arrivals.items.popleft()
        if self._flow.is_owed_word():
            self._source.tell(self._flow)
        return self._decode(data)
