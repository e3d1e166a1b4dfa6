"""The direct client; `connect` and `with_lock` make connections."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, overload

from micro_etcd._cluster.channel import ChannelFactory, grpc_channels
from micro_etcd._cluster.connection import Connection
from micro_etcd._direct.communicator import EtcdCommunicator
from micro_etcd._direct.gets import EtcdGets
from micro_etcd._keyspace.get_batcher import GetBatcher
from micro_etcd._keyspace.lock import HeldLock
from micro_etcd._model.codec import Codec
from micro_etcd._model.values import (
    Address,
    EtcdCredential,
    EtcdLockOption,
    EtcdTLS,
    T,
    parse_addresses,
)


class EtcdClient(Generic[T]):
    """The address of a cluster and the way to log in; it may be used again and again.

    Args:
        addr: One endpoint or several, each a HostPortPair or `host:port`, `http://host:port` or
            `https://host:port`; a text may name several, separated by commas. With several, the
            first that answers is used and the others stand in for it.
        credentials: User name and password, when etcd has authentication enabled.
        secure: True for TLS with the system's certificate authorities, EtcdTLS for your own.
        encoding: Encoding of keys and values; None returns bytes.
        timeout: Seconds for a call, all attempts together.
        coalesce: Send the single-key gets of one turn of the loop as one request.
    """

    @overload
    def __init__(
        self: "EtcdClient[str]",
        addr: Address | Sequence[Address],
        credentials: EtcdCredential | None = None,
        secure: bool | EtcdTLS = False,
        encoding: str = "utf-8",
        *,
        timeout: float = 10.0,
        coalesce: bool = True,
    ) -> None: ...

    @overload
    def __init__(
        self: "EtcdClient[bytes]",
        addr: Address | Sequence[Address],
        credentials: EtcdCredential | None = None,
        secure: bool | EtcdTLS = False,
        encoding: None = ...,
        *,
        timeout: float = 10.0,
        coalesce: bool = True,
    ) -> None: ...

    def __init__(
        self,
        addr: Address | Sequence[Address],
        credentials: EtcdCredential | None = None,
        secure: bool | EtcdTLS = False,
        encoding: str | None = "utf-8",
        *,
        timeout: float = 10.0,
        coalesce: bool = True,
    ) -> None:
        self._addresses = parse_addresses(addr, is_secure=bool(secure))
        self._credentials = credentials
        self._codec: Codec[T] = Codec(encoding)
        self._timeout = timeout
        self._coalesce = coalesce
        tls = EtcdTLS() if secure is True else secure or None
        self._open_channel: ChannelFactory = grpc_channels(tls)

    def connect(self) -> "EtcdConnectionManager[T]":
        """Return an async context manager that connects and yields an EtcdCommunicator.

        Raises (on entering):
            EtcdUnavailableError: No endpoint answered within `timeout`.
            EtcdUnauthenticatedError: The credentials are wrong.
        """
        return EtcdConnectionManager(self._new_connection, self._communicator)

    def with_lock(
        self,
        lock_name: str | bytes,
        timeout: float | None = None,
        ttl: int | None = None,
        *,
        on_lost: Callable[[], object] | None = None,
    ) -> "EtcdLockManager[T]":
        """Return an async context manager that holds a lock and yields an EtcdCommunicator.

        The communicator's `lock` has the fencing token, the guard for txns and the `lost` flag.

        Args:
            lock_name: Name of the lock, shared with `etcdctl lock` and Go's Mutex.
            timeout: Seconds to wait for the lock; None waits for ever.
            ttl: Hard limit in seconds from acquisition; None renews while the lock is held.
            on_lost: Called once when the lock is lost before it was released.

        Raises (on entering and leaving):
            TimeoutError: The lock was not free in time.
            EtcdLockLostError: On leaving, when the lock ended before its holder was done.
        """
        return EtcdLockManager(self.connect(), EtcdLockOption(lock_name, timeout, ttl, on_lost))

    def _new_connection(self) -> Connection:
        return Connection(
            self._addresses,
            self._open_channel,
            credentials=self._credentials,
            timeout=self._timeout,
        )

    def _communicator(self, connection: Connection) -> EtcdCommunicator[T]:
        gets = GetBatcher(EtcdGets(connection)) if self._coalesce else None
        return EtcdCommunicator(connection, self._codec, gets)


class EtcdConnectionManager(Generic[T]):
    """A connection that is made on entering, in the running event loop."""

    def __init__(
        self,
        new_connection: Callable[[], Connection],
        communicator: Callable[[Connection], EtcdCommunicator[T]],
    ) -> None:
        self._new_connection = new_connection
        self._communicator = communicator
        self._entered: EtcdCommunicator[T] | None = None

    async def __aenter__(self) -> EtcdCommunicator[T]:
        connection = self._new_connection()
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self._entered = self._communicator(connection)
        return self._entered

    async def __aexit__(self, *exc_info: object) -> None:
        if self._entered is not None:
            await self._entered.close()


class EtcdLockManager(Generic[T]):
    """A connection that holds a lock; enter it once."""

    def __init__(self, connecting: EtcdConnectionManager[T], option: EtcdLockOption) -> None:
        self._connecting = connecting
        self._option = option
        self._holding: AbstractAsyncContextManager[HeldLock] | None = None

    async def __aenter__(self) -> EtcdCommunicator[T]:
        communicator = await self._connecting.__aenter__()
        option = self._option
        holding = communicator.with_lock(
            option.lock_name, option.timeout, option.ttl, on_lost=option.on_lost
        )
        try:
            held = await holding.__aenter__()
        except BaseException:
            await communicator.close()
            raise
        self._holding = holding
        return communicator.holding(held)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        holding, self._holding = self._holding, None
        try:
            return None if holding is None else await holding.__aexit__(kind, error, traceback)
        finally:
            await self._connecting.__aexit__(kind, error, traceback)
