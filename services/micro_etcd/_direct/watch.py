"""Watches that neither lose nor repeat an event when connections and servers fail."""

import asyncio
import logging
from collections.abc import Callable
from itertools import groupby
from typing import Self

from micro_etcd._backoff import backoff
from micro_etcd._cluster.channel import UNAVAILABLE, ByteStream, Channel, StatusError
from micro_etcd._cluster.connection import TRANSIENT, Connection
from micro_etcd._direct.messages import keyvalue
from micro_etcd._direct.watch_cursor import WatchCursor
from micro_etcd._model.events import Event, WatchBatch
from micro_etcd._model.keys import Namespace
from micro_etcd._model.options import WatchOptions
from micro_etcd._model.values import WatchEventType
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import (
    EtcdClosedError,
    EtcdCompactedError,
    EtcdError,
    EtcdHistoryLostError,
    EtcdInvalidArgumentError,
    EtcdPermissionDeniedError,
    EtcdUnauthenticatedError,
    EtcdUnavailableError,
    error_from_status,
)

WATCH = "/etcdserverpb.Watch/Watch"
RANGE = "/etcdserverpb.KV/Range"
logger = logging.getLogger("micro.etcd.watch")


class EventStream:
    """An async iterator of WatchBatch over a range of keys that resumes after every cut.

    A reader that stops holds up only its own stream. A cancelled read loses nothing. `close` (or
    dropping the object) ends the watcher of the server.

    Raises (from `start` and iteration):
        EtcdCompactedError: The revision needed next is compacted.
        EtcdPermissionDeniedError: The user may not read these keys (any more).
        EtcdHistoryLostError: The store is older than before, or another cluster's.
        EtcdUnavailableError: No endpoint answered the first request; later cuts are retried.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: Namespace,
        key: bytes,
        range_end: bytes = b"",
        *,
        options: WatchOptions | None = None,
        on_ready: Callable[[], object] | None = None,
    ) -> None:
        self._options = options if options is not None else WatchOptions()
        start = self._options.start_revision
        if start is not None and start < 0:
            raise EtcdInvalidArgumentError(f"invalid start_revision {start}: expected 0 or more")
        self._connection = connection
        self._namespace = namespace
        self._key = namespace.key(key)
        self._range_end = namespace.end(range_end)
        self._on_ready = on_ready
        self._stream: ByteStream | None = None
        self._channel: Channel | None = None
        self._cursor: WatchCursor | None = None
        self._cluster_id = 0
        self._renewed_token: str | None = None
        self._failures = 0
        self._batches: list[WatchBatch] = []  # received, to be yielded, last first
        self._closed = False

    @property
    def next_revision(self) -> int:
        """First revision that was not yielded yet, 0 before the start."""
        if self._batches:
            return self._batches[-1].revision
        return 0 if self._cursor is None else self._cursor.next_revision

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._batches:
            if self._closed:
                raise StopAsyncIteration
            await self._receive()
        return self._batches.pop()

    async def start(self) -> None:
        """Return once the server has the watcher."""
        while self._stream is None and not self._closed:
            await self._open()

    def close(self) -> None:
        """End the watch; idempotent."""
        self._closed = True
        self._drop()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.cancel()

    async def _receive(self) -> None:
        await self.start()
        stream, cursor = self._stream, self._cursor
        if stream is None or cursor is None:  # closed meanwhile
            return
        try:
            response = await _next(stream)
        except asyncio.CancelledError:
            self._drop()  # the cancelled read has ended the call; the next one resumes
            raise
        except StatusError as failure:
            await self._cut(failure)
            return
        if response.canceled:
            await self._refused(response)
            return
        events = cursor.feed(response)
        if events:
            self._batches = self._split(events)
        elif self._options.progress and not response.events:
            self._batches = [WatchBatch(response.header.revision, ())]

    async def _open(self) -> None:
        channel = self._connection.channel
        try:
            cursor = await self._position()
            channel, self._channel = self._connection.channel, self._connection.channel
            stream = await self._connection.stream(WATCH, self._request(cursor.next_revision))
            self._stream = stream
            response = await _next(stream)
        except asyncio.CancelledError:
            self._drop()
            raise
        except StatusError as failure:
            self._channel = channel
            await self._cut(failure)
            return
        except EtcdUnavailableError as error:
            if self._cursor is None:
                raise
            await self._cut(StatusError(UNAVAILABLE, error.message, sent=True))
            return
        if response.canceled:
            await self._refused(response)
            return
        self._created(response)

    def _created(self, response: pb.WatchResponse) -> None:
        if self._failures:
            logger.info("watch on %r resumed after %d attempts", self._key, self._failures)
        self._failures = 0
        self._renewed_token = None
        cluster = response.header.cluster_id
        if self._cluster_id and cluster != self._cluster_id:
            self.close()
            raise EtcdHistoryLostError(f"cluster {self._cluster_id:x} was replaced by {cluster:x}")
        self._cluster_id = cluster
        if self._on_ready is not None:
            self._on_ready()
            self._on_ready = None

    async def _position(self) -> WatchCursor:
        """Return the position to start from, after a linearizable read."""
        request = pb.RangeRequest(key=self._key, keys_only=True)
        body = await self._connection.call(RANGE, request.SerializeToString(), repeatable=True)
        revision = pb.RangeResponse.FromString(body).header.revision
        cursor = self._cursor
        if cursor is None:
            # "From now" is counted from this read: servers disagree on the header of their Created
            # response.
            start = self._options.start_revision
            cursor = self._cursor = WatchCursor(start if start else revision + 1, revision)
        elif revision < cursor.seen_revision:
            self.close()
            raise EtcdHistoryLostError(
                f"the store is at revision {revision}, but {cursor.seen_revision} was seen before"
            )
        return cursor

    def _request(self, start_revision: int) -> bytes:
        create = pb.WatchCreateRequest(
            key=self._key,
            range_end=self._range_end,
            start_revision=start_revision,
            progress_notify=True,  # keeps the resume point of a quiet watch ahead of compaction
            filters=[kind.value for kind in self._options.filters],
            prev_kv=self._options.prev_kv,
            watch_id=self._options.watch_id,
            fragment=True,
        )
        return pb.WatchRequest(create_request=create).SerializeToString()

    async def _refused(self, response: pb.WatchResponse) -> None:
        self._drop()
        reason = response.cancel_reason
        error: EtcdError
        if response.compact_revision:
            error = EtcdCompactedError(
                "the revision needed next is compacted: history starts at "
                f"{response.compact_revision}",
                compact_revision=response.compact_revision,
            )
        else:
            error = error_from_status(2, reason if reason else "watch canceled by the server")
        if isinstance(error, EtcdPermissionDeniedError | EtcdUnauthenticatedError):
            # Old servers call an expired token "permission denied": believe it only of a new token.
            token = self._connection.token
            if token != self._renewed_token and await self._connection.renew_token(token):
                self._renewed_token = self._connection.token
                return
        if "no leader" in reason or "server stopped" in reason:
            await self._cut(StatusError(UNAVAILABLE, reason, sent=True))
            return
        self.close()
        raise error

    async def _cut(self, failure: StatusError) -> None:
        self._drop()
        if self._closed:  # by another task, while this one was reading
            return
        if self._channel is not None:
            self._connection.note_learner(failure, self._channel)
        if failure.code not in TRANSIENT and failure.code != 2:
            await self._refused(pb.WatchResponse(cancel_reason=failure.text))
            return
        if self._connection.closed:
            self.close()
            raise EtcdClosedError("connection closed")
        if self._failures == 1:
            logger.warning("watch on %r is cut off: %s", self._key, failure.text)
        if self._channel is not None:
            self._connection.leave(self._channel)
        await asyncio.sleep(backoff(self._failures))
        self._failures += 1

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
        if self._cursor is not None:
            self._cursor.cut()

    def _split(self, events: list[pb.Event]) -> list[WatchBatch]:
        batches = [
            WatchBatch(revision, tuple(self._event(event) for event in group))
            for revision, group in groupby(events, lambda event: event.kv.mod_revision)
        ]
        batches.reverse()
        return batches

    def _event(self, event: pb.Event) -> Event:
        prev = keyvalue(self._namespace, event.prev_kv) if event.HasField("prev_kv") else None
        return Event(WatchEventType(event.type), keyvalue(self._namespace, event.kv), prev)


async def _next(stream: ByteStream) -> pb.WatchResponse:
    body = await stream.read()
    if body is None:
        raise StatusError(UNAVAILABLE, "the watch stream ended", sent=True)
    return pb.WatchResponse.FromString(body)
