"""The proofs of the keywords of a JSON Schema; `proof` lists the rules."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import Any

from micro_schema_registry._compatibility.json_schema.facts import Bound, Facts, Known
from micro_schema_registry._compatibility.json_schema.member_goals import (
    contains,
    items,
    members,
    property_names,
    unevaluated_items,
    unevaluated_properties,
    unique,
)
from micro_schema_registry._compatibility.json_schema.nodes import REFERENCES, Node, Opaque
from micro_schema_registry._compatibility.json_schema.places import escaped
from micro_schema_registry._compatibility.json_schema.proof import Causes, Goal, Prover
from micro_schema_registry._compatibility.json_schema.values import (
    BOUNDS,
    FRACTION,
    INTEGER,
    KIND_OF,
    NUMBERS,
    canonical,
    exact,
    matches,
    matches_everything,
    show,
    surely_multiple,
    types_of,
)
from micro_schema_registry._errors import Cause


def _type(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    lost = facts.types - goal.keywords["type"]
    if not lost:
        return []
    names = {kind for kind in lost if kind not in NUMBERS}
    if lost & NUMBERS:
        names.add("integer" if INTEGER in lost and FRACTION not in lost else "number")
    return [Cause(f"type {', '.join(sorted(names))} is no longer allowed", f"{place}/type")]


def _enum(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    allowed = goal.keywords["enum"]
    if facts.values is not None:
        lost = [value for key, value in facts.values.items() if key not in allowed]
        reason = f"values {show(lost)} are no longer allowed"
    else:
        finite: dict[str, list[Any]] = {"null": [None], "boolean": [False, True]}
        values = [value for kind in facts.types & finite.keys() for value in finite[kind]]
        lost = [value for value in values if canonical(value) not in allowed]
        reason = f"values are now limited to {show(list(allowed.values()))}"
        if facts.types - finite.keys():
            lost = [True]
    return [Cause(reason, f"{place}/enum")] if lost else []


def _bound(keyword: str) -> Callable[[Prover, Known, Facts, Node, str], Causes]:
    strict, lower = keyword.startswith("exclusive"), keyword.endswith("inimum")

    def prove(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
        if not facts.types & NUMBERS:
            return []
        limit = exact(goal.keywords[keyword])
        sign = 1 if lower else -1
        if facts.values is not None:
            numbers = [exact(v) for v in facts.values.values() if types_of(v) & NUMBERS]
            if all(sign * n > sign * limit or (n == limit and not strict) for n in numbers):
                return []
        bound = facts.low if lower else facts.high
        if bound is not None:
            value, open_end = _effective(facts, bound, lower=lower)
            if sign * value > sign * limit or (value == limit and (open_end or not strict)):
                return []
        before = None if bound is None else bound.shown
        return [_changed(keyword, before, goal.keywords[keyword], place)]

    return prove


def _effective(facts: Facts, bound: Bound, *, lower: bool) -> tuple[Fraction, bool]:
    """Return the bound of whole numbers where there are no others."""
    if FRACTION in facts.types:
        return bound.value, bound.strict
    if lower:
        return Fraction(floor(bound.value) + 1 if bound.strict else ceil(bound.value)), False
    return Fraction(ceil(bound.value) - 1 if bound.strict else floor(bound.value)), False


def _multiple(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    if not facts.types & NUMBERS:
        return []
    factor = exact(goal.keywords["multipleOf"])
    steps = [step for step in (facts.multiple,) if step is not None]
    if FRACTION not in facts.types:
        steps.append(Fraction(1))
    if any(surely_multiple(step, factor) for step in steps):
        return []
    if facts.values is not None:
        numbers = [exact(v) for v in facts.values.values() if types_of(v) & NUMBERS]
        if all(surely_multiple(number, factor) for number in numbers):
            return []
    before = None if facts.multiple is None else float(facts.multiple)
    return [_changed("multipleOf", before, goal.keywords["multipleOf"], place)]


def _count(keyword: str) -> Callable[[Prover, Known, Facts, Node, str], Causes]:
    kind, sign = KIND_OF[keyword], 1 if keyword.startswith("min") else -1

    def prove(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
        limit = goal.keywords[keyword]
        if kind not in facts.types or sign * facts.count(keyword) >= sign * limit:
            return []
        if keyword == "minProperties" and len(facts.required) >= limit:
            return []
        if kind == "string" and facts.values is not None:
            texts = [value for value in facts.values.values() if isinstance(value, str)]
            if all(sign * len(text) >= sign * limit for text in texts):
                return []
        return [_changed(keyword, facts.counts.get(keyword), limit, place)]

    return prove


def _pattern(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    pattern = goal.keywords["pattern"]
    if "string" not in facts.types or pattern in facts.patterns or matches_everything(pattern):
        return []
    if facts.values is not None:
        texts = [value for value in facts.values.values() if isinstance(value, str)]
        if all(matches(pattern, text) for text in texts):
            return []
    before = sorted(facts.patterns)
    return [_changed("pattern", before[0] if len(before) == 1 else before or None, pattern, place)]


def _required(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    if "object" not in facts.types:
        return []
    missing = sorted(goal.keywords["required"] - facts.required)
    return [Cause(f"property {name!r} is now required", f"{place}/required") for name in missing]


def _reference(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    causes: Causes = []
    for keyword in REFERENCES:
        target = goal.keywords.get(keyword)
        if isinstance(target, Opaque):
            reason = f"{keyword!r} to {target.reference!r} can only be compared with an equal one"
            causes.append(Cause(reason, f"{place}/{keyword}"))
        elif target is not None:
            causes += prover.prove(known, target, place)
    return causes


def _all_of(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    causes: Causes = []
    for index, node in enumerate(goal.keywords["allOf"]):
        causes += prover.prove(known, node, f"{place}/allOf/{index}")
    return causes


def _any_of(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    return _branches(prover, known, goal.keywords["anyOf"], f"{place}/anyOf")[1]


def _branches(
    prover: Prover, known: Known, nodes: tuple[Node, ...], place: str
) -> tuple[int, Causes]:
    """Return which branch follows, or -1 and why the one that comes nearest does not."""
    nearest: Causes = []
    for index, node in enumerate(nodes):
        at = f"{place}/{index}"
        prover.brief += 1
        causes = prover.prove(known, node, at)
        prover.brief -= 1
        if not causes:
            return index, []
        foreign = any(cause.context in {f"{at}/type", at} for cause in causes)
        if not foreign and (not nearest or len(causes) < len(nearest)):
            nearest = causes
    keyword = place.rpartition("/")[2]
    return -1, nearest or [Cause(f"no branch of {keyword!r} allows all of it", place)]


def _one_of(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    nodes = goal.keywords["oneOf"]
    chosen, causes = _branches(prover, known, nodes, f"{place}/oneOf")
    if causes:
        return causes
    for index, node in enumerate(nodes):
        if index != chosen and not prover.impossible(known | {(node, True)}):
            reason = f"branches {chosen} and {index} of 'oneOf' can hold together"
            causes.append(Cause(reason, f"{place}/oneOf/{index}"))
    return causes


def _not(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    if prover.impossible(known | {(goal.keywords["not"], True)}):
        return []
    return [Cause("'not' now refuses more", f"{place}/not")]


def _if(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    condition = goal.keywords["if"]
    causes: Causes = []
    for keyword, holds in (("then", True), ("else", False)):
        if keyword in goal.keywords:
            case = known | {(condition, holds)}
            if not prover.impossible(case):
                causes += prover.prove(case, goal.keywords[keyword], f"{place}/{keyword}")
    return causes


def _dependent_required(
    prover: Prover, known: Known, facts: Facts, goal: Node, place: str
) -> Causes:
    causes: Causes = []
    for name, names in goal.keywords["dependentRequired"].items():
        case = known | {(prover.derived.object_with(name), True)}
        node = prover.derived.having(*names)
        if prover.prove(case, node, place):
            reason = f"property {name!r} now asks for {sorted(names)}"
            causes.append(Cause(reason, f"{place}/dependentRequired/{escaped(name)}"))
    return causes


def _dependent_schemas(
    prover: Prover, known: Known, facts: Facts, goal: Node, place: str
) -> Causes:
    causes: Causes = []
    for name, node in goal.keywords["dependentSchemas"].items():
        case = known | {(prover.derived.object_with(name), True)}
        causes += prover.prove(case, node, f"{place}/dependentSchemas/{escaped(name)}")
    return causes


def _changed(keyword: str, before: Any, after: Any, place: str) -> Cause:
    return Cause(f"{keyword!r} changed from {show(before)} to {show(after)}", f"{place}/{keyword}")


_REFERENCE = Goal(_reference, 1, by_cases=False)
GOALS: dict[str, Goal] = {
    "type": Goal(_type),
    "enum": Goal(_enum),
    **{keyword: Goal(_bound(keyword)) for keyword in BOUNDS},
    "multipleOf": Goal(_multiple),
    **{keyword: Goal(_count(keyword)) for keyword in KIND_OF},
    "pattern": Goal(_pattern),
    "required": Goal(_required),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties"), Goal(members, 2)),
    "propertyNames": Goal(property_names, 2),
    **dict.fromkeys(("prefixItems", "items"), Goal(items, 2)),
    "uniqueItems": Goal(unique),
    "contains": Goal(contains, 2),
    **dict.fromkeys(REFERENCES, _REFERENCE),
    "allOf": Goal(_all_of, 1, by_cases=False),
    "anyOf": Goal(_any_of, 3, by_type=True),
    "oneOf": Goal(_one_of, 3, by_type=True),
    "not": Goal(_not, 3, by_cases=False),
    "if": Goal(_if, 3, by_cases=False),
    "dependentRequired": Goal(_dependent_required, 1, by_cases=False),
    "dependentSchemas": Goal(_dependent_schemas, 3, by_cases=False),
    "unevaluatedProperties": Goal(unevaluated_properties, 4),
    "unevaluatedItems": Goal(unevaluated_items, 4),
}
