"""The proofs of keywords about members and items; `proof` lists the rules."""

from collections.abc import Iterable
from math import inf

from micro_schema_registry._compatibility.json_schema.facts import (
    Facts,
    Known,
    Members,
    items_of,
    members_of,
)
from micro_schema_registry._compatibility.json_schema.nodes import Contains, Node
from micro_schema_registry._compatibility.json_schema.places import (
    Name,
    asked_of,
    escaped,
    evaluates_index,
    evaluates_name,
    in_place,
    item_at,
    known_at,
    known_at_index,
    names_of,
    positions_of,
    reachable,
)
from micro_schema_registry._compatibility.json_schema.proof import MAX_CAUSES, Causes, Prover
from micro_schema_registry._errors import Cause


def members(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    """Prove the assertions of `properties`, `patternProperties` and `additionalProperties`."""
    if "object" not in facts.types or facts.count("maxProperties") == 0:
        return []
    group = members_of(goal)
    causes: Causes = []
    names = _names(prover, facts, [group], [pattern for pattern, _ in group.patterns])
    for name in sorted(names, key=lambda name: _rank(group, name)):
        if len(causes) >= MAX_CAUSES or (causes and prover.brief):
            break
        below = known_at(facts, name)
        for (node, _), keyword in asked_of(group, name):
            token = f"properties/{escaped(name.text or '')}" if keyword == "properties" else keyword
            refused = prover.below(below, node, f"{place}/{token}")
            if refused:
                causes += _member_causes(name, node, below, refused, f"{place}/{token}")
    return causes


def _rank(group: Members, name: Name) -> bool:
    """Return False for names that distinguish the branches of a union; they come first."""
    node, _ = group.named.get(name.text or "", (None, True))
    return node is None or "enum" not in node.keywords


def _member_causes(name: Name, node: Node, below: Known, refused: Causes, place: str) -> Causes:
    if node.never:
        which = "additional properties are" if name.text is None else f"property {name.text!r} is"
        return [Cause(f"{which} no longer allowed", place)]
    if not below and name.text is not None:
        reason = (
            f"property {name.text!r} is new where any value was allowed under that name: "
            "expected 'additionalProperties': false from the start"
        )
        return [Cause(reason, place)]
    return refused


def _names(
    prover: Prover, facts: Facts, groups: Iterable[Members], asked: Iterable[str]
) -> list[Name]:
    """Return classes of all names that an instance can have."""
    hidden = (members_of(one) for node in facts.unevaluated for one in reachable(node))
    every = [*facts.members, *hidden, *groups]
    if not facts.names:
        return list(names_of(every, asked))
    limits = prover.facts(_string(prover, facts))
    if limits.values is not None:
        return [Name(text) for text in limits.values.values() if isinstance(text, str)]
    return list(names_of(every, asked, frozenset(limits.patterns)))


def _string(prover: Prover, facts: Facts) -> Known:
    return frozenset({(prover.derived.of_types("string"), True), *facts.names})


def property_names(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    """Prove `propertyNames`."""
    if "object" not in facts.types or facts.count("maxProperties") == 0:
        return []
    node, derived = goal.keywords["propertyNames"], prover.derived
    for name in _names(prover, facts, [], []):
        if prover.impossible_below(known_at(facts, name)):
            continue
        text = _string(prover, facts)
        if name.text is not None:
            text |= {(derived.equal_to(name.text), True)}
        text |= {(derived.matching(pattern), True) for pattern in name.matching}
        causes = prover.below(text, node, f"{place}/propertyNames")
        if causes:
            return causes
    return []


def items(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    """Prove the assertions of `prefixItems` and `items`."""
    if "array" not in facts.types:
        return []
    group = items_of(goal)
    causes: Causes = []
    for index in positions_of(facts, [group]):
        signed = item_at(group, index)
        if signed is not None:
            first = index < len(group.first)
            token = f"prefixItems/{index}" if first else "items"
            causes += prover.below(known_at_index(facts, index), signed[0], f"{place}/{token}")
    return causes


def unique(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    """Prove `uniqueItems`."""
    if "array" not in facts.types or facts.unique or facts.count("maxItems") <= 1:
        return []
    return [Cause("items must now be unique", f"{place}/uniqueItems")]


def contains(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    """Prove `contains` with its counts."""
    if "array" not in facts.types:
        return []
    wanted: Contains = goal.keywords["contains"]
    causes = []
    places = [(index, known_at_index(facts, index)) for index in positions_of(facts)]
    if wanted.least > 0 and _surely_contained(prover, facts, wanted, places) < wanted.least:
        reason = "'contains' or 'minContains' now asks for items that need not be there"
        causes.append(Cause(reason, f"{place}/contains"))
    if wanted.most is not None and not _at_most(prover, facts, wanted, places):
        causes.append(Cause("'maxContains' now allows fewer items", f"{place}/maxContains"))
    return causes


def _surely_contained(
    prover: Prover, facts: Facts, wanted: Contains, places: list[tuple[float, Known]]
) -> float:
    """Return the number of items that fit at least."""
    counts = [0.0]
    for other in facts.contains:
        fits = frozenset({(other.node, True)})
        if _all_follow(prover, places, fits, wanted.node):
            counts.append(other.least)
    least = facts.count("minItems")
    sure = 0.0
    for index, known in places:
        positions = 1.0 if index < least else 0.0
        if index == inf:
            positions = max(0.0, least - (len(places) - 1))
        if positions and not prover.below(known, wanted.node, f"{prover.place}/contains"):
            sure += positions
    return max(*counts, sure)


def _all_follow(prover: Prover, places: list[tuple[float, Known]], fits: Known, goal: Node) -> bool:
    for _, known in places:
        if prover.below(known | fits, goal, f"{prover.place}/contains"):
            return False
    return True


def _at_most(
    prover: Prover, facts: Facts, wanted: Contains, places: list[tuple[float, Known]]
) -> bool:
    """Tell whether no more items fit than are wanted."""
    most = inf if wanted.most is None else wanted.most
    fits = frozenset({(wanted.node, True)})
    for other in facts.contains:
        covers = other.most is not None and other.most <= most
        if covers and _all_follow(prover, places, fits, other.node):
            return True
    possible = 0.0
    for index, known in places:
        if not prover.impossible_below(known | fits):
            possible += 1 if index != inf else facts.count("maxItems") - (len(places) - 1)
    return possible <= most


def _evaluators(prover: Prover, known: Known, goal: Node) -> list[Node]:
    """Return the schemas that surely apply and hold beside `unevaluated...`."""

    def holds(node: Node) -> bool:
        return not prover.prove(known, node, prover.place)

    def fails(node: Node) -> bool:
        return prover.impossible(known | {(node, True)})

    def has(name: str) -> bool:
        return not prover.prove(known, prover.derived.object_with(name), prover.place)

    return [node for node in in_place(goal, holds, fails, has) if node is not None]


def _all_evaluated(nodes: list[Node], goal: Node, keyword: str) -> bool:
    return any(node is not goal and keyword in node.keywords for node in nodes)


def unevaluated_properties(
    prover: Prover, known: Known, facts: Facts, goal: Node, place: str
) -> Causes:
    """Prove `unevaluatedProperties`."""
    if "object" not in facts.types or facts.count("maxProperties") == 0:
        return []
    evaluators = _evaluators(prover, known, goal)
    if _all_evaluated(evaluators, goal, "unevaluatedProperties"):
        return []
    groups = [members_of(node) for node in evaluators]
    asked = [pattern for group in groups for pattern, _ in group.patterns]
    at, causes = f"{place}/unevaluatedProperties", []
    node = goal.keywords["unevaluatedProperties"]
    for name in _names(prover, facts, groups, asked):
        if not any(evaluates_name(one, name) for one in evaluators):
            below = known_at(facts, name)
            refused = prover.below(below, node, at)
            causes += _member_causes(name, node, below, refused, at) if refused else []
    return causes[:MAX_CAUSES]


def unevaluated_items(prover: Prover, known: Known, facts: Facts, goal: Node, place: str) -> Causes:
    """Prove `unevaluatedItems`."""
    if "array" not in facts.types:
        return []
    evaluators = _evaluators(prover, known, goal)
    if _all_evaluated(evaluators, goal, "unevaluatedItems"):
        return []
    causes: Causes = []
    for index in positions_of(facts, [items_of(node) for node in evaluators]):
        if not any(evaluates_index(node, index) for node in evaluators):
            below = known_at_index(facts, index)
            node = goal.keywords["unevaluatedItems"]
            causes += prover.below(below, node, f"{place}/unevaluatedItems")
    return causes
