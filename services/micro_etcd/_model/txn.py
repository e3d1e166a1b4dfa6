"""Transactions: comparisons, operations, results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from micro_etcd._model.codec import Codec
from micro_etcd._model.options import PLAIN, RangeOptions
from micro_etcd._model.values import (
    CompareCompareResult,
    CompareCompareTarget,
    DeleteResult,
    PutResult,
    RangeResult,
    T,
)


@dataclass(frozen=True, slots=True)
class Compare:
    """One comparison of a key (or of every key of a range) with an operand.

    Attributes:
        key: Key, or first key of the range.
        target: The compared property.
        result: The operator.
        operand: bytes for VALUE, else an int.
        range_end: First key after the range; empty for `key` alone.
        also: Further comparisons that must hold.
    """

    key: bytes
    target: CompareCompareTarget
    result: CompareCompareResult
    operand: int | bytes
    range_end: bytes = b""
    also: tuple["Compare", ...] = ()


class CompareBuilder:
    """One aspect of a key, waiting for `==`, `!=`, `>` or `<` and an operand."""

    __hash__ = None  # type: ignore[assignment]  # as `==` builds a comparison

    def __init__(self, key: "CompareKey", target: CompareCompareTarget) -> None:
        self._key = key
        self._target = target

    def __eq__(self, other: object) -> Compare:  # type: ignore[override]  # builds a comparison
        return self._build(other, CompareCompareResult.EQUAL)

    def __ne__(self, other: object) -> Compare:  # type: ignore[override]  # builds a comparison
        return self._build(other, CompareCompareResult.NOT_EQUAL)

    def __gt__(self, other: object) -> Compare:
        return self._build(other, CompareCompareResult.GREATER)

    def __lt__(self, other: object) -> Compare:
        return self._build(other, CompareCompareResult.LESS)

    def _build(self, operand: object, result: CompareCompareResult) -> Compare:
        return self._key.compare(self._target, result, operand)


@dataclass(frozen=True, slots=True)
class CompareKey:
    """A key to compare in a txn: `CompareKey("k").value == "x"`, `CompareKey("k").mod < 7`.

    Attributes:
        key: The key.
        target_lease: Require this lease too.
        mod_revision: Require this revision of the last change too.
        range_end: Compare every key from `key` up to here; all must match.
        target_version: Require this version too.
        encoding: Encoding of key and operand if they are text.
    """

    key: str | bytes
    target_lease: int | None = None
    mod_revision: int | None = None
    range_end: str | bytes | None = None
    target_version: int | None = None
    encoding: str = "utf-8"

    @property
    def version(self) -> CompareBuilder:
        """Number of changes since the key was created; 0 for a missing key."""
        return CompareBuilder(self, CompareCompareTarget.VERSION)

    @property
    def create(self) -> CompareBuilder:
        """Revision of the key's creation; 0 for a missing key."""
        return CompareBuilder(self, CompareCompareTarget.CREATE)

    @property
    def mod(self) -> CompareBuilder:
        """Revision of the key's last change; 0 for a missing key."""
        return CompareBuilder(self, CompareCompareTarget.MOD)

    @property
    def value(self) -> CompareBuilder:
        """The value; a missing key matches no comparison of its value."""
        return CompareBuilder(self, CompareCompareTarget.VALUE)

    @property
    def lease(self) -> CompareBuilder:
        """Id of the attached lease; 0 for none."""
        return CompareBuilder(self, CompareCompareTarget.LEASE)

    def compare(
        self, target: CompareCompareTarget, result: CompareCompareResult, operand: object
    ) -> Compare:
        """Return the whole comparison.

        Raises:
            TypeError: The operand is not text or bytes for a value, or not an int for the rest.
        """
        codec: Codec[bytes] = Codec(self.encoding)
        if target is CompareCompareTarget.VALUE:
            if not isinstance(operand, str | bytes):
                raise TypeError(f"invalid operand {operand!r} for value: expected str or bytes")
            wanted: int | bytes = codec.encode(operand)
        elif isinstance(operand, int):
            wanted = operand
        else:
            name = target.name.lower()
            raise TypeError(f"invalid operand {operand!r} for {name}: expected an int")
        key = codec.encode(self.key)
        end = b"" if self.range_end is None else codec.encode(self.range_end)
        extra = (
            (CompareCompareTarget.LEASE, self.target_lease),
            (CompareCompareTarget.MOD, self.mod_revision),
            (CompareCompareTarget.VERSION, self.target_version),
        )
        also = tuple(
            Compare(key, aspect, CompareCompareResult.EQUAL, number, end)
            for aspect, number in extra
            if number is not None
        )
        return Compare(key, target, result, wanted, end, also)


class Place:
    """A place in the queue of a lock.

    Attributes:
        key: The key of the holder, without namespace.
        token: Create revision of the key, 0 before it exists; grows from holder to holder.
    """

    def __init__(self, key: bytes, token: int = 0) -> None:
        self.key = key
        self.token = token

    @property
    def guard(self) -> Compare:
        """A comparison for txns that holds only while this place does."""
        return CompareKey(self.key).create == self.token


@dataclass(frozen=True, slots=True)
class GetOp:
    """Read a key or a range."""

    key: bytes
    range_end: bytes = b""
    options: RangeOptions = PLAIN


@dataclass(frozen=True, slots=True)
class PutOp:
    """Write a key; a value of None keeps the value."""

    key: bytes
    value: bytes | None
    lease: int | None = None
    ignore_lease: bool = False
    prev_kv: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOp:
    """Delete a key or a range."""

    key: bytes
    range_end: bytes = b""
    prev_kv: bool = False


Operation = GetOp | PutOp | DeleteOp
OperationResult = RangeResult | PutResult | DeleteResult


@dataclass(frozen=True, slots=True)
class TxnResponse:
    """Result of a txn: whether the comparisons held, and one result per operation."""

    succeeded: bool
    revision: int
    responses: tuple[OperationResult, ...]


class TxnResult(list[T | None], Generic[T]):
    """Values of the operations: the value of a get, None for a put or a delete.

    Attributes:
        succeeded: True when the comparisons held.
        revision: Revision of the store after the txn.
        responses: The full results, one per operation.
    """

    def __init__(self, values: Sequence[T | None], response: TxnResponse) -> None:
        super().__init__(values)
        self.succeeded = response.succeeded
        self.revision = response.revision
        self.responses = response.responses


# Names that etcetra's users may have in their annotations.
PutRequestType = PutOp
RangeRequestType = GetOp
DeleteRangeRequestType = DeleteOp
TransactionRequest = PutOp | GetOp | DeleteOp
NoneType = type(None)
TxnReturnValues = list[str | None]
TxnReturnType = TxnResult
