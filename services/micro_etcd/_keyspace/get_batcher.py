"""Single-key gets of one loop tick as one request.

A batch is sent after every one of its callers has called, so each answer is as linearizable as its
own read would be. Callers share nothing else: cancelling one leaves the others alone, and a batch
that is refused is read again key by key.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from micro import unbound_context
from micro_etcd.errors import EtcdDeadlineExceededError, EtcdError, EtcdUnavailableError

MAX_OPERATIONS = 128  # etcd's default --max-txn-ops
MAX_BATCH_BYTES = 1 << 20


class Found(Protocol):
    """A key with its value."""

    @property
    def value(self) -> bytes: ...


V = TypeVar("V", bound=Found)
V_co = TypeVar("V_co", bound=Found, covariant=True)
Waiters = list[asyncio.Future[V | None]]


class GetSource(Protocol[V_co]):
    """A source of keys, read one at a time or several at once; None for a missing key."""

    async def one(self, key: bytes) -> V_co | None: ...
    async def many(self, keys: Iterable[bytes]) -> Sequence[V_co | None]: ...


class GetBatcher(Generic[V]):
    """The gets of one turn of the loop, sent together."""

    def __init__(self, source: GetSource[V], *, max_bytes: int = MAX_BATCH_BYTES) -> None:
        self._source = source
        self._max_bytes = max_bytes
        self._waiting: dict[bytes, Waiters[V]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._mean_bytes = 64.0  # of recent values: large ones make small batches

    async def get(self, key: bytes) -> V | None:
        """Return the key, None when it does not exist."""
        if self._waiting:
            future = self._join(key)
        else:
            # The first caller of a tick lets the others join, then sends the batch.
            future = self._join(key)
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                future.cancel()
                self._send(self._take())
                raise
            waiting = self._take()
            if len(waiting) == 1 and len(waiting[key]) == 1:
                return await self._source.one(key)
            self._send(waiting)
        return await future

    def _join(self, key: bytes) -> "asyncio.Future[V | None]":
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.get(key)
        if waiters is None:
            self._waiting[key] = [future]
        else:
            waiters.append(future)
        return future

    def _take(self) -> dict[bytes, Waiters[V]]:
        waiting, self._waiting = self._waiting, {}
        return waiting

    def _send(self, waiting: dict[bytes, Waiters[V]]) -> None:
        size = max(1, min(MAX_OPERATIONS, int(self._max_bytes / self._mean_bytes)))
        items = list(waiting.items())
        for start in range(0, len(items), size):
            batch = dict(items[start : start + size])
            reading = self._single(batch) if len(batch) == 1 else self._many(batch)
            task = asyncio.create_task(reading, context=unbound_context())
            self._sending.add(task)
            task.add_done_callback(partial(self._sent, batch))

    def _sent(self, batch: dict[bytes, Waiters[V]], task: "asyncio.Task[None]") -> None:
        # The task may have been cancelled; no caller waits for ever.
        self._sending.discard(task)
        for waiters in batch.values():
            _fail(waiters, EtcdUnavailableError("the read was abandoned"))

    async def _single(self, batch: dict[bytes, Waiters[V]]) -> None:
        ((key, waiters),) = batch.items()
        try:
            kv = await self._source.one(key)
        except EtcdError as error:
            _fail(waiters, error)
        else:
            self._answer(waiters, kv)

    async def _many(self, batch: dict[bytes, Waiters[V]]) -> None:
        try:
            kvs = await self._source.many(batch)
        except (EtcdUnavailableError, EtcdDeadlineExceededError) as error:
            for waiters in batch.values():
                _fail(waiters, error)
            return
        except EtcdError:  # one key is refused, or their number: each is read by itself
            await asyncio.gather(*(self._single({key: batch[key]}) for key in batch))
            return
        for waiters, kv in zip(batch.values(), kvs, strict=True):
            self._answer(waiters, kv)

    def _answer(self, waiters: Waiters[V], kv: V | None) -> None:
        if kv is not None:
            self._mean_bytes += (len(kv.value) + 64 - self._mean_bytes) / 16
        for future in waiters:
            if not future.done():
                future.set_result(kv)


def _fail(waiters: Waiters[V], error: EtcdError) -> None:
    for future in waiters:
        if not future.done():
            future.set_exception(error)
