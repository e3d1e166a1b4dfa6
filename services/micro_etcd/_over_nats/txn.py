"""Conversions between the model and the bodies of a txn."""

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
        EtcdInvalidArgumentError: The key is empty.
    """
    if not key:
        raise EtcdInvalidArgumentError("invalid key b'': expected at least one byte")
    return key


def span(key: bytes, range_end: bytes) -> Span:
    """Return the body of a range."""
    if not range_end:
        return Span(key=checked_key(key))
    if (key, range_end) == (EVERYTHING, EVERYTHING):
        return Span(prefix=b"")
    return Span(start=key, end=range_end)


def compare_body(compare: Compare) -> CompareBody:
    """Return the body of a comparison."""
    return CompareBody.model_construct(
        span=span(compare.key, compare.range_end),
        target=compare.target.name.lower(),
        op=SIGNS[compare.result],
        operand=compare.operand,
    )


def operation_body(operation: Operation) -> OpBody:
    """Return the body of an operation."""
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
    answer: RangeAnswer | PutAnswer | DeleteAnswer, revision: int
) -> OperationResult:
    """Return the result of an operation."""
    if isinstance(answer, RangeAnswer):
        kvs = [item.keyvalue() for item in answer.items]
        return RangeResult(kvs, revision, answer.more, answer.count)
    if isinstance(answer, DeleteAnswer):
        deleted = [item.keyvalue() for item in answer.prev_kvs]
        return DeleteResult(revision, answer.deleted, deleted)
    prev = None if answer.prev_kv is None else answer.prev_kv.keyvalue()
    return PutResult(revision, prev)
