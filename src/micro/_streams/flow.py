"""The flow control of streams at the service: credits, leases, and callers that leave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from nats.aio.subscription import Subscription

from micro._errors import ServiceError
from micro._protocol.headers import decode_headers
from micro._streams.arrivals import Arrivals, number_of
from micro._streams.format import (
    ALIVE,
    END,
    LEAVE,
    OPEN,
    SEQUENCE,
    STATE,
    read_number,
    state_block,
)
from micro._streams.sending import Credit
from micro._wire.frames import Headers, Message
from micro._wire.paths import Path
from micro._wire.posting import Post


class Flow:
    """The state of one stream whose caller takes part in flow control.

    Args:
        reply: The reply subject of the request.
        window: Items that the caller takes unread.
        lease: Seconds within which the caller gives a sign of life.
        task: The task that makes the items; cancelled when the caller is gone.
        arrivals: The items that the caller sends; None if it sends none.

    Attributes:
        credit: The number of items that may be sent.
        arrivals: The items that the caller sends; None if it sends none.
        gone: Whether the caller has left, or has given no sign of life.
        left: Whether it has left by itself.
    """

    __slots__ = (
        "_task",
        "_told",
        "_until",
        "_window",
        "arrivals",
        "credit",
        "gone",
        "lease",
        "left",
        "reply",
    )

    def __init__(
        self,
        reply: bytes,
        window: int,
        lease: float,
        task: asyncio.Task[object],
        arrivals: Arrivals | None,
    ) -> None:
        self.reply = reply
        self.lease = lease
        self.credit = Credit(window)
        self.arrivals = arrivals
        self._window = window
        self._told = 0
        self.gone = self.left = False
        self._task = task
        self._until = asyncio.get_running_loop().time() + 2 * lease  # the first sign takes longer

    def hear(self, text: bytes, headers: Headers) -> None:
        """Take in a message of the caller."""
        if headers:
            self._until = asyncio.get_running_loop().time() + self.lease
            if self.arrivals is not None:
                self._take(self.arrivals, text, headers)
            return
        if text == LEAVE:
            self.left = True
            self.end()
            return
        self._until = asyncio.get_running_loop().time() + self.lease
        if text.isdigit() and len(text) <= 18:
            self.credit.extend(int(text))

    def _take(self, arrivals: Arrivals, data: bytes, headers: Headers) -> None:
        number = number_of(headers)
        if data and number is not None:
            if len(arrivals.items) >= self._window:
                arrivals.fail(f"more than {self._window} items are unread")
            elif arrivals.outcome is None:
                arrivals.take(number, data)
        else:
            told = decode_headers(headers) if isinstance(headers, bytes) else headers or {}
            if told.get(STATE) == END:
                arrivals.finish(read_number(told.get(SEQUENCE)))
        arrivals.wake()

    def is_owed_word(self) -> bool:
        """Return whether the caller should learn how many of its items have been read."""
        assert self.arrivals is not None  # noqa: S101 - asked only behind an item
        return self.arrivals.read - self._told >= max(1, self._window // 2)

    def word(self, state: str) -> bytes:
        """Return the header block that tells the caller a state, and what has been read."""
        if self.arrivals is None:
            return state_block(state, None)
        self._told = self.arrivals.read
        return state_block(state, self._told)

    def check(self, now: float) -> None:
        """End the stream of a caller whose lease is over."""
        if now > self._until:
            self.end()

    def end(self) -> None:
        """Cancel the making of items: nobody reads them."""
        if self.gone:
            return
        self.gone = True
        reading = False
        if self.arrivals is not None:
            reading = self.arrivals.waiter is self._task
            self.arrivals.end(ServiceError(499, "caller left" if self.left else "caller gone"))
        if not reading:
            self._task.cancel()


class Flows:
    """The flows of one endpoint on one connection, and the inbox that their callers write to.

    Args:
        path: The path of the connection.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._post = Post(path)
        self._inbox = path.nc.new_inbox()
        self._numbers = itertools.count()
        self._flows: dict[bytes, Flow] = {}
        self._opening: asyncio.Task[Subscription] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[Flow]:
        return iter(tuple(self._flows.values()))

    async def open(self, flow: Flow) -> None:
        """Tell a caller the control subject of its stream."""
        if self._opening is None:
            subscribing = self._path.subscribe(f"{self._inbox}.*", "", self._receive)
            self._opening = asyncio.get_running_loop().create_task(subscribing)
        await asyncio.shield(self._opening)
        control = f"{self._inbox}.{next(self._numbers)}".encode()
        self._flows[control] = flow
        self._post.send(flow.reply, b"", control, flow.word(OPEN))
        if self._timer is None:
            self._look_after(flow.lease)

    def tell(self, flow: Flow) -> None:
        """Tell a caller that the service lives, and what has been read."""
        self._post.send(flow.reply, b"", b"", flow.word(ALIVE))

    def forget(self, flow: Flow) -> None:
        """End the flow of a stream that has ended."""
        for control, other in tuple(self._flows.items()):
            if other is flow:
                del self._flows[control]

    async def close(self) -> None:
        """End the inbox."""
        if self._timer is not None:
            self._timer.cancel()
        opening, self._opening = self._opening, None
        if opening is not None:
            await self._path.unsubscribe(await opening)

    def _receive(self, messages: list[Message]) -> None:
        for subject, _, data, headers in messages:
            flow = self._flows.get(subject)
            if flow is not None:
                flow.hear(data, headers)

    def _look_after(self, lease: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(lease / 3, self._look)

    def _look(self) -> None:
        """End flows without a sign of life, and give one to the others."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for flow in self:
            flow.check(now)
            if not flow.gone:
                self.tell(flow)
        if self._flows:
            self._look_after(min(flow.lease for flow in self))
