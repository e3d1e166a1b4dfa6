"""JSON Schema documents as graphs of nodes with the same keywords for every draft.

A node holds what one (sub)schema asserts: annotations and keywords that its draft does not know are
gone, references point to nodes, and older spellings (`items` as a list, `dependencies`,
`exclusiveMinimum: true`) became those of 2020-12.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema_specifications import REGISTRY
from referencing import Registry
from referencing.exceptions import Unresolvable

from micro_schema_registry._compatibility.json_schema.dialects import DRAFT_2019, MAPS, Dialect
from micro_schema_registry._compatibility.json_schema.spelling import (
    LISTS,
    PLAIN,
    SINGLE,
    modernise,
)
from micro_schema_registry._compatibility.json_schema.values import is_pattern


class Node:
    """A schema; nodes are equal only if they are the same object.

    Attributes:
        keywords: Assertions by name; subschemas in them are nodes.
        location: Where it stands in its document, if a reference says so.
        never: Whether this is the schema `false`.
        rest_is_evaluated: Whether `unevaluatedProperties` surely skips what `additionalProperties`
            looks at.
    """

    __slots__ = ("keywords", "location", "never", "rest_is_evaluated", "slices")

    def __init__(self, keywords: dict[str, Any] | None = None, *, never: bool = False) -> None:
        self.keywords: dict[str, Any] = {} if keywords is None else keywords
        self.never = never
        self.location = ""
        self.rest_is_evaluated = True
        self.slices: tuple[Node, ...] | None = None

    @property
    def always(self) -> bool:
        """Whether every instance is valid."""
        return not self.never and not self.keywords


TRUE, FALSE = Node(), Node(never=True)
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


@dataclass(frozen=True)
class Contains:
    """How many items have to fit a schema."""

    node: Node
    least: float
    most: float | None


@dataclass(frozen=True)
class Opaque:
    """A reference that is not followed: its target is a meta-schema, or depends on the path.

    Attributes:
        fixed: Whether equal references have equal targets in every document.
    """

    reference: str
    fixed: bool


class Reader:
    """Build the nodes of one document and of those that it refers to.

    Args:
        references: Documents by the name that refers to them, each with its dialect.
    """

    def __init__(
        self,
        check: Callable[[Any, Dialect], None],
        registry: Registry[Any],
        references: Mapping[str, tuple[Any, Dialect]],
    ) -> None:
        self._check = check
        self._registry = registry
        self._references = references
        self._nodes: dict[int, Node] = {}
        self._kept: list[Any] = []  # an id is only unique while its object lives
        self._todo: list[tuple[Node, Any, Any, Dialect]] = []
        self._dynamic_anchors: dict[str, set[int]] = {}

    def read(self, document: Any, dialect: Dialect, base: str) -> Node:
        """Return the root node.

        Raises:
            ValueError: A reference has no target.
        """
        resolver = self._registry.resolver(base)
        for content in (document, *(content for content, _ in self._references.values())):
            self._find_anchors(content)
        root = self._node(document, resolver, dialect)
        while self._todo:
            node, raw, scope, kind = self._todo.pop()
            node.keywords.update(self._keywords(raw, scope, kind))
            # Python's validator overlooks it in this draft.
            node.rest_is_evaluated = kind is not DRAFT_2019
        for node in self._nodes.values():
            node.keywords = {name: _direct(value) for name, value in node.keywords.items()}
        return _followed(root)

    def _node(self, raw: Any, resolver: Any, dialect: Dialect) -> Node:
        if isinstance(raw, bool):
            return TRUE if raw else FALSE
        if not isinstance(raw, dict):
            raise ValueError(f"not a JSON Schema: expected an object or a boolean, got {raw!r}")
        known = self._nodes.get(id(raw))
        if known is not None:
            return known
        if dialect.id_keyword in raw:
            dialect = dialect.of_resource(raw)
            resolver = resolver.in_subresource(dialect.specification.create_resource(raw))
        node = self._nodes[id(raw)] = Node()
        self._kept.append(raw)
        self._todo.append((node, raw, resolver, dialect))
        return node

    def _keywords(self, raw: dict[str, Any], resolver: Any, dialect: Dialect) -> dict[str, Any]:
        if not dialect.ref_siblings and "$ref" in raw:
            self._visit_definitions(raw, resolver, dialect)
            return {"$ref": self._target(raw["$ref"], resolver, dialect)}
        _check_patterns(raw)
        keywords: dict[str, Any] = {}
        for name, value in raw.items():
            if name in dialect.keywords:
                self._add(keywords, name, value, lambda sub: self._node(sub, resolver, dialect))
        for name in REFERENCES:
            if name in raw and (name == "$ref" or name in dialect.keywords):
                keywords[name] = self._dynamic(name, raw[name], resolver, dialect)
        modernise(keywords, raw, dialect)
        if "contains" in keywords:
            keywords["contains"] = Contains(*keywords["contains"])
        return keywords

    def _visit_definitions(self, raw: dict[str, Any], resolver: Any, dialect: Dialect) -> None:
        # Keywords beside the reference assert nothing there, but may hold targets of references.
        for definitions in (raw.get("definitions"), raw.get("$defs")):
            for definition in definitions.values() if isinstance(definitions, dict) else ():
                self._node(definition, resolver, dialect)

    def _add(
        self, keywords: dict[str, Any], name: str, value: Any, node: Callable[[Any], Node]
    ) -> None:
        if name in SINGLE:
            keywords[name] = node(value)
        elif name in LISTS:
            keywords[name] = tuple(node(item) for item in value)
        elif name == "items":
            lists = isinstance(value, list)
            keywords[name] = tuple(node(item) for item in value) if lists else node(value)
        elif name in MAPS:
            keywords[name] = {
                key: tuple(item) if isinstance(item, list) else node(item)
                for key, item in value.items()
            }
        elif name in PLAIN:
            keywords[name] = value
        elif name == "required":
            keywords[name] = frozenset(value)
        elif name == "dependentRequired":
            keywords[name] = {key: frozenset(names) for key, names in value.items()}

    def _target(self, reference: str, resolver: Any, dialect: Dialect) -> "Node | Opaque":
        name, _, fragment = reference.partition("#")
        if name in REGISTRY or f"{name}#" in REGISTRY:
            return Opaque(reference, fixed=not self._dynamic_anchors)
        try:
            resolved = resolver.lookup(reference)
        except Unresolvable:
            if name not in self._references:
                raise ValueError(
                    f"not a JSON Schema: {reference!r} is not among the references"
                ) from None
            try:
                resolved = self._registry.resolver(name).lookup(f"#{fragment}")
            except Unresolvable:
                raise ValueError(
                    f"not a JSON Schema: {reference!r} points to nothing in the reference"
                ) from None
        raw = resolved.contents
        if name in self._references:
            dialect = self._references[name][1]
        if isinstance(raw, dict) and id(raw) not in self._nodes:
            self._check(raw, dialect.of_resource(raw))
        node = self._node(raw, resolved.resolver, dialect)
        if fragment.startswith("/") and not node.location:
            node.location = reference
        return node

    def _dynamic(self, name: str, reference: str, resolver: Any, dialect: Dialect) -> Any:
        anchor = reference.partition("#")[2] if name == "$dynamicRef" else name
        # With one candidate at most, the dynamic scope makes no difference.
        if name == "$ref" or len(self._dynamic_anchors.get(anchor, ())) <= 1:
            return self._target(reference, resolver, dialect)
        return Opaque(reference, fixed=False)

    def _find_anchors(self, document: Any) -> None:
        todo = [document]
        while todo:
            raw = todo.pop()
            if isinstance(raw, dict):
                if isinstance(raw.get("$dynamicAnchor"), str):
                    self._dynamic_anchors.setdefault(raw["$dynamicAnchor"], set()).add(id(raw))
                if raw.get("$recursiveAnchor") is True:
                    self._dynamic_anchors.setdefault("$recursiveRef", set()).add(id(raw))
                todo += raw.values()
            elif isinstance(raw, list):
                todo += raw


def _direct(value: Any) -> Any:
    """Replace schemas that are only references by their targets."""
    if isinstance(value, Node):
        return _followed(value)
    if isinstance(value, tuple):
        return tuple(_direct(item) for item in value)
    if isinstance(value, Contains):
        return Contains(_followed(value.node), value.least, value.most)
    if isinstance(value, dict):
        return {name: _direct(item) for name, item in value.items()}
    return value


def _followed(node: Node) -> Node:
    for _ in range(32):  # a longer chain is a circle
        if node.keywords.keys() != {"$ref"} or not isinstance(node.keywords["$ref"], Node):
            break
        node = node.keywords["$ref"]
    return node


def _check_patterns(raw: dict[str, Any]) -> None:
    for pattern in (raw.get("pattern", ""), *raw.get("patternProperties", ())):
        if not is_pattern(pattern):
            raise ValueError(f"not a JSON Schema: {pattern!r} is not a regular expression")
