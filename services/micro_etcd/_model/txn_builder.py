"""The builder of a txn: it notes operations in order."""

from collections.abc import Callable
from typing import Generic

from micro_etcd._model.codec import Codec
from micro_etcd._model.options import RangeOptions
from micro_etcd._model.txn import (
    DeleteOp,
    GetOp,
    Operation,
    OperationResult,
    PutOp,
    TxnResponse,
    TxnResult,
)
from micro_etcd._model.values import RangeRequestSortOrder, RangeRequestSortTarget, RangeResult, T


class EtcdTransactionAction(Generic[T]):
    """One branch of a txn; every method notes an operation."""

    def __init__(self, codec: Codec[T]) -> None:
        self._codec = codec
        self._operations: list[Operation] = []
        self._codecs: list[Codec[T]] = []
        self._callbacks: list[Callable[[bool], object]] = []

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations noted so far."""
        return tuple(self._operations)

    def add_callback(self, callback: Callable[[bool], object]) -> None:
        """Call `callback(succeeded)` after this branch was done."""
        self._callbacks.append(callback)

    def put(  # the documented signature
        self,
        key: str | bytes,
        value: str | bytes | None,
        lease: int | None = None,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        encoding: str | None = None,
    ) -> None:
        """Write a key; None (or `ignore_value`) keeps the value, `ignore_lease` the lease."""
        codec = self._codec.using(encoding)
        kept = value is None or ignore_value
        data = None if kept or value is None else codec.encode(value)
        self._note(PutOp(codec.encode(key), data, lease, ignore_lease), codec)

    def get(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        limit: int | None = None,
        max_create_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        min_mod_revision: int | None = None,
        revision: int | None = None,
        serializable: bool = False,
        sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE,
        sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY,
        encoding: str | None = None,
        *,
        range_end: str | bytes | None = None,
    ) -> None:
        """Read a key, or a range with `range_end`; all its keys are in `TxnResult.responses`."""
        codec = self._codec.using(encoding)
        bounds = max_create_revision, max_mod_revision, min_create_revision, min_mod_revision
        options = RangeOptions(limit, *bounds, revision, serializable, sort_order, sort_target)
        end = b"" if range_end is None else codec.encode(range_end)
        self._note(GetOp(codec.encode(key), end, options), codec)

    def delete(
        self,
        key: str | bytes,
        encoding: str | None = None,
        *,
        range_end: str | bytes | None = None,
        prev_kv: bool = False,
    ) -> None:
        """Delete a key, or a range with `range_end`; `prev_kv` adds it to the responses."""
        codec = self._codec.using(encoding)
        end = b"" if range_end is None else codec.encode(range_end)
        self._note(DeleteOp(codec.encode(key), end, prev_kv), codec)

    def finish(self, response: TxnResponse) -> TxnResult[T]:
        """Return the values of this branch and call its callbacks."""
        values = [
            _value(part, codec)
            for part, codec in zip(response.responses, self._codecs, strict=True)
        ]
        for callback in self._callbacks:
            callback(response.succeeded)
        return TxnResult(values, response)

    def _note(self, operation: Operation, codec: Codec[T]) -> None:
        self._operations.append(operation)
        self._codecs.append(codec)


def _value(part: OperationResult, codec: Codec[T]) -> T | None:
    if isinstance(part, RangeResult) and part.kvs:
        return codec.decode(part.kvs[0].value)
    return None
