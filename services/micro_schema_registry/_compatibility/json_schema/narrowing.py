"""The removal of types and values that no instance can have."""

from collections.abc import Hashable
from fractions import Fraction
from math import ceil, floor
from typing import Any

from micro_schema_registry._compatibility.json_schema.facts import (
    DerivedSchemas,
    Facts,
    Items,
    Members,
)
from micro_schema_registry._compatibility.json_schema.nodes import FALSE
from micro_schema_registry._compatibility.json_schema.values import (
    COUNTS,
    FRACTION,
    NUMBERS,
    canonical,
    exact,
    matches,
    types_of,
)


def narrow(facts: Facts, derived: DerivedSchemas) -> None:
    """Remove types that no instance can have, and values that do not fit."""
    if facts.multiple is not None and facts.multiple.denominator == 1:
        facts.types -= {FRACTION}
    if facts.values is not None:
        facts.values = {key: v for key, v in facts.values.items() if _fits(facts, key, v)}
        facts.types &= frozenset().union(*(types_of(value) for value in facts.values.values()))
        _values_as_facts(facts, derived)
    for kind, (least, most) in COUNTS.items():
        if facts.count(least) > facts.count(most):
            facts.types -= {kind}
    if "object" in facts.types and len(facts.required) > facts.count("maxProperties"):
        facts.types -= {"object"}
    if not _numbers_left(facts):
        facts.types -= NUMBERS


def _numbers_left(facts: Facts) -> bool:
    low, high = facts.low, facts.high
    if low is None or high is None or not facts.types & NUMBERS:
        return True
    if FRACTION in facts.types:
        return low.value < high.value or (
            low.value == high.value and not (low.strict or high.strict)
        )
    first = floor(low.value) + 1 if low.strict else ceil(low.value)
    last = ceil(high.value) - 1 if high.strict else floor(high.value)
    return first <= last


def _fits(facts: Facts, key: Hashable, value: Any) -> bool:
    """Tell whether a value may fit the facts that need no proof."""
    types = types_of(value)
    if key in facts.excluded or not types & facts.types:
        return False
    if types & NUMBERS:
        return _number_fits(facts, exact(value))
    if isinstance(value, bool) or value is None:
        return True
    (kind,) = types
    least, most = COUNTS[kind]
    if not facts.count(least) <= len(value) <= facts.count(most):
        return False
    if kind == "string":
        return not (
            any(matches(pattern, value) is False for pattern in facts.patterns)
            or any(matches(pattern, value) for pattern in facts.denied_patterns)
        )
    return kind == "array" or all(name in value for name in facts.required)


def _number_fits(facts: Facts, number: Fraction) -> bool:
    low, high = facts.low, facts.high
    if low is not None and (number < low.value or (low.strict and number == low.value)):
        return False
    if high is not None and (number > high.value or (high.strict and number == high.value)):
        return False
    return facts.multiple is None or (number / facts.multiple).denominator == 1


def _values_as_facts(facts: Facts, derived: DerivedSchemas) -> None:
    values = list((facts.values or {}).values())
    if len(values) > 1 and any(isinstance(value, dict | list) for value in values):
        facts.choices.append([frozenset({(derived.equal_to(value), True)}) for value in values])
    if len(values) != 1:
        return
    (value,) = values
    if isinstance(value, dict):
        named = {name: (derived.equal_to(member), True) for name, member in value.items()}
        facts.members.append(Members(named, (), (FALSE, True)))
        facts.required |= value.keys()
    elif isinstance(value, list):
        facts.items.append(
            Items(tuple((derived.equal_to(item), True) for item in value), (FALSE, True))
        )
        facts.unique = facts.unique or len({canonical(item) for item in value}) == len(value)
    if isinstance(value, str | dict | list):
        kind = next(iter(types_of(value)))
        facts.counts.update(dict.fromkeys(COUNTS[kind], len(value)))
