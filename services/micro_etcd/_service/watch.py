"""Watches served over NATS: one numbered message per revision, acknowledged by heartbeats.

Messages on the `deliver` subject of a reader, all with the headers `Etcd-Watch` and `Etcd-Seq`:

- events: JSON of `Delivery`, `Etcd-Revision`; `Etcd-Part: i/n` when the body is cut into n
  messages;
- heartbeats: requests with `Etcd-Heartbeat: 1`, the number of the last message in `Etcd-Seq`, and
  in `Etcd-Revision` a revision up to which all events are delivered. The header `Etcd-Ack` of the
  answer is the last message that the reader has processed;
- the end: `Etcd-Error` and the other headers of an error; the watch is over.

`Etcd-Seq` counts messages from 1 without a gap. After a gap, or two and a half heartbeats of
silence, the reader starts again after its last complete revision, on any instance.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors
from nats.aio.client import Client as NatsClient

from micro import Client, MicroError, Request, Response, ServiceError, unbound_context
from micro_etcd._direct.watch import EventStream
from micro_etcd._model.events import Event, WatchBatch
from micro_etcd._model.options import WatchOptions
from micro_etcd._model.values import KeyValue, WatchCreateRequestFilterType
from micro_etcd._service.namespaces import Namespaces, View
from micro_etcd._wire.errors import to_service_error
from micro_etcd._wire.headers import (
    ACK,
    HEARTBEAT,
    MARGIN,
    PART,
    REVISION,
    SEQ,
    WATCH,
)
from micro_etcd._wire.values import Item, Reply
from micro_etcd._wire.watch import Delivery, EventItem, StopBody, WatchBody, WatchReply
from micro_etcd.errors import (
    EtcdError,
    EtcdHistoryLostError,
    EtcdInvalidArgumentError,
    EtcdTooManyRequestError,
    EtcdUnavailableError,
)

MAX_DELIVER = 1024  # bytes of a subject; the server ends the connection after a line of 4096
MISSED_ACKS = 3  # heartbeats without an answer, or without progress of a full window
logger = logging.getLogger("micro.etcd.service")


class WatchEndpoints:
    """Handlers of `watch.*`, and the watches one instance serves."""

    def __init__(
        self,
        namespaces: Namespaces,
        nc: Callable[[], NatsClient],
        *,
        instance: str,
        max_watches: int,
        max_per_namespace: int,
        deliver_prefixes: tuple[str, ...],
    ) -> None:
        self._namespaces = namespaces
        self._nc = nc
        self._instance = instance
        self._max_watches = max_watches
        self._max_per_namespace = max_per_namespace
        self._counts: Counter[str] = Counter()  # watches by namespace, starting ones included
        self._deliver_prefixes = deliver_prefixes
        self._served: dict[str, tuple[Feed, asyncio.Task[None], str]] = {}
        self._closed = False
        self.started = 0  # so far

    def __len__(self) -> int:
        return len(self._served)

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by operation."""
        return {"watch.start": self.start, "watch.stop": self.stop}

    async def start(self, body: WatchBody, request: Request) -> WatchReply:
        """Answer `watch.start`: events follow the answer."""
        view = self._namespaces.view(request, "watch")
        self._check_deliver(body.deliver)
        if self._closed:
            raise EtcdUnavailableError("the instance is stopping")
        self._check_counts(view.token)
        self._counts[view.token] += 1
        try:
            feed = await self._feed(view, body)
        except BaseException:
            self._counts[view.token] -= 1
            raise
        reply = WatchReply(
            watch_id=feed.id,
            revision=feed.revision,
            instance=self._instance,
            heartbeat_s=body.heartbeat_s,
        )
        task = asyncio.create_task(feed.run(), context=unbound_context())
        self.started += 1
        self._served[feed.id] = feed, task, view.token
        task.add_done_callback(lambda _: self._ended(feed.id, view.token))
        return reply

    def _check_counts(self, token: str) -> None:
        if self._counts.total() >= self._max_watches:
            raise EtcdTooManyRequestError(
                f"the instance serves {self._max_watches} watches already"
            )
        if self._counts[token] >= self._max_per_namespace:
            raise EtcdTooManyRequestError(
                f"the instance serves {self._max_per_namespace} watches "
                f"of namespace {token!r} already"
            )

    def _ended(self, id: str, token: str) -> None:
        self._served.pop(id, None)
        self._counts[token] -= 1

    async def _feed(self, view: View, body: WatchBody) -> "Feed":
        key, end = body.range()
        await _check_history(view, key, body)
        full = view.namespace.key(key), view.namespace.end(end)
        options = WatchOptions(
            start_revision=body.start_revision,
            prev_kv=body.prev_kv,
            filters=[WatchCreateRequestFilterType[name.upper()] for name in body.filters],
            progress=True,
        )
        stream = view.whole.events(*full, options=options)
        try:
            await stream.start()
            # Made before the answer: later events are delivered or end the watch.
            return Feed(stream, view, full, body, self._nc)
        except BaseException:
            stream.close()
            raise

    async def stop(self, body: StopBody, request: Request) -> Reply:
        """Answer `watch.stop`; a watch that is over is no error."""
        view = self._namespaces.view(request)
        served = self._served.get(body.watch_id)
        if served is not None and served[2] == view.token:
            served[1].cancel()
            await asyncio.gather(served[1], return_exceptions=True)
        return Reply()

    async def close(self) -> None:
        """End all watches and send their readers to other instances; idempotent."""
        self._closed = True
        served = list(self._served.values())
        for _, task, _ in served:
            task.cancel()
        await asyncio.gather(*(task for _, task, _ in served), return_exceptions=True)
        moved = EtcdUnavailableError("the instance is stopping: start again elsewhere")
        await asyncio.gather(*(feed.finish(moved) for feed, _, _ in served))

    def _check_deliver(self, subject: str) -> None:
        plain = subject.isascii() and subject.isprintable() and " " not in subject
        tokens = subject.split(".")
        if (
            not plain
            or len(subject) > MAX_DELIVER
            or not all(tokens)
            or any(wild in subject for wild in "*>")
            or not subject.startswith(self._deliver_prefixes)
        ):
            allowed = ", ".join(self._deliver_prefixes)
            raise EtcdInvalidArgumentError(
                f"invalid deliver {subject[:MAX_DELIVER]!r}: expected a subject below {allowed}"
            )


class Feed:
    """One watch, published as far ahead of its reader as the window allows."""

    def __init__(
        self,
        stream: EventStream,
        view: View,
        full: tuple[bytes, bytes],
        body: WatchBody,
        nc: Callable[[], NatsClient],
    ) -> None:
        self.id = secrets.token_hex(16)
        self._stream = stream
        self._view = view
        self._full = full
        self._body = body
        self._nc = nc
        self._seq = 0
        self._acked = 0
        self.revision = self._progress = stream.next_revision - 1
        self._beat = asyncio.Event()  # a heartbeat is wanted at once
        self._acknowledged = asyncio.Event()

    async def run(self) -> None:
        """Serve until the reader is gone or etcd refuses; raises only when cancelled."""
        pumping = asyncio.create_task(self._pump())
        beating = asyncio.create_task(self._beats())
        try:
            await asyncio.wait({pumping, beating}, return_when=asyncio.FIRST_COMPLETED)
            failure = next((t.exception() for t in (pumping, beating) if t.done()), None)
        finally:
            for task in (pumping, beating):
                task.cancel()
            await asyncio.gather(pumping, beating, return_exceptions=True)
            self._stream.close()
        if isinstance(failure, EtcdError):
            await self.finish(failure)
        elif isinstance(failure, nats.errors.Error | OSError):
            logger.info("watch %s ends, NATS is not reachable: %s", self.id, failure)
        elif failure is not None:
            logger.error("watch %s on %r failed", self.id, self._full, exc_info=failure)

    async def finish(self, error: EtcdError) -> None:
        """Send the reader the end of the watch and its reason."""
        answer = Response.of_error(to_service_error(error))
        try:
            await self._publish(answer.data(), answer.headers())
        except (nats.errors.Error, OSError) as error:
            logger.warning("the end of watch %s was not delivered: %s", self.id, error)

    async def _pump(self) -> None:
        async for batch in self._stream:
            while self._seq - self._acked >= self._body.window:
                self._acknowledged.clear()
                self._beat.set()
                await self._acknowledged.wait()
            await self._deliver(batch)
            self._progress = self._stream.next_revision - 1

    async def _deliver(self, batch: WatchBatch) -> None:
        events = [self._event(event) for event in batch.events if self._covers(event)]
        if not events:
            return
        data = Delivery(events=events).model_dump_json().encode()
        room = self._nc().max_payload - MARGIN
        count = -(-len(data) // room)
        for number in range(count):
            headers = {REVISION: str(batch.revision)}
            if count > 1:
                headers[PART] = f"{number + 1}/{count}"
            await self._publish(data[number * room : (number + 1) * room], headers)
        if (self._seq - self._acked) * 2 >= self._body.window:
            self._beat.set()

    async def _publish(self, data: bytes, headers: dict[str, str]) -> None:
        self._seq += 1
        named = {WATCH: self.id, SEQ: str(self._seq), **headers}
        await self._nc().publish(self._body.deliver, data, headers=named)

    async def _beats(self) -> None:
        missed = stalled = 0
        while missed < MISSED_ACKS:
            await self._next_beat()
            full = self._seq - self._acked >= self._body.window
            try:
                acked = await self._ask()
            except nats.errors.NoRespondersError:
                logger.info("the reader of watch %s is gone", self.id)
                return
            except (nats.errors.Error, MicroError, OSError) as error:
                missed += 1
                logger.info("watch %s: heartbeat %d unanswered: %s", self.id, missed, error)
                continue
            missed = 0
            if acked > self._acked:
                self._acked = min(acked, self._seq)
                self._acknowledged.set()
                stalled = 0
            elif full:
                stalled += 1
            if stalled >= MISSED_ACKS:
                raise EtcdTooManyRequestError("the reader does not keep up: its window stays full")

    async def _next_beat(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._body.heartbeat_s):
                await self._beat.wait()
        self._beat.clear()

    async def _ask(self) -> int:
        headers = {
            HEARTBEAT: "1",
            WATCH: self.id,
            SEQ: str(self._seq),
            REVISION: str(self._progress),
        }
        answer = await Client(self._nc()).request(
            self._body.deliver, b"", headers, timeout=self._body.heartbeat_s
        )
        text = (answer.headers or {}).get(ACK, "")
        if not text.isascii() or not text.isdigit():
            raise ServiceError(400, f"invalid {ACK} {text!r}")
        return int(text[:18])

    def _covers(self, event: Event) -> bool:
        """Return whether the watch covers an event: etcd had bugs that sent other keys."""
        key, end = self._full
        if not event.kv.key.startswith(self._view.namespace.prefix):
            return False
        if not end:
            return event.kv.key == key
        return event.kv.key >= key and (end == b"\x00" or event.kv.key < end)

    def _event(self, event: Event) -> EventItem:
        return EventItem.model_construct(
            type="put" if event.type.value == 0 else "delete",
            kv=self._item(event.kv),
            prev_kv=None if event.prev is None else self._item(event.prev),
        )

    def _item(self, kv: KeyValue) -> Item:
        return self._view.item(kv._replace(key=self._view.namespace.strip(kv.key)))


async def _check_history(view: View, key: bytes, body: WatchBody) -> None:
    """Refuse to resume a watch in a store that is behind its reader."""
    if not body.resume or not body.start_revision:
        return
    revision = await view.kv.revision(key)
    if revision < body.start_revision - 1:
        raise EtcdHistoryLostError(
            f"the store is at revision {revision}, but {body.start_revision - 1} was seen before"
        )
