"""Ranges, comparisons and operations as the etcd service takes them, and what it answers."""

from micro_etcd._model.keys import EVERYTHING
from micro_etcd._model.txn import (
    Compare,
    DeleteOp,
    GetOp,
    Operation,
    OperationResult,
    PutOp,
)
from micro_etcd._model.values import (
    DeleteResult,
    PutResult,
    RangeResult,
)
from micro_etcd._wire.txn import (
    OPERATORS,
    CompareBody,
    DeleteAnswer,
    DeleteOpBody,
    GetOpBody,
    OpBody,
    PutAnswer,
    PutOpBody,
    PutOpValue,
    RangeAnswer,
)
from micro_etcd._wire.values import Span
from micro_etcd.errors import EtcdInvalidArgumentError

SIGNS = {result: sign for sign, result in OPERATORS.items()}


def checked_key(key: bytes) -> bytes:
    """Return a key that is not empty.

    Raises:
        EtcdInvalidArgumentError: It is.
    """
    if not key:
        raise EtcdInvalidArgumentError("invalid key b'': expected at least one byte")
    return key


def span(key: bytes, range_end: bytes) -> Span:
    """Return a range as the service takes it."""
    if not range_end:
        return Span(key=checked_key(key))
    if (key, range_end) == (EVERYTHING, EVERYTHING):
        return Span(prefix=b"")
    return Span(start=key, end=range_end)


def compare_body(compare: Compare) -> CompareBody:
    """Return a comparison as the service takes it."""
    return CompareBody.model_construct(
        span=span(compare.key, compare.range_end),
        target=compare.target.name.lower(),
        op=SIGNS[compare.result],
        operand=compare.operand,
    )


def operation_body(operation: Operation) -> OpBody:
    """Return an operation as the service takes it."""
    if isinstance(operation, PutOp):
        value = PutOpValue(
            key=checked_key(operation.key),
            value=operation.value,
            lease=operation.lease if operation.lease else None,
            ignore_lease=operation.ignore_lease,
            prev_kv=operation.prev_kv,
        )
        return PutOpBody(put=value)
    if isinstance(operation, DeleteOp):
        return DeleteOpBody(
            delete=span(operation.key, operation.range_end), prev_kv=operation.prev_kv
        )
    if not isinstance(operation, GetOp):
        raise TypeError(f"invalid operation {operation!r}: expected a GetOp, PutOp or DeleteOp")
    options = operation.options
    return GetOpBody.model_construct(
        get=span(operation.key, operation.range_end),
        limit=options.limit or 0,
        revision=options.revision or 0,
        serializable=options.serializable,
        sort_order=options.sort_order.name.lower(),
        sort_target=options.sort_target.name.lower(),
    )


def operation_result(
    found: RangeAnswer | PutAnswer | DeleteAnswer, revision: int
) -> OperationResult:
    """Return an answer as the client has it."""
    if isinstance(found, RangeAnswer):
        kvs = [item.keyvalue() for item in found.items]
        return RangeResult(kvs, revision, found.more, found.count)
    if isinstance(found, DeleteAnswer):
        gone = [item.keyvalue() for item in found.prev_kvs]
        return DeleteResult(revision, found.deleted, gone)
    prev = None if found.prev_kv is None else found.prev_kv.keyvalue()
    return PutResult(revision, prev)
