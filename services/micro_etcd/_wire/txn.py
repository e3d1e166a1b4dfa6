"""Bodies of `txn`, and its operators."""

from typing import Annotated, Literal

from pydantic import Field

from micro_etcd._model.values import CompareCompareResult
from micro_etcd._wire.values import Binary, Body, Item, Key, LeaseId, Reply, Revision, Span

OPERATORS = {
    "=": CompareCompareResult.EQUAL,
    "!=": CompareCompareResult.NOT_EQUAL,
    ">": CompareCompareResult.GREATER,
    "<": CompareCompareResult.LESS,
}


class CompareBody(Body):
    """A comparison of a key, or of every key of a range; the operand of a value is bytes."""

    span: Span
    target: Literal["value", "version", "create", "mod", "lease"]
    op: Literal["=", "!=", ">", "<"] = "="
    operand: Annotated[
        Annotated[int, Field(strict=True, ge=-(1 << 63), lt=1 << 63)] | Binary,
        Field(union_mode="left_to_right"),
    ]


class GetOpBody(Body):
    """Read keys."""

    get: Span
    limit: Annotated[int, Field(ge=0)] = 0
    revision: Revision = 0
    serializable: bool = False
    sort_order: Literal["none", "ascend", "descend"] = "none"
    sort_target: Literal["key", "version", "create", "mod", "value"] = "key"


class PutOpValue(Body):
    """The write of a put in a txn."""

    key: Key
    value: Binary | None = None
    lease: LeaseId | None = None
    ignore_lease: bool = False
    prev_kv: bool = False


class PutOpBody(Body):
    """Write a key."""

    put: PutOpValue


class DeleteOpBody(Body):
    """Delete keys."""

    delete: Span
    prev_kv: bool = False


OpBody = GetOpBody | PutOpBody | DeleteOpBody


class TxnBody(Body):
    """`txn`."""

    compare: list[CompareBody] = Field(default_factory=list)
    success: list[OpBody] = Field(default_factory=list)
    failure: list[OpBody] = Field(default_factory=list)


class RangeAnswer(Reply):
    """The result of a get."""

    items: list[Item]
    more: bool
    count: int


class PutAnswer(Reply):
    """The result of a put."""

    prev_kv: Item | None


class DeleteAnswer(Reply):
    """The result of a delete."""

    deleted: int
    prev_kvs: list[Item]


class TxnReply(Reply):
    """One response for each operation done."""

    succeeded: bool
    revision: int
    responses: list[RangeAnswer | DeleteAnswer | PutAnswer]
