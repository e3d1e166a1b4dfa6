"""The collection of facts from keywords that hold and from keywords that do not."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from math import lcm
from typing import Any, ClassVar

from micro_schema_registry._compatibility.json_schema.facts import (
    TYPE_OF,
    Bound,
    DerivedSchemas,
    Facts,
    Items,
    Known,
    Members,
    Signed,
    items_of,
    members_of,
    slices,
)
from micro_schema_registry._compatibility.json_schema.narrowing import narrow
from micro_schema_registry._compatibility.json_schema.nodes import (
    FALSE,
    REFERENCES,
    Contains,
    Node,
)
from micro_schema_registry._compatibility.json_schema.values import BOUNDS, KIND_OF, exact

_MANY = 4  # an `anyOf` of more branches is not split into all combinations of them
# The keyword that holds where another does not, and the difference of their numbers.
_OPPOSITES = {
    "minimum": ("exclusiveMaximum", 0),
    "maximum": ("exclusiveMinimum", 0),
    "exclusiveMinimum": ("maximum", 0),
    "exclusiveMaximum": ("minimum", 0),
    "minLength": ("maxLength", -1),
    "maxLength": ("minLength", 1),
    "minItems": ("maxItems", -1),
    "maxItems": ("minItems", 1),
    "minProperties": ("maxProperties", -1),
    "maxProperties": ("minProperties", 1),
}


def facts_of(known: Known, derived: DerivedSchemas, *, thorough: bool = False) -> Facts:
    """Collect the facts of schemas that hold and of schemas that do not.

    Args:
        known: The schemas.
        derived: The source of further schemas.
        thorough: Whether a choice states for every branch whether it holds.
    """
    return _Collector(derived, thorough).collect(known)


class _Collector:
    # Adds to the facts for each keyword that holds, or does not.
    def __init__(self, derived: DerivedSchemas, thorough: bool) -> None:
        self.facts = Facts()
        self._derived = derived
        self._thorough = thorough
        self._todo: list[Signed] = []
        self._choices: list[list[Known]] = []

    def collect(self, known: Known) -> Facts:
        facts = self.facts
        self._todo = list(known)
        while self._todo:
            signed = self._todo.pop()
            if signed in facts.signed:
                continue
            facts.signed.add(signed)
            node, holds = signed
            if node.never if holds else node.always:
                facts.types = frozenset()
            elif holds:
                self._holds(node)
            elif not node.never:
                self._fails(node)
        given = facts.signed
        facts.choices = [
            [case for case in cases if not any((node, not holds) in given for node, holds in case)]
            for cases in self._choices
            if not any(case <= given for case in cases)
        ]
        if any(not cases for cases in facts.choices):
            facts.types = frozenset()
        narrow(facts, self._derived)
        return facts

    def _choose(self, cases: Iterable[Iterable[Signed]]) -> None:
        self._choices.append([frozenset(case) for case in cases])

    def _holds(self, node: Node) -> None:
        facts, keywords = self.facts, node.keywords
        for name, value in keywords.items():
            handler = self.HOLDS.get(name)
            if handler is not None:
                handler(self, name, value)
        if keywords.keys() & {"properties", "patternProperties", "additionalProperties"}:
            facts.members.append(members_of(node))
        if keywords.keys() & {"prefixItems", "items"}:
            facts.items.append(items_of(node))
        if keywords.keys() & {"unevaluatedProperties", "unevaluatedItems"}:
            facts.unevaluated.append(node)
        if "if" in keywords:
            self._if(keywords, holds=True)

    def _if(self, keywords: dict[str, Any], *, holds: bool) -> None:
        condition = keywords["if"]
        cases = [
            [(condition, outcome), *([(keywords[name], holds)] if name in keywords else [])]
            for name, outcome in (("then", True), ("else", False))
            if holds or name in keywords
        ]
        if self._thorough or not holds or len(keywords.keys() & {"then", "else"}) > 0:
            self._choose(cases)

    def _type(self, name: str, value: Any) -> None:
        self.facts.types &= value

    def _enum(self, name: str, value: dict[Hashable, Any]) -> None:
        known = self.facts.values
        kept = value if known is None else {key: known[key] for key in known if key in value}
        self.facts.values = kept

    def _bound(self, name: str, value: Any) -> None:
        strict, facts = name.startswith("exclusive"), self.facts
        bound = Bound(exact(value), strict, value)
        if name.endswith("inimum"):
            if facts.low is None or bound[:2] > facts.low[:2]:
                facts.low = bound
        elif facts.high is None or (-bound.value, strict) > (-facts.high.value, facts.high.strict):
            facts.high = bound

    def _multiple(self, name: str, value: Any) -> None:
        factor = exact(value)
        self.facts.multiple = (
            factor if self.facts.multiple is None else _lcm(self.facts.multiple, factor)
        )

    def _count(self, name: str, value: Any) -> None:
        pick = max if name.startswith("min") else min
        self.facts.counts[name] = pick(self.facts.counts.get(name, value), value)

    def _required(self, name: str, value: Any) -> None:
        self.facts.required |= value

    def _unique(self, name: str, value: Any) -> None:
        self.facts.unique = True

    def _pattern(self, name: str, value: Any) -> None:
        self.facts.patterns.add(value)

    def _contains(self, name: str, value: Any) -> None:
        self.facts.contains.append(value)

    def _names(self, name: str, value: Any) -> None:
        self.facts.names.append((value, True))

    def _target(self, name: str, value: Any, *, holds: bool = True) -> None:
        if isinstance(value, Node):
            self._todo.append((value, holds))

    def _all(self, name: str, value: Any, *, holds: bool = True) -> None:
        self._todo += [(node, holds) for node in value]

    def _any(self, name: str, value: Any, *, holds: bool = True) -> None:
        if len(value) == 1:
            self._todo.append((value[0], holds))
        elif holds and self._thorough and len(value) <= _MANY:
            self._choose(_combinations(value))
        else:
            self._choose([(node, holds)] for node in value)

    def _one(self, name: str, value: Any) -> None:
        if len(value) == 1:
            self._todo.append((value[0], True))
        else:
            self._choose([(node, node is one) for node in value] for one in value)

    def _dependent_required(self, name: str, value: Any) -> None:
        for key, names in value.items():
            if not names <= {key}:
                whole = self._derived.object_with(key, *names)
                self._choose([[(whole, True)], [(self._derived.object_with(key), False)]])

    def _dependent_schemas(self, name: str, value: Any) -> None:
        for key, node in value.items():
            having = self._derived.object_with(key)
            self._choose([[(having, True), (node, True)], [(having, False)]])

    def _fails(self, node: Node) -> None:
        self.facts.denied.append(node)
        parts = slices(node)
        if len(parts) > 1:
            self._choose([[(part, False)] for part in parts])
        elif parts:
            self._fails_one(parts[0].keywords)

    def _fails_one(self, keywords: dict[str, Any]) -> None:
        """Add facts for a single assertion that does not hold; some assertions add none."""
        name, value = next(iter(keywords.items()))
        if name in TYPE_OF:
            self.facts.types &= TYPE_OF[name]
        handler = self.FAILS.get(name)
        if handler is not None:
            handler(self, name, value)
        elif name in _OPPOSITES:
            opposite, step = _OPPOSITES[name]
            self.HOLDS[opposite](self, opposite, value + step)
        elif name == "if":
            self._if(keywords, holds=False)
        elif keywords.keys() == {"items"}:
            pass
        elif keywords.keys() == {"properties"}:
            self._fails_members(value)

    def _fails_members(self, named: dict[str, Node]) -> None:
        if len(named) == 1:
            ((name, node),) = named.items()
            self.facts.required.add(name)
            self.facts.members.append(Members({name: (node, False)}))
        else:
            self._choose([(self._derived.member(*item), False)] for item in named.items())

    def _not_type(self, name: str, value: Any) -> None:
        self.facts.types -= value

    def _not_enum(self, name: str, value: Any) -> None:
        self.facts.excluded |= value.keys()

    def _not_pattern(self, name: str, value: Any) -> None:
        self.facts.denied_patterns.add(value)

    def _not_required(self, name: str, value: Any) -> None:
        if len(value) == 1:
            self.facts.members.append(Members(dict.fromkeys(value, (FALSE, True))))
        else:
            self._choose([(self._derived.having(name), False)] for name in sorted(value))

    def _not_contains(self, name: str, value: Contains) -> None:
        if value.least == 1 and value.most is None:
            self.facts.items.append(Items((), (value.node, False)))

    HOLDS: ClassVar[dict[str, Any]] = {
        "type": _type,
        "enum": _enum,
        **dict.fromkeys(BOUNDS, _bound),
        "multipleOf": _multiple,
        **dict.fromkeys(KIND_OF, _count),
        "required": _required,
        "uniqueItems": _unique,
        "pattern": _pattern,
        "contains": _contains,
        "propertyNames": _names,
        **dict.fromkeys(REFERENCES, _target),
        "allOf": _all,
        "not": partial(_target, holds=False),
        "anyOf": _any,
        "oneOf": _one,
        "dependentRequired": _dependent_required,
        "dependentSchemas": _dependent_schemas,
    }
    FAILS: ClassVar[dict[str, Any]] = {
        "type": _not_type,
        "enum": _not_enum,
        "pattern": _not_pattern,
        "required": _not_required,
        **dict.fromkeys(REFERENCES, partial(_target, holds=False)),
        "not": _target,
        "allOf": partial(_any, holds=False),
        "anyOf": partial(_all, holds=False),
        "contains": _not_contains,
    }


def _combinations(nodes: Sequence[Node]) -> Iterator[list[Signed]]:
    for mask in range(1, 2 ** len(nodes)):
        yield [(node, bool(mask >> index & 1)) for index, node in enumerate(nodes)]


def _lcm(one: Fraction, other: Fraction) -> Fraction:
    denominator = lcm(one.denominator, other.denominator)
    return Fraction(lcm(int(one * denominator), int(other * denominator)), denominator)
