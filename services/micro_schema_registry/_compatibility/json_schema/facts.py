"""The facts about an instance for which some schemas hold and others do not."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf
from typing import Any, NamedTuple

from micro_schema_registry._compatibility.json_schema.nodes import Contains, Node
from micro_schema_registry._compatibility.json_schema.values import (
    BOUNDS,
    KIND_OF,
    NUMBERS,
    TYPES,
    canonical,
)

# (schema, True): the schema holds for the instance. (schema, False): it does not.
Signed = tuple[Node, bool]
Known = frozenset[Signed]
TYPE_OF = {
    **dict.fromkeys((*BOUNDS, "multipleOf"), NUMBERS),
    **{keyword: frozenset({kind}) for keyword, kind in KIND_OF.items()},
    "pattern": frozenset({"string"}),
    **dict.fromkeys(
        ("uniqueItems", "prefixItems", "items", "contains", "unevaluatedItems"),
        frozenset({"array"}),
    ),
    **dict.fromkeys(
        (
            "required", "properties", "patternProperties", "additionalProperties", "propertyNames",
            "dependentRequired", "dependentSchemas", "unevaluatedProperties",
        ),
        frozenset({"object"}),
    ),
}  # fmt: skip
# Keywords that only mean something together.
_FAMILIES = (
    ("properties", "patternProperties", "additionalProperties"),
    ("prefixItems", "items"),
    ("if", "then", "else"),
)


class Bound(NamedTuple):
    """A limit of numbers."""

    value: Fraction
    strict: bool
    shown: Any


class Members(NamedTuple):
    """The assertions of one schema about the members of an object."""

    named: dict[str, Signed]
    patterns: tuple[tuple[str, Signed], ...] = ()
    rest: Signed | None = None


class Items(NamedTuple):
    """The assertions of one schema about the items of an array."""

    first: tuple[Signed, ...]
    rest: Signed | None = None


def members_of(node: Node) -> Members:
    """Return the assertions of a schema about members."""
    get = node.keywords.get
    rest = get("additionalProperties")
    return Members(
        {name: (sub, True) for name, sub in get("properties", {}).items()},
        tuple((pattern, (sub, True)) for pattern, sub in get("patternProperties", {}).items()),
        None if rest is None else (rest, True),
    )


def items_of(node: Node) -> Items:
    """Return the assertions of a schema about items."""
    rest = node.keywords.get("items")
    first = tuple((sub, True) for sub in node.keywords.get("prefixItems", ()))
    return Items(first, None if rest is None else (rest, True))


@dataclass
class Facts:
    """The conjunction of all facts; an instance that fits may still not exist."""

    types: frozenset[str] = TYPES
    values: dict[Hashable, Any] | None = None
    excluded: set[Hashable] = field(default_factory=set)
    low: Bound | None = None
    high: Bound | None = None
    multiple: Fraction | None = None
    counts: dict[str, float] = field(default_factory=dict)
    patterns: set[str] = field(default_factory=set)
    denied_patterns: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    unique: bool = False
    members: list[Members] = field(default_factory=list)
    items: list[Items] = field(default_factory=list)
    names: list[Signed] = field(default_factory=list)
    contains: list[Contains] = field(default_factory=list)
    unevaluated: list[Node] = field(default_factory=list)
    choices: list[list[Known]] = field(default_factory=list)
    denied: list[Node] = field(default_factory=list)
    signed: set[Signed] = field(default_factory=set)

    @property
    def impossible(self) -> bool:
        """Whether no instance can fit."""
        return not self.types or self.values == {}

    def count(self, keyword: str) -> float:
        """Return a limit of a length: 0 or infinite where there is none."""
        return self.counts.get(keyword, 0 if keyword.startswith("min") else inf)


class DerivedSchemas:
    """Schemas that a proof makes by itself, one of each since nodes are compared by identity."""

    def __init__(self) -> None:
        self._nodes: dict[Hashable, Node] = {}

    def object_with(self, *names: str) -> Node:
        """Return the schema of objects that have members of these names."""
        return self._node(type=frozenset({"object"}), required=frozenset(names))

    def of_types(self, *types: str) -> Node:
        """Return the schema of all instances of some types."""
        return self._node(type=frozenset(types))

    def equal_to(self, value: Any) -> Node:
        """Return the schema of one value."""
        key = canonical(value)
        known = self._nodes.get(key)
        return known or self._nodes.setdefault(key, Node({"enum": {key: value}}))

    def matching(self, pattern: str) -> Node:
        """Return the schema of strings that match a pattern."""
        return self._node(pattern=pattern)

    def having(self, *names: str) -> Node:
        """Return the schema that asks objects for members of these names."""
        return self._node(required=frozenset(names))

    def member(self, name: str, node: Node) -> Node:
        """Return the schema that asserts another schema for one member."""
        known = self._nodes.get((name, node))
        return known or self._nodes.setdefault((name, node), Node({"properties": {name: node}}))

    def _node(self, **keywords: Hashable) -> Node:
        key = frozenset(keywords.items())
        return self._nodes.get(key) or self._nodes.setdefault(key, Node(dict(keywords)))


def slices(node: Node) -> tuple[Node, ...]:
    """Divide a schema into schemas of one assertion each; return none if that is impossible."""
    if node.slices is None:
        keywords = dict(node.keywords)
        if keywords.keys() & {"unevaluatedProperties", "unevaluatedItems"}:
            node.slices = ()
            return ()
        parts = []
        for family in _FAMILIES:
            part = {name: keywords.pop(name) for name in family if name in keywords}
            parts += [part] if part else []
        parts += [{name: value} for name, value in keywords.items()]
        node.slices = (node,) if len(parts) == 1 else tuple(Node(part) for part in parts)
    return node.slices
