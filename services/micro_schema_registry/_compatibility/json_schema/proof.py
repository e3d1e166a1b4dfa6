"""Whether every instance that is valid under one JSON Schema is valid under another.

The proof is a search in a sequent calculus: on the left stand schemas that are known to hold for an
instance, or not to hold; on the right one schema that has to follow. A schema that no rule proves
is refused, so a wrong "yes" needs a wrong rule:

- A schema follows if it equals one that is known, if the left side is impossible, or if each of its
  assertions follows.
- An assertion of a scalar (`type`, `enum`, bounds, lengths, `pattern`) follows from the facts of
  the left side together. `pattern` follows from the same pattern, or from values that are known.
- An assertion of members or items follows if it does for each class of names or positions: a name
  that either side knows, or any other name, for each set of patterns that it can match. Below, the
  schemas of the left side that apply are known.
- `allOf` and `$ref` follow if all parts do; `anyOf` if one part does; `oneOf` if one does and no
  other is possible beside it; `not` if its schema is impossible beside the left side; `if` by both
  cases, each with its condition known.
- A choice on the left (`anyOf`, `oneOf`, `if`, `dependent...`, several types or values) is split
  into cases: all must prove.
- `unevaluated...` follows for a name if the left side proves one of the branches that evaluate it,
  or the value. As something known it says only what no branch of its schema can evaluate.
- A goal that turns up below itself, at a smaller part of the instance, is taken for proven
  (induction over instances).
- `format` and `content...` are annotations. References to meta-schemas and dynamic ones only follow
  from equal ones.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from micro_schema_registry._compatibility.json_schema.collecting import facts_of
from micro_schema_registry._compatibility.json_schema.facts import DerivedSchemas, Facts, Known
from micro_schema_registry._compatibility.json_schema.nodes import Node
from micro_schema_registry._compatibility.json_schema.places import (
    Name,
    known_at,
    known_at_index,
    positions_of,
)
from micro_schema_registry._compatibility.json_schema.sameness import Sameness
from micro_schema_registry._compatibility.json_schema.values import NUMBERS
from micro_schema_registry._errors import Cause

Causes = list[Cause]
Prove = Callable[["Prover", Known, Facts, Node, str], Causes]
_MAX_STEPS = 60_000
_MAX_NESTED = 20_000
_MAX_SPLITS = 7
_MAX_CASES = 64
_LONG_PLACE = 100  # longer ones start at the last definition that a reference led to
MAX_CAUSES = 20


Sequent = tuple[Known, Node]


class TooComplexError(Exception):
    """The proof was given up."""


@dataclass(frozen=True, eq=False)
class Goal:
    """How an assertion is proven.

    Attributes:
        prove: Return why it does not follow.
        rank: When it is its turn: 0 for those that look at the instance alone.
        by_cases: Whether a choice on the left may help.
        by_type: Whether it may help to look at types and values one by one.
    """

    prove: Prove
    rank: int = 0
    by_cases: bool = True
    by_type: bool = False


class Prover:
    """The search for one proof, with its results so far.

    Args:
        goals: How each keyword is proven.
        thorough: Whether the proof tells which branches hold, as `unevaluated...` needs it.
    """

    def __init__(self, goals: dict[str, Goal], *, thorough: bool) -> None:
        self.derived = DerivedSchemas()
        self.place = "#"  # for the message when the proof is given up
        self.brief = 0  # above 0 one cause is enough: the search tries one of several ways
        self._goals = goals
        self._thorough = thorough
        self._steps = 0
        self._depth = 0
        self._splits = 0
        self._facts: dict[Known, Facts] = {}
        self._proven: set[Sequent] = set()
        self._refused: dict[Sequent, Causes] = {}
        # The goals that the search is at, outermost first: their order, depths in the instance, and
        # how much was provisional when they began.
        self._active: dict[Sequent, int] = {}
        self._depths: list[int] = []
        self._starts: list[int] = []
        # Proven as long as the active goals are, in the order of their proofs.
        self._provisional: dict[Sequent, int] = {}
        self._lowest = _NONE  # the outermost active goal that was taken for proven
        self._impossible: dict[Known, bool] = {}
        self._sameness = Sameness()

    def prove(self, known: Known, goal: Node, place: str) -> Causes:
        """Return why a schema does not follow from the known schemas; nothing if it does."""
        if goal.always or (goal, True) in known:
            return []
        key = (known, goal)
        if key in self._proven or self._holds_here(key):
            return []
        if key in self._refused:
            return self._refused[key]
        index = self._active.get(key)
        if index is None:
            return self._search(key, place)
        if self._depths[index] >= self._depth:
            return [Cause("the schema refers to itself without end", place)]
        self._lowest = min(self._lowest, index)
        return []

    def _holds_here(self, key: Sequent) -> bool:
        """Tell whether a sequent was proven from goals that are active, for larger instances."""
        position = self._provisional.get(key)
        if position is None:
            return False
        goals = bisect_right(self._starts, position)  # those that were active when it was proven
        if goals and self._depths[goals - 1] >= self._depth:
            return False
        self._lowest = 0
        return True

    def below(self, known: Known, goal: Node, place: str) -> Causes:
        """Prove a schema for a member or an item of the instance."""
        splits, self._splits = self._splits, 0
        self._depth += 1
        try:
            return self.prove(known, goal, place)
        finally:
            self._depth -= 1
            self._splits = splits

    def impossible(self, known: Known) -> bool:
        """Tell whether no instance can fit; False where that is not proven."""
        facts = self.facts(known)
        if facts.impossible:
            return True
        answer = self._impossible.get(known)
        if answer is None:
            self._impossible[known] = False  # while it is asked for: instances are finite
            lowest, self._lowest = self._lowest, _NONE
            self.brief += 1
            answer = self._contradiction(known, facts)
            self.brief -= 1
            # It may only hold while a goal is taken for proven.
            self._impossible[known] = answer and self._lowest == _NONE
            self._lowest = min(lowest, self._lowest)
        return answer

    def impossible_below(self, known: Known) -> bool:
        """Tell whether no member or item can fit."""
        splits, self._splits = self._splits, 0
        self._depth += 1
        try:
            return self.impossible(known)
        finally:
            self._depth -= 1
            self._splits = splits

    def facts(self, known: Known) -> Facts:
        """Return the facts that follow from the known schemas."""
        facts = self._facts.get(known)
        if facts is None:
            self._step()
            facts = facts_of(known, self.derived, thorough=self._thorough)
            self._facts[known] = facts
        return facts

    def _search(self, key: tuple[Known, Node], place: str) -> Causes:
        self._step()
        index = len(self._active)
        if len(place) > _LONG_PLACE and key[1].location:
            place = key[1].location
        self.place = place
        if index > _MAX_NESTED:
            raise TooComplexError
        start = len(self._provisional)
        self._active[key] = index
        self._depths.append(self._depth)
        self._starts.append(start)
        lowest, self._lowest = self._lowest, _NONE
        known, goal = key  # no `*key` below: a call that unpacks takes room on the stack of C
        causes = self._all_goals(known, goal, place)
        self._active.popitem()
        self._depths.pop()
        self._starts.pop()
        if causes:
            # Sequents that were proven meanwhile may depend on this goal.
            self._take_back(start)
            self._refused[key] = causes
        elif self._lowest >= index:
            self._proven.update(self._take_back(start))
            self._proven.add(key)
            self._lowest = _NONE
        else:
            self._provisional.setdefault(key, len(self._provisional))
        self._lowest = min(lowest, self._lowest)
        return causes

    def _take_back(self, start: int) -> list[Sequent]:
        """Remove and return the sequents that were proven from active goals since `start`."""
        return [self._provisional.popitem()[0] for _ in range(len(self._provisional) - start)]

    def _all_goals(self, known: Known, goal: Node, place: str) -> Causes:
        facts = self.facts(known)
        if facts.impossible:
            return []
        for node, holds in facts.signed:
            if holds and self._sameness.same(node, goal):
                return []
        if goal.never:
            return (
                []
                if self.impossible(known)
                else [Cause("nothing is allowed here any more: the schema is `false`", place)]
            )
        causes: Causes = []
        # Keywords that only mean something together share a rule; those that look no further come
        # first.
        rules = dict.fromkeys(self._goals[name] for name in goal.keywords if name in self._goals)
        for rule in sorted(rules, key=lambda rule: rule.rank):
            if causes and (self.brief or len(causes) >= MAX_CAUSES):
                break
            causes += self._one_goal(rule, known, goal, place)
        return causes[:MAX_CAUSES]

    def _one_goal(self, rule: Goal, known: Known, goal: Node, place: str) -> Causes:
        """Prove one assertion, in the end by cases."""
        facts = self.facts(known)
        if facts.impossible:
            return []
        causes = rule.prove(self, known, facts, goal, place)
        if not causes or self.impossible(known):
            return []
        cases = self._cases(rule, facts) if self._splits < _MAX_SPLITS else []
        self._splits += 1
        try:
            for case in cases:
                causes = self._one_goal(rule, known | case, goal, place)
                if causes:
                    return causes
        finally:
            self._splits -= 1
        return [] if cases else causes

    def _cases(self, rule: Goal, facts: Facts) -> list[Known]:
        if rule.by_cases and facts.choices:
            return min(facts.choices, key=len)
        return self._cases_of(facts) if rule.by_type else []

    def _cases_of(self, facts: Facts) -> list[Known]:
        """Divide instances by type, else by value, else by the values of a required member."""
        derived = self.derived
        kinds = {("number" if kind in NUMBERS else kind) for kind in facts.types}
        if len(kinds) > 1:
            numbers = sorted(facts.types & NUMBERS)
            types = [numbers if kind == "number" else [kind] for kind in sorted(kinds)]
            return [frozenset({(derived.of_types(*kind), True)}) for kind in types]
        values = [False, True] if facts.values is None else list(facts.values.values())
        if facts.values is not None or kinds == {"boolean"}:
            nodes = [derived.equal_to(value) for value in values]
        else:
            nodes = self._cases_by_member(facts)
        return [frozenset({(node, True)}) for node in nodes] if 1 < len(nodes) <= _MAX_CASES else []

    def _cases_by_member(self, facts: Facts) -> list[Node]:
        for name in sorted(facts.required):
            values = self.facts(known_at(facts, Name(name))).values
            if values is not None and 1 < len(values) <= _MAX_CASES:
                derived = self.derived
                return [derived.member(name, derived.equal_to(value)) for value in values.values()]
        return []

    def _contradiction(self, known: Known, facts: Facts) -> bool:
        """Tell whether the known schemas contradict each other."""
        if facts.types == {"object"}:
            for name in sorted(facts.required):
                if self.impossible_below(known_at(facts, Name(name))):
                    return True
        if facts.types == {"array"} and self._array_contradiction(facts):
            return True
        for node in facts.denied:
            if not self.prove(known, node, "#"):
                return True
        if self._splits >= _MAX_SPLITS:
            return False
        cases = min(facts.choices, key=len) if facts.choices else []
        self._splits += 1
        try:
            for case in cases:
                if not self.impossible(known | case):
                    return False
            return bool(cases)
        finally:
            self._splits -= 1

    def _array_contradiction(self, facts: Facts) -> bool:
        least = facts.count("minItems")
        places = [(index, known_at_index(facts, index)) for index in positions_of(facts)]
        for index, known in places:
            needed = index < least if index != inf else least > len(places) - 1
            if needed and self.impossible_below(known):
                return True
        for wanted in facts.contains:
            possible = wanted.least <= 0
            for _, known in places:
                possible = possible or not self.impossible_below(known | {(wanted.node, True)})
            if not possible:
                return True
        return False

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise TooComplexError


_NONE = 1 << 60
