"""The txn endpoint: every operation and comparison is checked, then all are done at one revision."""

from micro import Request
from micro_etcd._direct.kv import RangeOptions
from micro_etcd._model.txn import Compare, DeleteOp, GetOp, Operation, OperationResult, PutOp
from micro_etcd._model.values import (
    CompareCompareResult,
    CompareCompareTarget,
    DeleteResult,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
)
from micro_etcd._service.kv import KeyEndpoints
from micro_etcd._service.namespaces import View, parse
from micro_etcd._wire.models import Item
from micro_etcd._wire.txn_models import (
    CompareBody,
    DeleteAnswer,
    DeleteOpBody,
    GetOpBody,
    OpBody,
    PutAnswer,
    RangeAnswer,
    TxnBody,
    TxnReply,
)
from micro_etcd.errors import EtcdInvalidArgumentError

OPERATORS = {
    "=": CompareCompareResult.EQUAL,
    "!=": CompareCompareResult.NOT_EQUAL,
    ">": CompareCompareResult.GREATER,
    "<": CompareCompareResult.LESS,
}


class TxnEndpoint:
    """Handler of `txn`."""

    def __init__(self, keys: KeyEndpoints) -> None:
        self._keys = keys

    async def txn(self, request: Request, view: View) -> None:
        """Answer `txn`."""
        view.need("txn")
        body = parse(TxnBody, request.data())
        if body.compare:
            view.need("get")
        answer = await view.kv.txn(
            [_compare(compare) for compare in body.compare],
            [_operation(operation, view) for operation in body.success],
            [_operation(operation, view) for operation in body.failure],
        )
        await self._keys.answer(
            request,
            TxnReply(
                succeeded=answer.succeeded,
                revision=answer.revision,
                responses=[_answer(found) for found in answer.responses],
            ),
        )


def _compare(body: CompareBody) -> Compare:
    target = CompareCompareTarget[body.target.upper()]
    if isinstance(body.operand, bytes) is not (target is CompareCompareTarget.VALUE):
        wanted = "bytes" if target is CompareCompareTarget.VALUE else "a number"
        raise EtcdInvalidArgumentError(f"invalid operand for {body.target}: expected {wanted}")
    key, end = body.span.range()
    return Compare(key, target, OPERATORS[body.op], body.operand, end)


def _operation(body: OpBody, view: View) -> Operation:
    if isinstance(body, GetOpBody):
        view.need("get" if body.get.key is not None else "list")
        options = RangeOptions(
            limit=body.limit,
            revision=body.revision,
            serializable=body.serializable,
            sort_order=RangeRequestSortOrder[body.sort_order.upper()],
            sort_target=RangeRequestSortTarget[body.sort_target.upper()],
        )
        return GetOp(options.request(*body.get.range()))
    if isinstance(body, DeleteOpBody):
        view.need("delete")
        return DeleteOp(*body.delete.range(), body.prev_kv)
    view.need("put")
    put = body.put
    return PutOp(put.key, put.value, put.lease, put.ignore_lease, put.prev_kv)


def _answer(found: OperationResult) -> RangeAnswer | PutAnswer | DeleteAnswer:
    if isinstance(found, RangeResult):
        items = [Item.of(kv) for kv in found.kvs]
        return RangeAnswer(items=items, more=found.more, count=found.count)
    if isinstance(found, DeleteResult):
        gone = [Item.of(kv) for kv in found.prev]
        return DeleteAnswer(deleted=found.deleted, prev_kvs=gone)
    return PutAnswer(prev_kv=None if found.prev is None else Item.of(found.prev))
