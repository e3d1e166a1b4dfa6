"""Typed calls: values in, values out, errors with their lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

import micro
from micro._handlers.typed import AnyHandler


class Pair(BaseModel):
    a: int
    b: int


class Named(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    first_name: str


@dataclass
class Point:
    x: int
    when: datetime


async def add(pair: Pair) -> int:
    return pair.a + pair.b


async def rename(named: Named) -> Named:
    return named


async def move(point: Point) -> Point:
    return point


async def total(numbers: list[Decimal]) -> Decimal:
    return sum(numbers, Decimal())


async def same(data: bytes) -> bytes:
    return data


async def now() -> datetime:
    return datetime(2026, 1, 2, tzinfo=UTC)


async def nothing(value: int | None) -> None:
    assert value is None


MOMENT = datetime(2026, 1, 2, 3, tzinfo=UTC)
CALLS: list[tuple[AnyHandler, tuple[Any, ...], Any, Any]] = [
    (add, (Pair(a=1, b=2),), int, 3),
    (add, ({"a": 1, "b": 2},), Annotated[int, Field(gt=2)], 3),
    (
        rename,
        (Named.model_validate({"firstName": "Ada"}),),
        Named,
        Named.model_validate({"firstName": "Ada"}),
    ),
    (move, (Point(1, MOMENT),), Point, Point(1, MOMENT)),
    (total, ([Decimal("1.5"), Decimal("2")],), Decimal, Decimal("3.5")),
    (same, (b"\xff\x00",), bytes, b"\xff\x00"),
    (now, (), datetime, datetime(2026, 1, 2, tzinfo=UTC)),
    (now, (), Any, "2026-01-02T00:00:00Z"),
    (now, (), Annotated[Any, {"not": "hashable"}], "2026-01-02T00:00:00Z"),
    (nothing, (None,), None, None),
]


@pytest.mark.parametrize(("handler", "payload", "returns", "answer"), CALLS)
async def test_call_sends_a_value_and_returns_one(
    nc: NatsClient, handler: AnyHandler, payload: tuple[Any, ...], returns: Any, answer: Any
) -> None:
    async with micro.add_service(nc, "called", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="called.e")

        assert await micro.Client(nc).call("called.e", *payload, returns=returns) == answer


async def test_refused_request_lists_its_invalid_members(nc: NatsClient) -> None:
    async with micro.add_service(nc, "refusing", "1.0.0") as service:
        await service.add_endpoint("add", add, subject="refusing.add")
        with pytest.raises(micro.RemoteServiceError) as caught:
            await micro.Client(nc).call("refusing.add", {"a": "x"}, returns=int)

    assert (caught.value.code, caught.value.description) == (400, "invalid request")
    assert [(each["type"], each["loc"]) for each in caught.value.errors] == [
        ("int_parsing", ["a"]),
        ("missing", ["b"]),
    ]


@pytest.mark.parametrize("data", [b"", b"[", b"[1]", b'{"a": 1}', b"\xff"])
def test_error_with_other_data_lists_nothing(data: bytes) -> None:
    assert micro.ServiceError(400, "no", data=data).errors == []


async def test_answer_of_another_type_is_an_error_that_names_the_member(nc: NatsClient) -> None:
    async with micro.add_service(nc, "odd", "1.0.0") as service:
        await service.add_endpoint("add", rename, subject="odd.rename")
        with pytest.raises(micro.InvalidAnswerError) as caught:
            await micro.Client(nc).call(
                "odd.rename", Named.model_validate({"firstName": "Ada"}), returns=Pair
            )

    assert [each["loc"] for each in caught.value.errors] == [("a",), ("b",)]
    assert "from 'odd.rename'" in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "returns"), [(object(), int), (1, type("Other", (), {})), (1, "Unknown")]
)
async def test_value_without_json_and_unknown_type_are_errors_of_the_caller(
    nc: NatsClient, payload: Any, returns: Any
) -> None:
    async with micro.add_service(nc, "any", "1.0.0") as service:
        await service.add_endpoint("same", same, subject="any.same")
        with pytest.raises(micro.ConfigError, match="invalid"):
            await micro.Client(nc).call("any.same", payload, returns=returns)


async def test_endpoint_of_a_service_is_called_by_its_name(nc: NatsClient) -> None:
    async with micro.add_service(nc, "named", "1.0.0") as service:
        await service.add_group("sums.v1").add_endpoint("add", add)
        client = micro.Client(nc).service("named")

        assert await client.call("add", Pair(a=1, b=2), returns=int) == 3
        assert await client.call("sums.v1.add", Pair(a=1, b=2), returns=int) == 3


async def test_unknown_and_ambiguous_endpoints_are_refused(nc: NatsClient) -> None:
    async with micro.add_service(nc, "several", "1.0.0") as service:
        await service.add_group("b").add_endpoint("add", add)
        await service.add_group("a").add_endpoint("add", add)
        client = micro.Client(nc, default_max_wait=0.2).service("several")
        with pytest.raises(micro.ConfigError) as unknown:
            await client.call("sub", 1)
        with pytest.raises(micro.ConfigError) as ambiguous:
            await client.call("add", 1)

    assert str(unknown.value) == (
        "service 'several' has no endpoint 'sub': expected one of ['add']"
    )
    assert str(ambiguous.value) == (
        "service 'several' has several endpoints 'add': "
        "expected one of the subjects ['a.add', 'b.add']"
    )


async def test_service_that_does_not_run_has_no_responders(nc: NatsClient) -> None:
    with pytest.raises(nats.errors.NoRespondersError):
        await micro.Client(nc).service("absent").call("add", 1)


async def test_new_subject_of_an_endpoint_is_found_again(nc: NatsClient) -> None:
    client = micro.Client(nc).service("moving")
    async with micro.add_service(nc, "moving", "1.0.0") as service:
        await service.add_endpoint("add", add, subject="moving.v1")
        assert await client.call("add", Pair(a=1, b=1), returns=int) == 2
    async with micro.add_service(nc, "moving", "2.0.0") as service:
        await service.add_endpoint("add", add, subject="moving.v2")
        assert await client.call("add", Pair(a=2, b=2), returns=int) == 4


async def test_endpoint_that_only_another_instance_has_is_found(nc: NatsClient) -> None:
    async with (
        micro.add_service(nc, "mixed", "1.0.0") as one,
        micro.add_service(nc, "mixed", "1.1.0") as other,
    ):
        await one.add_endpoint("now", now, subject="mixed.now")
        await other.add_endpoint("add", add, subject="mixed.add")
        client = micro.Client(nc).service("mixed")

        assert await client.call("add", Pair(a=1, b=2), returns=int) == 3
        assert await client.call("now", returns=datetime) == await now()
