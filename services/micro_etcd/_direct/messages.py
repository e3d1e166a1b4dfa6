"""Conversions between the model and the protocol's messages."""

from typing import assert_never

from micro_etcd._model.keys import Namespace
from micro_etcd._model.options import RangeOptions
from micro_etcd._model.txn import (
    Compare,
    DeleteOp,
    GetOp,
    Operation,
    OperationResult,
    PutOp,
    TxnResponse,
)
from micro_etcd._model.values import (
    CompareCompareTarget,
    DeleteResult,
    KeyValue,
    PutResult,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
)
from micro_etcd._pb import micro_etcd_pb2 as pb

_OPERAND_FIELD = {
    CompareCompareTarget.VERSION: "version",
    CompareCompareTarget.CREATE: "create_revision",
    CompareCompareTarget.MOD: "mod_revision",
    CompareCompareTarget.VALUE: "value",
    CompareCompareTarget.LEASE: "lease",
}


def keyvalue(namespace: Namespace, kv: pb.KeyValue) -> KeyValue:
    """Return a key as the user wrote it, with its value and history."""
    return KeyValue(
        namespace.strip(kv.key),
        kv.value,
        kv.create_revision,
        kv.mod_revision,
        kv.version,
        kv.lease,
    )


def range_request(
    namespace: Namespace, key: bytes, range_end: bytes, options: RangeOptions
) -> pb.RangeRequest:
    """Return the message of a range read."""
    order = options.sort_order
    if (
        order is RangeRequestSortOrder.NONE
        and options.sort_target is not RangeRequestSortTarget.KEY
    ):
        # Without an order, etcd applies the limit before it sorts.
        order = RangeRequestSortOrder.ASCEND
    return pb.RangeRequest(
        key=namespace.key(key),
        range_end=namespace.end(range_end),
        limit=options.limit,
        revision=options.revision,
        sort_order=order.value,
        sort_target=options.sort_target.value,
        serializable=options.serializable,
        keys_only=options.keys_only,
        count_only=options.count_only,
        min_mod_revision=options.min_mod_revision,
        max_mod_revision=options.max_mod_revision,
        min_create_revision=options.min_create_revision,
        max_create_revision=options.max_create_revision,
    )


def put_request(namespace: Namespace, put: PutOp) -> pb.PutRequest:
    """Return the message of a put."""
    return pb.PutRequest(
        key=namespace.key(put.key),
        value=put.value,
        lease=put.lease,
        prev_kv=put.prev_kv,
        ignore_value=put.value is None,
        ignore_lease=put.ignore_lease,
    )


def delete_request(namespace: Namespace, delete: DeleteOp) -> pb.DeleteRangeRequest:
    """Return the message of a delete."""
    return pb.DeleteRangeRequest(
        key=namespace.key(delete.key),
        range_end=namespace.end(delete.range_end),
        prev_kv=delete.prev_kv,
    )


def compare_messages(namespace: Namespace, compare: Compare) -> list[pb.Compare]:
    """Return the messages of a comparison and of those that must hold with it."""
    message = pb.Compare(
        key=namespace.key(compare.key),
        target=compare.target.value,
        result=compare.result.value,
        range_end=namespace.end(compare.range_end),
    )
    setattr(message, _OPERAND_FIELD[compare.target], compare.operand)
    also = [part for other in compare.also for part in compare_messages(namespace, other)]
    return [message, *also]


def operation_message(namespace: Namespace, operation: Operation) -> pb.RequestOp:
    """Return the message of one operation of a txn."""
    if isinstance(operation, GetOp):
        read = range_request(namespace, operation.key, operation.range_end, operation.options)
        return pb.RequestOp(request_range=read)
    if isinstance(operation, PutOp):
        return pb.RequestOp(request_put=put_request(namespace, operation))
    if isinstance(operation, DeleteOp):
        return pb.RequestOp(request_delete_range=delete_request(namespace, operation))
    assert_never(operation)


def range_result(namespace: Namespace, answer: pb.RangeResponse, revision: int) -> RangeResult:
    """Return the result of a range read."""
    kvs = [keyvalue(namespace, kv) for kv in answer.kvs]
    return RangeResult(kvs, revision, answer.more, answer.count)


def put_result(namespace: Namespace, answer: pb.PutResponse, revision: int) -> PutResult:
    """Return the result of a put."""
    prev = keyvalue(namespace, answer.prev_kv) if answer.HasField("prev_kv") else None
    return PutResult(revision, prev)


def delete_result(
    namespace: Namespace, answer: pb.DeleteRangeResponse, revision: int
) -> DeleteResult:
    """Return the result of a delete."""
    prev = [keyvalue(namespace, kv) for kv in answer.prev_kvs]
    return DeleteResult(revision, answer.deleted, prev)


def txn_response(namespace: Namespace, answer: pb.TxnResponse) -> TxnResponse:
    """Return the response of a txn."""
    revision = answer.header.revision
    results = tuple(_result(namespace, part, revision) for part in answer.responses)
    return TxnResponse(answer.succeeded, revision, results)


def _result(namespace: Namespace, part: pb.ResponseOp, revision: int) -> OperationResult:
    if part.HasField("response_range"):
        return range_result(namespace, part.response_range, revision)
    if part.HasField("response_put"):
        return put_result(namespace, part.response_put, revision)
    return delete_result(namespace, part.response_delete_range, revision)
