"""The txn endpoint: every operation and comparison is checked, then all are done at one revision."""

from collections.abc import Awaitable, Callable
from typing import Any

from micro import Request
from micro_etcd._model.options import RangeOptions
from micro_etcd._model.txn import Compare, DeleteOp, GetOp, Operation, OperationResult, PutOp
from micro_etcd._model.values import (
    CompareCompareTarget,
    DeleteResult,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
)
from micro_etcd._service.namespaces import Namespaces, View
from micro_etcd._wire.txn import (
    OPERATORS,
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
from micro_etcd._wire.values import Item
from micro_etcd.errors import EtcdInvalidArgumentError


class TxnEndpoints:
    """The handler of `txn`."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by operation."""
        return {"txn": self.txn}

    async def txn(self, body: TxnBody, request: Request) -> TxnReply:
        """Answer `txn`."""
        view = self._namespaces.view(request, "txn")
        if body.compare:
            view.need("get")
        answer = await view.kv.txn(
            [_compare(compare) for compare in body.compare],
            [_operation(operation, view) for operation in body.success],
            [_operation(operation, view) for operation in body.failure],
        )
        return TxnReply(
            succeeded=answer.succeeded,
            revision=answer.revision,
            responses=[_answer(result) for result in answer.responses],
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
        return GetOp(*body.get.range(), options)
    if isinstance(body, DeleteOpBody):
        view.need("delete")
        return DeleteOp(*body.delete.range(), body.prev_kv)
    view.need("put")
    put = body.put
    return PutOp(put.key, put.value, put.lease, put.ignore_lease, put.prev_kv)


def _answer(result: OperationResult) -> RangeAnswer | PutAnswer | DeleteAnswer:
    if isinstance(result, RangeResult):
        items = [Item.of(kv) for kv in result.kvs]
        return RangeAnswer(items=items, more=result.more, count=result.count)
    if isinstance(result, DeleteResult):
        prev = [Item.of(kv) for kv in result.prev]
        return DeleteAnswer(deleted=result.deleted, prev_kvs=prev)
    return PutAnswer(prev_kv=None if result.prev is None else Item.of(result.prev))
