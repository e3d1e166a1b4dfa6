"""Watches over NATS, continued on another instance without a lost or repeated event."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from micro import Response, unbound_context
from micro_etcd._backoff import backoff
from micro_etcd._model.events import Event, WatchBatch
from micro_etcd._model.values import WatchEventType
from micro_etcd._over_nats.caller import Caller
from micro_etcd._wire.errors import ERROR, named_error
from micro_etcd._wire.headers import ACK, HEARTBEAT, PART, REVISION, SEQ
from micro_etcd._wire.watch import Delivery, EventItem, StopBody, WatchBody, WatchReply
from micro_etcd.errors import (
    EtcdCompactedError,
    EtcdDataLossError,
    EtcdError,
    EtcdInvalidArgumentError,
    EtcdPermissionDeniedError,
    EtcdUnavailableError,
)

SILENCE = 2.5  # heartbeats without a message until the instance counts as gone
FATAL = (
    EtcdCompactedError,
    EtcdPermissionDeniedError,
    EtcdDataLossError,
    EtcdInvalidArgumentError,
)
logger = logging.getLogger("micro.etcd.watch")


class NatsEventStream:
    """An async iterator of WatchBatch; it resumes, fails and closes like `EventStream`.

    The service stops sending to a reader whose window is full.
    """

    def __init__(
        self, caller: Caller, body: WatchBody, *, on_ready: Callable[[], object] | None = None
    ) -> None:
        self._reader = _Reader(caller, body, on_ready)

    @property
    def next_revision(self) -> int:
        """First revision that was not yielded yet, 0 before the start."""
        batches = self._reader.batches
        return batches[0][1].revision if batches else self._reader.next_revision

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        await self.start()
        return await self._reader.take()

    async def start(self) -> None:
        """Return once an instance of the service serves the watch."""
        await self._reader.start()

    def close(self) -> None:
        """End the watch; idempotent."""
        self._reader.close()

    def __del__(self) -> None:
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.close()


class _Reader:
    """The receiver of a watch: orders, acknowledges, and starts again when a message is missing.

    It does not refer to the stream that reads from it, so that a dropped stream is collected.
    """

    def __init__(
        self, caller: Caller, body: WatchBody, on_ready: Callable[[], object] | None
    ) -> None:
        self.batches: deque[tuple[int, WatchBatch]] = deque()  # with the number of the message
        self.next_revision = 0
        self._caller = caller
        self._body = body
        self._on_ready = on_ready
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._changed = asyncio.Event()  # wakes the task
        self._filled = asyncio.Event()  # wakes the reader
        self._closed = False
        self._error: EtcdError | None = None
        self._forget()

    def _forget(self) -> None:
        """Prepare for a new numbering of messages."""
        self._seq = 0
        self._parts: list[bytes] = []
        self._cut: EtcdError | None = None
        self._owed: tuple[Msg, float] | None = None  # a heartbeat, and when it came
        self._heard = 0.0
        self.batches = deque((0, batch) for _, batch in self.batches)

    async def start(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._run(), context=unbound_context())
        await self._started.wait()
        if self._error is not None and not self.batches:
            raise self._error

    async def take(self) -> WatchBatch:
        while not self.batches:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            if self._task is not None and self._task.done():
                self._task.result()  # a bug ended it
            self._filled.clear()
            await self._filled.wait()
        _, batch = self.batches.popleft()
        self._changed.set()
        return batch

    def close(self) -> None:
        self._closed = True
        self._wake()
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    def _wake(self) -> None:
        self._started.set()
        self._filled.set()

    async def _run(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    await self._serve_once()
                    failures = 0
                except FATAL:
                    raise
                except EtcdError as error:
                    if not self._started.is_set() or self._caller.nc.is_closed:
                        raise
                    logger.info("watch over NATS cannot be resumed yet: %s", error)
                    await asyncio.sleep(backoff(failures))
                    failures += 1
        except EtcdError as error:
            self._error = error
        finally:
            self._wake()

    async def _serve_once(self) -> None:
        """Start the watch on an instance and follow it until it must start again."""
        while len(self.batches) > self._body.window:  # the reader is far enough behind
            self._changed.clear()
            await self._changed.wait()
        self._forget()
        nc = self._caller.nc
        deliver = nc.new_inbox()
        try:
            subscription = await nc.subscribe(
                deliver, cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
            )
        except (nats.errors.Error, OSError) as error:
            raise EtcdUnavailableError(f"cannot subscribe: {error}") from error
        reply: WatchReply | None = None
        try:
            update: dict[str, Any] = {"deliver": deliver}
            if self.next_revision:
                update |= {"start_revision": self.next_revision, "resume": True}
            reply = await self._caller.call(
                "watch.start", self._body.model_copy(update=update), WatchReply
            )
            self.next_revision = max(self.next_revision, reply.revision + 1)
            if not self._started.is_set():
                self._started.set()
                if self._on_ready is not None:
                    self._on_ready()
            await self._follow(reply.heartbeat_s)
        finally:
            await self._leave(subscription, reply)

    async def _follow(self, heartbeat: float) -> None:
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        while self._cut is None:
            self._changed.clear()
            await self._answer(heartbeat)
            silent = self._heard + SILENCE * heartbeat
            if loop.time() >= silent:
                logger.info("watch over NATS: no heartbeat, starting again")
                return
            wake = silent if self._owed is None else min(silent, self._owed[1] + heartbeat / 2)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(wake):
                    await self._changed.wait()
        if isinstance(self._cut, FATAL):
            raise self._cut
        logger.info("watch over NATS starts again: %s", self._cut)

    async def _answer(self, heartbeat: float) -> None:
        """Answer the heartbeat within half a window of the reader, or after half a heartbeat."""
        if self._owed is None:
            return
        message, came = self._owed
        done = self.batches[0][0] - 1 if self.batches else self._seq
        behind = self._seq - done
        late = asyncio.get_running_loop().time() >= came + heartbeat / 2
        if behind * 2 > self._body.window and not late:
            return
        self._owed = None
        try:
            await self._caller.nc.publish(message.reply, b"", headers={ACK: str(max(done, 0))})
        except (nats.errors.Error, OSError) as error:
            logger.info("heartbeat not answered: %s", error)

    async def _leave(self, subscription: Subscription, reply: WatchReply | None) -> None:
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()
            if reply is not None:
                await self._caller.tell(
                    f"watch.stop.{reply.instance}", StopBody(watch_id=reply.watch_id)
                )

    async def _receive(self, message: Msg) -> None:
        if self._cut is not None:
            return
        headers = message.headers if message.headers is not None else {}
        self._heard = asyncio.get_running_loop().time()
        try:
            self._read(message, headers)
        except (ValueError, KeyError) as error:
            self._cut = EtcdUnavailableError(f"unreadable message: {error!r}")
        self._changed.set()

    def _read(self, message: Msg, headers: dict[str, str]) -> None:
        number = int(headers[SEQ])
        if HEARTBEAT in headers:
            if number > self._seq:
                self._cut = EtcdUnavailableError(f"message {self._seq + 1} is missing")
                return
            self._owed = message, self._heard
            if number == self._seq and not self._parts:
                self.next_revision = max(self.next_revision, int(headers[REVISION]) + 1)
            return
        if number != self._seq + 1:
            self._cut = EtcdUnavailableError(f"message {number} came after {self._seq}")
            return
        self._seq = number
        if ERROR in headers:
            answer = Response(message.data, headers).error()
            text = "error" if answer is None else answer.description
            self._cut = named_error(headers[ERROR], text, headers)
            return
        part, _, count = headers.get(PART, "1/1").partition("/")
        if int(part) != len(self._parts) + 1:
            self._cut = EtcdUnavailableError(f"part {part} came after {len(self._parts)}")
            return
        self._parts.append(message.data)
        if int(part) == int(count):
            self._complete(number, int(headers[REVISION]))

    def _complete(self, number: int, revision: int) -> None:
        data, self._parts = b"".join(self._parts), []
        if revision < self.next_revision:  # seen before
            return
        events = tuple(_event(item) for item in Delivery.model_validate_json(data).events)
        self.batches.append((number, WatchBatch(revision, events)))
        self.next_revision = revision + 1
        self._filled.set()


def _event(item: EventItem) -> Event:
    prev = None if item.prev_kv is None else item.prev_kv.keyvalue()
    return Event(WatchEventType[item.type.upper()], item.kv.keyvalue(), prev)
