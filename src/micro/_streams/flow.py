"""The flow control of streams at the service: credits, leases, and callers that leave."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from nats.aio.subscription import Subscription

from micro._streams.format import ALIVE_BLOCK, LEAVE, OPEN_BLOCK
from micro._wire.frames import Message
from micro._wire.paths import Path
from micro._wire.posting import Post


class Flow:
    """The state of one stream whose caller takes part in flow control.

    Args:
        reply: The reply subject of the request.
        window: Items that the caller takes unread.
        lease: Seconds within which the caller gives a sign of life.
        task: The task that makes the items; cancelled when the caller is gone.

    Attributes:
        limit: The number of items that may be sent in all.
        gone: Whether the caller has left, or has given no sign of life.
        left: Whether it has left by itself.
    """

    __slots__ = ("_task", "_until", "_wake", "_window", "gone", "lease", "left", "limit", "reply")

    def __init__(self, reply: bytes, window: int, lease: float, task: asyncio.Task[object]) -> None:
        self.reply = reply
        self.lease = lease
        self.limit = self._window = window
        self.gone = self.left = False
        self._task = task
        self._until = asyncio.get_running_loop().time() + 2 * lease  # the first sign takes longer
        self._wake: asyncio.Future[None] | None = None

    async def wait(self, number: int) -> None:
        """Wait until an item of a number may be sent."""
        while number > self.limit:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    def hear(self, text: bytes) -> None:
        """Take in a message of the caller."""
        if text == LEAVE:
            self.left = True
            self.end()
            return
        self._until = asyncio.get_running_loop().time() + self.lease
        if text.isdigit() and len(text) <= 18 and int(text) + self._window > self.limit:
            self.limit = int(text) + self._window
            if self._wake is not None and not self._wake.done():
                self._wake.set_result(None)

    def check(self, now: float) -> None:
        """End the stream of a caller whose lease is over."""
        if now > self._until:
            self.end()

    def end(self) -> None:
        """Cancel the making of items: nobody reads them."""
        if not self.gone:
            self.gone = True
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
        self._post.send(flow.reply, b"", control, OPEN_BLOCK)
        if self._timer is None:
            self._look_after(flow.lease)

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
        for subject, _, data, _ in messages:
            flow = self._flows.get(subject)
            if flow is not None:
                flow.hear(data)

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
                self._post.send(flow.reply, b"", b"", ALIVE_BLOCK)
        if self._flows:
            self._look_after(min(flow.lease for flow in self))
