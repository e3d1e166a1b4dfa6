"""Types of every kind that pydantic describes by a JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID, uuid4

from pydantic import AnyUrl, BaseModel, ConfigDict, Field, RootModel, SecretStr, computed_field
from typing_extensions import TypeAliasType, TypedDict

T = TypeVar("T")


class Color(Enum):
    """A color."""

    red = "red"
    dark_blue = "dark blue"


class Level(IntEnum):
    low = 1
    high = 2


class Only(Enum):
    one = "1"


class Inner(BaseModel):
    """The inner part."""

    a: int
    b: str = "b"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Node(BaseModel):
    value: int
    children: list[Node] = []
    parent: Node | None = None


class Left(BaseModel):
    right: Right | None = None


class Right(BaseModel):
    left: Left | None = None


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int = 0


@dataclass
class Point:
    x: float
    y: float = 0.5
    tags: list[str] = field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    """Options."""

    depth: int
    name: str


class Names(RootModel[list[str]]):
    """Names."""


Tree = TypeAliasType("Tree", "dict[str, Tree] | int")
Words = TypeAliasType("Words", list[str])


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", title="A strict one")

    x: int


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"x": 1}]})

    x: int


class Computed(BaseModel):
    width: int = 2

    @computed_field
    def area(self) -> int:
        """Return the area."""
        return self.width**2


class Empty(BaseModel):
    pass


class Odd(BaseModel):
    r"""Names that are none in Python; with "quotes" and a \ backslash.

    And several lines.
    """

    x_y: int = Field(alias="x-y")
    klass: str = Field(alias="class")
    under: str = Field("", alias="_under")
    copy_: bool = Field(False, alias="copy")
    dump: int = Field(1, alias="model_dump")
    list_: list[int] = Field([], alias="list")
    int_: int | None = Field(None, alias="int")
    inner: Inner = Field(alias="Inner")
    first: str = Field(alias="1st")


class Defaults(BaseModel):
    color: Color = Color.red
    level: Level | None = Level.low
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    day: date | None = None
    wait: timedelta = timedelta(seconds=1)
    price: Decimal = Decimal("1.5")
    number: float = 1.5
    whole: float = 1
    text: str = "a\"b'c\n"
    names: list[str] = ["a"]
    inner: Inner = Inner(a=1)
    pair: tuple[int, str] = (1, "a")
    mapping: dict[str, int] = {"a": 1}
    unique: set[int] = {1}
    id: UUID = Field(default_factory=uuid4)
    stamps: list[datetime] = Field(default_factory=list)
    data: bytes = b"x"
    nothing: None = None


class Told(BaseModel):
    a: int = Field(description="An int.", title="The A", examples=[1, 2])
    b: str = Field("x", deprecated=True, json_schema_extra={"x-unit": "s"})
    c: Inner = Field(description="An inner one.")
    d: Inner | None = Field(None, description="Perhaps one.")
    e: list[Annotated[int, Field(description="Each", gt=0)]] = []
    f: Color = Field(Color.red, title="F", description="Its color.")


class Constrained(BaseModel):
    a: int = Field(gt=0, le=9, multiple_of=3)
    b: float = Field(1.0, ge=0.5, lt=2)
    c: str = Field(min_length=1, max_length=5, pattern=r"^a\d\"'$")
    d: list[int] = Field(min_length=1, max_length=5)
    e: Annotated[Decimal, Field(max_digits=6, decimal_places=2)]
    f: Decimal = Field(gt=0)
    g: dict[str, int] = Field(min_length=1)
    h: Annotated[int, Field(gt=0)] | None = None
    i: set[int] = Field(max_length=3)


class Everything(BaseModel):
    a: Node
    b: list[Inner]
    c: dict[str, Page[Inner]]
    d: Annotated[Cat | Dog, Field(discriminator="kind")]
    e: Cat | Dog | None
    f: Point
    g: Pair
    h: Options
    i: Names
    j: Tree
    k: Color
    l: Strict  # noqa: E741 - a name like another
    m: Any
    n: Literal["a", 1, None]
    o: Words
    p: Only
    q: list[Any]
    r: dict[str, Any]
    s: tuple[int, ...]
    t: frozenset[str]
    u: Page[int]


KINDS: list[Any] = [
    bool,
    int,
    float,
    str,
    Decimal,
    datetime,
    date,
    time,
    timedelta,
    UUID,
    Path,
    AnyUrl,
    IPv4Address,
    IPv6Network,
    SecretStr,
    Any,
    Color,
    Level,
    Only,
    Inner,
    Node,
    Left,
    Page[int],
    Page[Inner],
    Point,
    Pair,
    Options,
    Names,
    Tree,
    Words,
    Strict,
    Loose,
    Computed,
    Empty,
    Odd,
    Defaults,
    Told,
    Constrained,
    Everything,
    Literal["a"],
    Literal["a", "b"],
    Literal[1, "a", None],
    int | str | None,
    Cat | Dog,
    Annotated[Cat | Dog, Field(discriminator="kind")],
    list[Inner],
    set[int],
    frozenset[str],
    tuple[int, str],
    tuple[int, ...],
    tuple[()],
    dict[str, Inner],
    dict[int, list[int]],
    list[dict[str, list[Node | None]]],
    Annotated[int, Field(gt=0, title="N", description="A number.")],
]
