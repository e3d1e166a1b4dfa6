"""Txns: every target with every operator, ranges, callbacks, typed results."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from tests.micro_etcd.versions import every_version

from micro_etcd import (
    Compare,
    CompareKey,
    DeleteResult,
    EtcdClient,
    EtcdInvalidArgumentError,
    EtcdTransactionAction,
    PutResult,
    RangeResult,
    TxnResult,
)

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def read(key: str) -> Callable[[EtcdTransactionAction[str], EtcdTransactionAction[str]], None]:
    def build(success: EtcdTransactionAction[str], failure: EtcdTransactionAction[str]) -> None:
        success.get(key)
        failure.get(key)

    return build


@every_version
async def test_five_targets_and_four_operators(etcd: EtcdClient[str], prefix: str) -> None:
    """P20: each comparison decides as Python would on the same numbers."""
    key = f"{prefix}k"
    async with etcd.connect() as communicator:
        lease = await communicator.grant_lease(60)
        await communicator.put(key, "m")
        await communicator.put(key, "m", lease=lease)
        kv = await communicator.kv.get(key.encode())
        assert kv is not None
        actual: dict[str, int] = {
            "version": kv.version,
            "create": kv.create_revision,
            "mod": kv.mod_revision,
            "lease": kv.lease,
        }
        for target, number in actual.items():
            aspect = getattr(CompareKey(key), target)
            for name, compare in OPERATORS.items():
                for operand in (number - 1, number, number + 1):
                    built = compare(aspect, operand)
                    assert isinstance(built, Compare)
                    result = await communicator.txn_compare([built], read(key))
                    assert result.succeeded is compare(number, operand), (target, name, operand)
        for name, compare in OPERATORS.items():
            for text in ("l", "m", "n"):
                built = compare(CompareKey(key).value, text)
                assert isinstance(built, Compare)
                result = await communicator.txn_compare([built], read(key))
                assert result.succeeded is compare("m", text), ("value", name, text)


@every_version
async def test_comparisons_of_missing_keys_and_ranges(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:
        absent = CompareKey(f"{prefix}none").version == 0
        assert (await communicator.txn_compare([absent], read("x"))).succeeded
        await communicator.put(f"{prefix}a", "1")
        await communicator.put(f"{prefix}b", "1")
        end = prefix[:-1] + "0"
        all_ones = CompareKey(prefix, range_end=end).value == "1"
        assert (await communicator.txn_compare([all_ones], read("x"))).succeeded
        await communicator.put(f"{prefix}b", "2")
        assert not (await communicator.txn_compare([all_ones], read("x"))).succeeded


async def test_further_conditions_on_one_key(etcd: EtcdClient[str], prefix: str) -> None:
    key = f"{prefix}k"
    async with etcd.connect() as communicator:
        await communicator.put(key, "v")
        kv = await communicator.kv.get(key.encode())
        assert kv is not None
        for version, expected in ((1, True), (2, False)):
            compare = CompareKey(key, target_version=version, mod_revision=kv.mod_revision)
            result = await communicator.txn_compare([compare.value == "v"], read(key))
            assert result.succeeded is expected


@every_version
async def test_result_has_values_and_answers(etcd: EtcdClient[str], prefix: str) -> None:
    a, b, none = f"{prefix}a", f"{prefix}b", f"{prefix}none"
    called: list[bool] = []
    async with etcd.connect() as communicator:
        await communicator.put(a, "1")

        def build(action: EtcdTransactionAction[str]) -> None:
            action.get(a)
            action.get(none)
            action.put(b, "2")
            action.get(prefix, range_end=prefix[:-1] + "0")
            action.delete(a, prev_kv=True)
            action.add_callback(called.append)

        result = await communicator.txn(build)

    assert isinstance(result, TxnResult)
    assert result == ["1", None, None, "1", None]
    assert result.succeeded
    assert called == [True]
    first, missing, put, many, deleted = result.responses
    assert isinstance(first, RangeResult)
    assert isinstance(missing, RangeResult)
    assert isinstance(many, RangeResult)
    assert [kv.key.decode() for kv in many.kvs] == [a, b]
    assert isinstance(put, PutResult)
    assert put.revision == result.revision
    assert isinstance(deleted, DeleteResult)
    assert [kv.value for kv in deleted.prev] == [b"1"]


async def test_failure_branch_calls_its_own_callback(etcd: EtcdClient[str], prefix: str) -> None:
    called: list[tuple[str, bool]] = []

    def build(success: EtcdTransactionAction[str], failure: EtcdTransactionAction[str]) -> None:
        success.add_callback(lambda ok: called.append(("success", ok)))
        failure.add_callback(lambda ok: called.append(("failure", ok)))

    async with etcd.connect() as communicator:
        await communicator.txn_compare([CompareKey(prefix).version > 0], build)

    assert called == [("failure", False)]


async def test_put_that_keeps_value_or_lease(etcd: EtcdClient[str], prefix: str) -> None:
    key = f"{prefix}k"
    async with etcd.connect() as communicator:
        lease = await communicator.grant_lease(60)
        await communicator.put(key, "1", lease=lease)
        await communicator.txn(lambda action: action.put(key, "2", ignore_lease=True))
        kv = await communicator.kv.get(key.encode())
        assert kv is not None
        assert (kv.value, kv.lease) == (b"2", lease)
        await communicator.txn(lambda action: action.put(key, "unused", ignore_value=True))
        kv = await communicator.kv.get(key.encode())
        assert kv is not None
        assert (kv.value, kv.lease) == (b"2", 0)


@every_version
async def test_refused_txns(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as communicator:

        def twice(action: EtcdTransactionAction[str]) -> None:
            action.put(prefix, "1")
            action.put(prefix, "2")

        with pytest.raises(EtcdInvalidArgumentError, match="duplicate key"):
            await communicator.txn(twice)

        def many(action: EtcdTransactionAction[str]) -> None:
            for number in range(129):
                action.put(f"{prefix}{number}", "1")

        with pytest.raises(EtcdInvalidArgumentError, match="too many operations"):
            await communicator.txn(many)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CompareKey("k").value == 1, "invalid operand 1 for value: expected str or bytes"),
        (lambda: CompareKey("k").mod > "1", "invalid operand '1' for mod: expected an int"),
    ],
)
def test_wrong_operands_are_refused_when_written(build: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        build()
    assert str(caught.value) == message
