"""The interfaces that both clients fill: the direct one and the one over NATS."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, Self

from micro_etcd._model.events import WatchBatch
from micro_etcd._model.options import RangeOptions, WatchOptions
from micro_etcd._model.txn import Compare, Operation, TxnResponse
from micro_etcd._model.values import DeleteResult, KeyValue, LeaseInfo, PutResult, RangeResult


class Keys(Protocol):
    """Keys of a namespace as bytes; see `KV`."""

    async def get(self, key: bytes, options: RangeOptions = ...) -> KeyValue | None: ...
    async def get_value(self, key: bytes) -> bytes | None: ...
    async def range(
        self, key: bytes, range_end: bytes = b"", options: RangeOptions = ...
    ) -> RangeResult: ...
    def items(
        self, key: bytes, range_end: bytes, options: RangeOptions = ...
    ) -> AsyncIterator[Sequence[tuple[bytes, bytes]]]: ...
    async def put(
        self,
        key: bytes,
        value: bytes | None,
        *,
        lease: int | None = None,
        prev_kv: bool = False,
        ignore_lease: bool = False,
    ) -> PutResult: ...
    async def delete(
        self, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
    ) -> DeleteResult: ...
    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
    ) -> TxnResponse: ...
    def events(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        options: WatchOptions | None = None,
        on_ready: Callable[[], object] | None = None,
    ) -> "Batches": ...


class LeaseStore(Protocol):
    """Leases; see `Leases`."""

    async def grant(self, ttl: int, id: int | None = None) -> LeaseInfo: ...
    async def revoke(self, id: int, *, timeout: float | None = None) -> None: ...
    async def keep_alive(self, id: int, *, timeout: float | None = None) -> int: ...


class Batches(Protocol):
    """A watch, revision by revision; see `EventStream`."""

    @property
    def next_revision(self) -> int: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> WatchBatch: ...
    async def start(self) -> None: ...
    def close(self) -> None: ...
