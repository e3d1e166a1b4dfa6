"""All operations on the keys of a namespace, direct or over NATS."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Generic

from micro import unbound_context
from micro_etcd._keyspace.leadership import lead
from micro_etcd._keyspace.live_config import LiveConfig, M, live_config
from micro_etcd._keyspace.lock import HeldLock, hold_lock
from micro_etcd._keyspace.reader import KeyReader
from micro_etcd._keyspace.watch import Watch
from micro_etcd._model.codec import Codec
from micro_etcd._model.keys import Namespace, prefix_range
from micro_etcd._model.options import WatchOptions
from micro_etcd._model.protocols import Batches, Keys, LeaseStore
from micro_etcd._model.txn import Compare, Place, TxnResult
from micro_etcd._model.txn_builder import EtcdTransactionAction
from micro_etcd._model.values import EtcdLockOption, T, WatchCreateRequestFilterType


class KeySpace(KeyReader[T], Generic[T]):
    """Reads, writes, txns, leases and watches of one namespace; see EtcdCommunicator and NatsEtcd.

    Attributes:
        kv: The same keys at the level of bytes, with revisions, versions and leases.
        leases: Leases in full.
    """

    def __init__(self, codec: Codec[T], namespace: Namespace, kv: Keys, leases: LeaseStore) -> None:
        super().__init__(codec, namespace, kv)
        self.leases = leases

    # ---- keys

    async def put(
        self,
        key: str | bytes,
        value: str | bytes | None,
        lease: int | None = None,
        prev_kv: bool = False,
        encoding: str | None = None,
    ) -> T | None:
        """Write a key; None keeps the value. Return the previous value if `prev_kv`."""
        codec = self._codec.using(encoding)
        data = None if value is None else codec.encode(value)
        result = await self.kv.put(codec.encode(key), data, lease=lease, prev_kv=prev_kv)
        return None if result.prev is None else codec.decode(result.prev.value)

    async def delete(
        self, key: str | bytes, prev_kv: bool = False, encoding: str | None = None
    ) -> T | None:
        """Delete a key. Return its value if `prev_kv`."""
        codec = self._codec.using(encoding)
        result = await self.kv.delete(codec.encode(key), prev_kv=prev_kv)
        return codec.decode(result.prev[0].value) if result.prev else None

    async def delete_prefix(
        self, key: str | bytes, prev_kv: bool = False, encoding: str | None = None
    ) -> list[T] | None:
        """Delete all keys that start with `key`. Return their values if `prev_kv`."""
        codec = self._codec.using(encoding)
        return await self._delete(prefix_range(codec.encode(key)), prev_kv, codec)

    async def delete_range(
        self,
        key: str | bytes,
        range_end: str | bytes,
        prev_kv: bool = False,
        encoding: str | None = None,
    ) -> list[T] | None:
        """Delete the keys from `key` to `range_end`, exclusive. Return the values if `prev_kv`."""
        codec = self._codec.using(encoding)
        return await self._delete((codec.encode(key), codec.encode(range_end)), prev_kv, codec)

    # ---- txns

    async def txn(
        self,
        txn_builder: Callable[[EtcdTransactionAction[T]], object],
        encoding: str | None = None,
    ) -> TxnResult[T]:
        """Do the operations that the builder notes, all at one revision."""
        return await self.txn_compare([], lambda success, _failure: txn_builder(success), encoding)

    async def txn_compare(
        self,
        compares: Sequence[Compare],
        txn_builder: Callable[[EtcdTransactionAction[T], EtcdTransactionAction[T]], object],
        encoding: str | None = None,
    ) -> TxnResult[T]:
        """Do the operations of `success` if all comparisons hold, else those of `failure`."""
        codec = self._codec.using(encoding)
        success, failure = EtcdTransactionAction(codec), EtcdTransactionAction(codec)
        txn_builder(success, failure)
        response = await self.kv.txn(compares, success.operations, failure.operations)
        return (success if response.succeeded else failure).finish(response)

    # ---- leases

    async def grant_lease(self, ttl: int, id: int | None = None) -> int:
        """Create a lease of `ttl` seconds and return its id; the server's minimum is about 2 s."""
        return (await self.leases.grant(ttl, id)).id

    async def revoke_lease(self, id: int) -> None:
        """End a lease and delete its keys.

        Raises:
            EtcdLeaseNotFoundError: There is no such lease.
        """
        await self.leases.revoke(id)

    def create_lease_keepalive_task(self, id: int, interval: float) -> "asyncio.Task[None]":
        """Return a task that renews a lease every `interval` seconds until cancelled.

        The task fails with EtcdLeaseNotFoundError once the lease is gone.
        """
        return asyncio.create_task(self._keep_alive(id, interval), context=unbound_context())

    # ---- watches

    def watch(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        ready_event: asyncio.Event | None = None,
        filters: Sequence[WatchCreateRequestFilterType] | None = None,
        prev_kv: bool = False,
        progress_notify: bool = False,
        start_revision: int | None = None,
        watch_id: int | None = None,
        encoding: str | None = None,
    ) -> Watch[T]:
        """Iterate over the changes of a key: see `watch_prefix`."""
        codec = self._codec.using(encoding)
        options = _watch_options(filters, prev_kv, start_revision, watch_id)
        return Watch(self.events(codec.encode(key), options=options, ready=ready_event), codec)

    def watch_prefix(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        ready_event: asyncio.Event | None = None,
        filters: Sequence[WatchCreateRequestFilterType] | None = None,
        prev_kv: bool = False,
        progress_notify: bool = True,
        start_revision: int | None = None,
        watch_id: int | None = None,
        encoding: str | None = None,
    ) -> Watch[T]:
        """Iterate over the changes of all keys that start with `key`.

        No event is lost or repeated when the connection or a server fails. Faults that cannot be
        mended are raised.

        Args:
            key: The prefix.
            ready_event: Set when the server has the watch.
            filters: Kinds of event to leave out.
            prev_kv: Also return the value before each event.
            progress_notify: Has no effect on events. Progress is always requested, since it keeps
                the resume point of a quiet watch ahead of compaction.
            start_revision: First revision to deliver; from now on by default.
            watch_id: Id for the watch on the server.
            encoding: Encoding of this watch; the communicator's by default.

        Raises (from iterating):
            EtcdCompactedError: The revision needed next is compacted.
            EtcdPermissionDeniedError: The user may not read these keys (any more).
            EtcdHistoryLostError: The store was wiped, restored or replaced.
        """
        codec = self._codec.using(encoding)
        options = _watch_options(filters, prev_kv, start_revision, watch_id)
        stream = self.events(*prefix_range(codec.encode(key)), options=options, ready=ready_event)
        return Watch(stream, codec)

    def events(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        options: WatchOptions | None = None,
        ready: asyncio.Event | None = None,
    ) -> Batches:
        """Iterate over the changes of a range revision by revision, as bytes."""
        on_ready = None if ready is None else ready.set
        return self.kv.events(key, range_end, options=options, on_ready=on_ready)

    # ---- locks

    @asynccontextmanager
    async def with_lock(
        self,
        lock_name: str | bytes,
        timeout: float | None = None,
        ttl: int | None = None,
        *,
        on_lost: Callable[[], object] | None = None,
    ) -> AsyncIterator[HeldLock]:
        """Hold a lock on this connection; parameters and errors as for `EtcdClient.with_lock`."""
        option = EtcdLockOption(lock_name, timeout, ttl, on_lost)
        name = self._codec.encode(lock_name)
        enter = partial(self._enter_queue, name)
        async with hold_lock(self.leases, enter, option) as held:
            yield held

    @abstractmethod
    async def _enter_queue(self, name: bytes, lease: int) -> Place:
        """Queue for a lock under a lease, and return when first."""

    # ---- for services

    def config(self, prefix: str, model: type[M]) -> AbstractAsyncContextManager[LiveConfig[M]]:
        """Return a context manager for a pydantic model that follows the keys below a prefix.

        See LiveConfig.
        """
        return live_config(self.kv, prefix.encode(), model)

    def leader(self, name: str) -> AbstractAsyncContextManager[HeldLock]:
        """Return a context manager whose body runs in one process at a time; loss cancels it.

        Raises (on leaving):
            EtcdLockLostError: The leadership ended before the body did.
        """
        return lead(lambda on_lost: self.with_lock(name, on_lost=on_lost), name)

    async def _keep_alive(self, id: int, interval: float) -> None:
        while True:
            await self.leases.keep_alive(id)
            await asyncio.sleep(interval)

    async def _delete(
        self, keys: tuple[bytes, bytes], prev_kv: bool, codec: Codec[T]
    ) -> list[T] | None:
        result = await self.kv.delete(*keys, prev_kv=prev_kv)
        return [codec.decode(kv.value) for kv in result.prev] if prev_kv else None


def _watch_options(
    filters: Sequence[WatchCreateRequestFilterType] | None,
    prev_kv: bool,
    start_revision: int | None,
    watch_id: int | None,
) -> WatchOptions:
    return WatchOptions(
        start_revision,
        prev_kv,
        filters if filters is not None else (),
        watch_id if watch_id is not None else 0,
    )
