"""The comparison of schemas as pydantic writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import AnyUrl, BaseModel, Field, SecretStr, TypeAdapter, create_model
from typing_extensions import TypedDict

from micro._protocol.schema_changes import Difference, differences


class Color(Enum):
    red = "red"
    blue = "blue"


class Level(IntEnum):
    low = 1
    high = 2


class Inner(BaseModel):
    a: int
    b: str = "b"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Node(BaseModel):
    value: int
    children: list[Node] = []


@dataclass
class Point:
    x: float
    y: float = 0


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    depth: int


KINDS: list[Any] = [
    bool,
    int,
    float,
    str,
    bytes,
    Decimal,
    datetime,
    date,
    time,
    timedelta,
    UUID,
    Path,
    AnyUrl,
    IPv4Address,
    SecretStr,
    Any,
    Color,
    Level,
    Inner,
    Node,
    Point,
    Pair,
    Options,
    Literal["a", 1, None],
    int | str | None,
    Cat | Dog,
    Annotated[Cat | Dog, Field(discriminator="kind")],
    list[Inner],
    set[int],
    frozenset[str],
    tuple[int, str],
    tuple[int, ...],
    dict[str, Inner],
    dict[int, list[int]],
    Annotated[int, Field(gt=0, le=9, multiple_of=3)],
    Annotated[Decimal, Field(max_digits=6, decimal_places=2)],
    Annotated[str, Field(min_length=1, max_length=5, pattern="^a")],
    Annotated[list[int], Field(min_length=1, max_length=5)],
]


def schema(kind: Any, mode: Any = "validation") -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode=mode)


def model(**fields: Any) -> Any:
    return create_model("M", **fields)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_type_fits_itself_in_both_directions(kind: Any) -> None:
    for each in (kind, model(x=(kind, ...)), list[kind], dict[str, kind], kind | None):
        assert differences(schema(each, "serialization"), schema(each), all_sent=True) == []
        assert differences(schema(each, "serialization"), schema(each)) == []


COMPATIBLE: list[tuple[Any, Any]] = [
    (int, float),
    (int, int | str),
    (Literal["a"], Literal["a", "b"]),
    (Literal["a"], str),
    (Annotated[int, Field(ge=2)], Annotated[int, Field(ge=1)]),
    (Annotated[int, Field(le=2)], int),
    (model(a=(int, ...)), model(a=(int, ...), b=(int, 0))),
    (model(a=(int, ...), b=(int, ...)), model(a=(int, ...))),
    (model(a=(int, 0)), model(a=(int, ...))),
    (model(a=(int, ...)), model(a=(int | None, None))),
    (model(a=(int, ...)), dict[str, int]),
    (tuple[int, int], list[int]),
    (Cat, Cat | Dog),
    (Any, int),
]


@pytest.mark.parametrize(("written", "read"), COMPATIBLE, ids=str)
def test_wider_readers_fit(written: Any, read: Any) -> None:
    assert differences(schema(written, "serialization"), schema(read)) == []


INCOMPATIBLE: list[tuple[Any, Any, list[str]]] = [
    (str, int, [": string is sent, expected integer"]),
    (int | str, int, [": string is sent, expected integer"]),
    (float, int, [": number is sent, expected integer"]),
    (int | None, int, [": null is sent, expected integer"]),
    (Color, Literal["red"], [": 'blue' is sent, expected one of ['red']"]),
    (str, Literal["red"], [": any value is sent, expected one of ['red']"]),
    (Literal["1"], int, [": string is sent, expected integer"]),
    (int, Annotated[int, Field(ge=1)], [": minimum 1 is expected"]),
    (str, Annotated[str, Field(max_length=3)], [": maxLength 3 is expected"]),
    (str, Annotated[str, Field(pattern="^a")], [": pattern '^a' is expected"]),
    (str, datetime, [": format 'date-time' is expected"]),
    (model(), model(a=(int, ...)), ["a: it is required, and never sent"]),
    (Options, model(depth=(int, ...)), ["depth: it is required, and not always sent"]),
    (
        model(a=(list[Inner], ...)),
        model(a=(list[create_model("Inner", a=(str, ...))], ...)),  # type: ignore[misc]  # made here
        ["a.*.a: integer is sent, expected string"],
    ),
    (dict[str, int], dict[str, str], ["*: integer is sent, expected string"]),
    (tuple[int, str], tuple[int, int], ["1: string is sent, expected integer"]),
    (
        model(a=(Inner | None, None)),
        model(a=(create_model("Inner", a=(int, ...), c=(int, ...)) | None, None)),
        ["a.c: it is required, and never sent"],
    ),
]


@pytest.mark.parametrize(("written", "read", "lines"), INCOMPATIBLE, ids=str)
def test_difference_names_the_member(written: Any, read: Any, lines: list[str]) -> None:
    found = differences(schema(written, "serialization"), schema(read))
    assert shown(found) == lines


def test_member_that_a_strict_reader_does_not_know_is_a_difference() -> None:
    class Strict(BaseModel, extra="forbid"):
        a: int

    found = differences(schema(Inner, "serialization"), schema(Strict))
    assert shown(found) == ["b: it is sent, and not known"]


def test_required_member_that_the_reader_drops_is_a_difference_for_requests_only() -> None:
    written, read = schema(model(a=(int, ...), b=(int, ...))), schema(model(a=(int, ...)))
    assert shown(differences(written, read, all_sent=True)) == ["b: it is sent, and not known"]
    assert differences(written, read) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"$ref": "#/$defs/Absent"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"type": "object", "properties": {"a": True}},
        {"type": ["integer", "null"]},
        {"type": "object", "required": 5, "properties": 7},
        {"type": "integer", "minimum": "1"},
        {"allOf": [{"type": "integer"}]},
    ],
)
def test_odd_schemas_end_without_an_error(odd: dict[str, Any]) -> None:
    for one, other in ((odd, schema(Inner)), (schema(Inner), odd), (odd, odd)):
        differences(one, other)


def shown(found: Iterable[Difference]) -> list[str]:
    return [f"{each.member}: {each.reason}" for each in found]
