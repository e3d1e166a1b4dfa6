"""All operations on a connection, with text or bytes."""

import asyncio
from typing import TypeVar

from micro_etcd._cluster.connection import Connection
from micro_etcd._cluster.status import status
from micro_etcd._direct.election import Election
from micro_etcd._direct.gets import EtcdGets
from micro_etcd._direct.kv import KV
from micro_etcd._direct.leases import Leases
from micro_etcd._direct.queue_place import QueuePlace
from micro_etcd._direct.watch import EventStream
from micro_etcd._keyspace.get_batcher import GetBatcher
from micro_etcd._keyspace.keyspace import KeySpace
from micro_etcd._keyspace.lock import HeldLock
from micro_etcd._model.codec import Codec
from micro_etcd._model.keys import WHOLE, Namespace
from micro_etcd._model.options import WatchOptions
from micro_etcd._model.values import EndpointStatus, T
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import EtcdLockLostError

V = TypeVar("V", bound=str | bytes)


class EtcdCommunicator(KeySpace[T]):
    """An open connection; keys and values are str or bytes, returned in the client's encoding.

    Every method raises the EtcdError that fits. Reads are linearizable unless `serializable`, and
    repeated on other endpoints when one fails. A write without an answer raises
    EtcdOutcomeUnknownError.

    Attributes:
        kv: The same keys at the level of bytes, with revisions, versions and leases.
        leases: Leases in full.
    """

    kv: KV
    leases: Leases

    def __init__(
        self,
        connection: Connection,
        codec: Codec[T],
        gets: GetBatcher[pb.KeyValue] | None,
        *,
        namespace: Namespace = WHOLE,
        lock: HeldLock | None = None,
    ) -> None:
        super().__init__(codec, namespace, KV(connection, namespace, gets), Leases(connection))
        self._connection = connection
        self._gets = gets
        self._lock = lock

    @property
    def raw(self) -> "EtcdCommunicator[bytes]":
        """The same connection and namespace, returning bytes."""
        return self._view(Codec[bytes](None), self._namespace, self._lock)

    @property
    def lock(self) -> HeldLock:
        """The lock of `EtcdClient.with_lock`.

        Raises:
            EtcdLockLostError: The communicator comes from `connect` and holds no lock.
        """
        if self._lock is None:
            raise EtcdLockLostError("no lock is held: use EtcdClient.with_lock")
        return self._lock

    def holding(self, lock: HeldLock) -> "EtcdCommunicator[T]":
        """Return a communicator on this connection whose `lock` is the given one."""
        return self._view(self._codec, self._namespace, lock)

    def namespace(self, prefix: str | bytes) -> "EtcdCommunicator[T]":
        """Return a view that puts `prefix` before every key; views nest.

        Leases belong to the whole cluster.
        """
        inner = Namespace(self._namespace.prefix + self._codec.encode(prefix))
        return self._view(self._codec, inner, self._lock)

    def events(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        options: WatchOptions | None = None,
        ready: asyncio.Event | None = None,
    ) -> EventStream:
        """Iterate over the changes of a range revision by revision, as bytes."""
        on_ready = None if ready is None else ready.set
        return self.kv.events(key, range_end, options=options, on_ready=on_ready)

    # ---- locks and elections

    def queue_place(self, name: str | bytes, lease: int) -> QueuePlace:
        """Return a place in the queue of a lock, under a lease that the caller keeps alive.

        It serves locks on behalf of others: `enter`, `wait`, then use `token` and `guard`. Revoking
        the lease releases the lock.
        """
        return QueuePlace(self.kv, name=self._codec.encode(name), lease=lease)

    def election(self, name: str | bytes) -> Election[T]:
        """Return the election of that name."""
        return Election(self.kv, self.leases, name=self._codec.encode(name), codec=self._codec)

    async def _enter_queue(self, name: bytes, lease: int) -> QueuePlace:
        place = QueuePlace(self.kv, name=name, lease=lease)
        if not await place.enter():
            await place.wait()
        return place

    # ---- the cluster

    def bounded(self, max_answer_bytes: int) -> "EtcdCommunicator[T]":
        """Return a communicator with a connection of its own that refuses larger answers unread.

        It has the same namespace and connects with its first call; close it when done. A read whose
        answer is larger raises EtcdAnswerTooLargeError; writes that read belong on this one.
        """
        connection = self._connection.bounded(max_answer_bytes)
        gets = None if self._gets is None else GetBatcher(EtcdGets(connection))
        return EtcdCommunicator(connection, self._codec, gets, namespace=self._namespace)

    async def status(self) -> list[EndpointStatus]:
        """Return the status of every endpoint; `errors` says why one does not answer."""
        return await status(self._connection)

    async def close(self) -> None:
        """Close the connection; idempotent."""
        await self._connection.close()

    def _view(
        self, codec: Codec[V], namespace: Namespace, lock: HeldLock | None
    ) -> "EtcdCommunicator[V]":
        return EtcdCommunicator(self._connection, codec, self._gets, namespace=namespace, lock=lock)
