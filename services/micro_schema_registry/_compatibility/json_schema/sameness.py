"""The comparison of two JSON Schemas keyword by keyword."""

from typing import Any

from micro_schema_registry._compatibility.json_schema.nodes import Contains, Node, Opaque


class Sameness:
    """The comparison of nodes of two documents; each pair is compared once."""

    def __init__(self) -> None:
        self._same: dict[tuple[Node, Node], bool] = {}
        self._assumed: list[tuple[Node, Node]] = []

    def same(self, one: Node, other: Node) -> bool:
        """Tell whether two schemas have equal keywords, annotations apart."""
        if one is other:
            return True
        if one.never != other.never or one.keywords.keys() != other.keywords.keys():
            return False
        answer = self._same.get((one, other))
        if answer is None:
            # While it is asked for: two graphs are the same unless a difference is found.
            self._same[one, other] = True
            first = len(self._assumed)
            self._assumed.append((one, other))
            answer = self._same_values(one.keywords, other.keywords)
            if not answer:
                for pair in self._assumed[first:]:
                    self._same.pop(pair, None)
                del self._assumed[first:]
                self._same[one, other] = False
        return answer

    def _same_values(self, one: dict[Any, Any], other: dict[Any, Any]) -> bool:
        if one.keys() != other.keys():
            return False
        # Plain loops here and below: these calls nest as deep as schemas do.
        for name, value in one.items():  # noqa: SIM110 - as said
            if not self._same_value(value, other[name]):
                return False
        return True

    def _same_value(self, one: Any, other: Any) -> bool:
        if type(one) is not type(other):
            return False
        if isinstance(one, Node):
            return self.same(one, other)
        if isinstance(one, Opaque):
            return one.fixed and one == other
        if isinstance(one, Contains):
            return (one.least, one.most) == (other.least, other.most) and self.same(
                one.node, other.node
            )
        if isinstance(one, tuple):
            return len(one) == len(other) and self._same_values(
                dict(enumerate(one)), dict(enumerate(other))
            )
        if isinstance(one, dict):
            return self._same_values(one, other)
        return bool(one == other)
