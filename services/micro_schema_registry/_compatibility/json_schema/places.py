"""The facts about members and items of an instance, by classes of names and positions."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf

from micro_schema_registry._compatibility.json_schema.facts import (
    Facts,
    Items,
    Known,
    Members,
    Signed,
    items_of,
    members_of,
)
from micro_schema_registry._compatibility.json_schema.nodes import REFERENCES, Node, Opaque
from micro_schema_registry._compatibility.json_schema.values import matches, matches_everything

_MANY_PATTERNS = 4


@dataclass(frozen=True)
class Name:
    """One name, or with `text` None all unmentioned names that match some patterns."""

    text: str | None
    matching: frozenset[str] = frozenset()
    other: frozenset[str] = frozenset()

    def fits(self, pattern: str) -> bool | None:
        """Return whether the name matches a pattern, None if that is not known."""
        if self.text is not None:
            return matches(pattern, self.text)
        if pattern in self.matching or matches_everything(pattern):
            return True
        return False if pattern in self.other else None


def names_of(
    groups: Iterable[Members], asked: Iterable[str], known: frozenset[str] = frozenset()
) -> Iterator[Name]:
    """Yield classes that together hold every name.

    Args:
        groups: The assertions of both sides about members.
        asked: The patterns of the side that has to be proven.
        known: Patterns that all names match.
    """
    groups = list(groups)
    yield from (Name(name) for name in sorted({name for group in groups for name in group.named}))
    patterns = {pattern for group in groups for pattern, _ in group.patterns} - known
    if len(patterns) <= _MANY_PATTERNS:
        ordered = sorted(patterns)
        for mask in range(2 ** len(ordered)):
            matching = {pattern for index, pattern in enumerate(ordered) if mask >> index & 1}
            yield Name(None, known | matching, frozenset(patterns - matching))
    else:
        asked = frozenset(asked) - known
        yield Name(None, known, asked)
        yield from (Name(None, known | {pattern}) for pattern in sorted(asked))


def asked_of(group: Members, name: Name) -> Iterator[tuple[Signed, str]]:
    """Yield the schemas that a schema may assert for a name, each with its keyword."""
    if name.text in group.named:
        yield group.named[name.text or ""], "properties"
    fits = {pattern: name.fits(pattern) for pattern, _ in group.patterns}
    for pattern, signed in group.patterns:
        if fits[pattern] is not False:
            yield signed, f"patternProperties/{escaped(pattern)}"
    if group.rest is not None and name.text not in group.named and True not in fits.values():
        yield group.rest, "additionalProperties"


def known_at(facts: Facts, name: Name) -> Known:
    """Return the schemas that surely hold for the member of a name."""
    known: set[Signed] = set()
    for group in facts.members:
        fits = [(name.fits(pattern), signed) for pattern, signed in group.patterns]
        known |= {signed for fit, signed in fits if fit}
        if name.text in group.named:
            known.add(group.named[name.text or ""])
        elif group.rest is not None and all(fit is False for fit, _ in fits):
            known.add(group.rest)
    perhaps = partial(evaluates_name, name=name, surely=False)
    for node in facts.unevaluated:
        rest = node.keywords.get("unevaluatedProperties")
        if rest is not None and not _may_evaluate(facts, node, perhaps):
            known.add((rest, True))
    return frozenset(known)


def known_at_index(facts: Facts, index: float) -> Known:
    """Return the schemas that surely hold for an item; infinity is an unmentioned position."""
    known = {signed for group in facts.items if (signed := item_at(group, index)) is not None}
    for node in facts.unevaluated:
        rest = node.keywords.get("unevaluatedItems")
        if rest is not None and not _may_evaluate(facts, node, lambda one: _positions(one, index)):
            known.add((rest, True))
    return frozenset(known)


def item_at(group: Items, index: float) -> Signed | None:
    """Return the schema that is asserted for a position."""
    return group.first[int(index)] if index < len(group.first) else group.rest


def positions_of(facts: Facts, groups: Iterable[Items] = ()) -> Iterator[float]:
    """Yield the positions that schemas mention and an array can have; infinity for the others."""
    every = [
        *facts.items,
        *groups,
        *(items_of(n) for node in facts.unevaluated for n in reachable(node)),
    ]
    last = max((len(group.first) for group in every), default=0)
    most = facts.count("maxItems")
    yield from (index for index in range(last) if index < most)
    if last < most:
        yield inf


def escaped(token: str) -> str:
    """Return a name as a part of a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def in_place(
    node: Node,
    holds: Callable[[Node], bool],
    fails: Callable[[Node], bool],
    has: Callable[[str], bool],
) -> Iterator[Node | None]:
    """Yield the schemas that apply to the same instance; None for an `Opaque` reference.

    Args:
        node: The schema.
        holds: Whether a branch counts.
        fails: Whether an `else` counts, by its condition.
        has: Whether a `dependentSchemas` counts, by its name.
    """
    todo, seen = [node], set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        yield one
        get = one.keywords.get
        for reference in REFERENCES:
            target = get(reference)
            if isinstance(target, Opaque):
                yield None
            elif target is not None:
                todo.append(target)
        todo += get("allOf", ())
        todo += [branch for name in ("anyOf", "oneOf") for branch in get(name, ()) if holds(branch)]
        todo += [branch for name, branch in get("dependentSchemas", {}).items() if has(name)]
        condition = get("if")
        if condition is not None:
            todo += [condition, get("then", condition)] if holds(condition) else []
            todo += [one.keywords["else"]] if "else" in one.keywords and fails(condition) else []


def reachable(node: Node) -> Iterator[Node]:
    """Yield all schemas that may apply to the same instance as one does."""
    for one in in_place(node, lambda _: True, lambda _: True, lambda _: True):
        if one is not None:
            yield one


def evaluates_name(node: Node, name: Name, *, surely: bool = True) -> bool:
    """Tell whether the keywords of one schema surely, or perhaps, evaluate a name."""
    group = members_of(node)
    if name.text in group.named:
        return True
    if group.rest is not None and (node.rest_is_evaluated or not surely):
        return True
    fits = [name.fits(pattern) for pattern, _ in group.patterns]
    return True in fits or (None in fits and not surely)


def evaluates_index(node: Node, index: float) -> bool:
    """Tell whether the keywords of one schema surely evaluate a position."""
    return item_at(items_of(node), index) is not None


def _positions(node: Node, index: float) -> bool:
    return evaluates_index(node, index) or "contains" in node.keywords


def _may_evaluate(facts: Facts, root: Node, evaluates: Callable[[Node], bool]) -> bool:
    def holds(node: Node) -> bool:
        return (node, False) not in facts.signed

    def fails(node: Node) -> bool:
        return (node, True) not in facts.signed

    for node in in_place(root, holds, fails, lambda _: True):
        if node is None or evaluates(node):
            return True
        if node is not root and node.keywords.keys() & {
            "unevaluatedProperties",
            "unevaluatedItems",
        }:
            return True
    return False
