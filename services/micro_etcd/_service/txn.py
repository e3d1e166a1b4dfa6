"""The txn endpoint: all operations and comparisons are checked, then done at one revision."""

from collections.abc import Awaitable, Callable
from typing import Any

from micro import Request
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
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
)
from micro_etcd._service.namespaces import Namespaces, View
from micro_etcd._service.read_backs import ReadBacks, is_read
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
from micro_etcd.errors import EtcdInvalidArgumentError, EtcdPermissionDeniedError


class TxnEndpoints:
    """The handler of `txn`."""

    def __init__(self, namespaces: Namespaces, max_payload: Callable[[], int]) -> None:
        self._namespaces = namespaces
        self._read_backs = ReadBacks(max_payload)

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by operation."""
        return {"txn": self.txn}

    async def txn(self, body: TxnBody, request: Request) -> TxnReply:
        """Answer `txn`."""
        view = self._namespaces.view(request, "txn")
        if body.compare:
            view.need("get")
        compares = [_compare(compare, view) for compare in body.compare]
        success = [_operation(operation, view) for operation in body.success]
        failure = [_operation(operation, view) for operation in body.failure]
        for operation in (*success, *failure):
            if isinstance(operation, PutOp):
                await view.check_lease(operation.lease)
        if is_read((*success, *failure)):
            return _reply(await view.reads.txn(compares, success, failure), view)
        await self._read_backs.check(view, success, failure, compares=compares)
        return self._read_backs.fitting(_reply(await view.kv.txn(compares, success, failure), view))


def _reply(answer: TxnResponse, view: View) -> TxnReply:
    return TxnReply(
        succeeded=answer.succeeded,
        revision=answer.revision,
        responses=[_answer(result, view) for result in answer.responses],
    )


def _compare(body: CompareBody, view: View) -> Compare:
    target = CompareCompareTarget[body.target.upper()]
    if isinstance(body.operand, bytes) is not (target is CompareCompareTarget.VALUE):
        wanted = "bytes" if target is CompareCompareTarget.VALUE else "a number"
        raise EtcdInvalidArgumentError(f"invalid operand for {body.target}: expected {wanted}")
    if target is CompareCompareTarget.LEASE and (
        body.op not in ("=", "!=") or not view.owns(int(body.operand))
    ):  # any other comparison would reveal the ids of others bit by bit
        raise EtcdPermissionDeniedError(
            f"invalid comparison of a lease: expected = or != with one of {view.token!r} or 0"
        )
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


def _answer(result: OperationResult, view: View) -> RangeAnswer | PutAnswer | DeleteAnswer:
    if isinstance(result, RangeResult):
        items = [view.item(kv) for kv in result.kvs]
        return RangeAnswer(items=items, more=result.more, count=result.count)
    if isinstance(result, DeleteResult):
        prev = [view.item(kv) for kv in result.prev]
        return DeleteAnswer(deleted=result.deleted, prev_kvs=prev)
    return PutAnswer(prev_kv=None if result.prev is None else view.item(result.prev))
