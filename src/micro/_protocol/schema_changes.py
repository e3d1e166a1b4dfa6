"""The comparison of two JSON Schemas: whether a reader understands what a writer sends.

It knows the forms that pydantic writes. A keyword that it does not know proves nothing, so no
difference is reported for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME = ("pattern", "format", "multipleOf")
_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


class Difference(NamedTuple):
    """A place where the reader does not understand the writer.

    Attributes:
        member: The path of the member, such as `items.0.price`; empty for the payload itself.
        reason: The difference.
    """

    member: str
    reason: str


def differences(written: Schema, read: Schema, *, all_sent: bool = False) -> list[Difference]:
    """Return the places where a reader does not understand what a writer sends.

    Documents that are no JSON Schemas, or nested very deeply, have no differences.

    Args:
        written: The schema of the writer.
        read: The schema of the reader.
        all_sent: Whether the writer sends members that its schema does not require, too.
    """
    try:
        return list(_Comparison(written, read, all_sent).compare(written, read, ()))
    except (TypeError, AttributeError, ValueError, RecursionError):
        return []


class _Comparison:
    """The comparison of two documents, which resolves their references."""

    def __init__(self, written: Schema, read: Schema, all_sent: bool) -> None:
        self._written = written
        self._read = read
        self._all_sent = all_sent
        self._open: set[tuple[str, str]] = set()  # pairs of references under comparison

    def compare(self, written: Any, read: Any, place: tuple[str, ...]) -> Iterator[Difference]:
        """Yield the differences of two schemas at a place."""
        pair = (_reference(written), _reference(read))
        if pair != ("", ""):
            if pair in self._open:
                return
            self._open.add(pair)
        try:
            yield from self._resolved(
                _resolve(written, self._written), _resolve(read, self._read), place
            )
        finally:
            self._open.discard(pair)

    def _resolved(self, written: Any, read: Any, place: tuple[str, ...]) -> Iterator[Difference]:
        if not isinstance(written, Mapping) or not isinstance(read, Mapping):
            return  # true or false, which pydantic does not write here
        if branches := _branches(written):
            for branch in branches:
                yield from self.compare(branch, read, place)
        elif branches := _branches(read):
            yield from self._closest(written, branches, place)
        else:
            yield from self._plain(written, read, place)

    def _closest(
        self, written: Any, branches: Iterable[Any], place: tuple[str, ...]
    ) -> Iterator[Difference]:
        """Yield the differences from the branch that has fewest, and the deepest ones."""
        outcomes = [list(self.compare(written, branch, place)) for branch in branches]
        depth = len(place)

        def order(differences: list[Difference]) -> tuple[bool, int]:
            here = ".".join(place)
            return any(each.member == here for each in differences), len(differences) + depth

        yield from min(outcomes, key=order)

    def _plain(self, written: Any, read: Any, place: tuple[str, ...]) -> Iterator[Difference]:
        values = _values(written)
        expected = _values(read)
        if expected is not None:
            missing = [each for each in values or () if each not in expected]
            if values is None and written:
                yield _difference(place, f"any value is sent, expected one of {expected!r}")
            elif missing:
                yield _difference(place, f"{missing[0]!r} is sent, expected one of {expected!r}")
            return
        kind, wanted = _kind(written, values), read.get("type")
        if isinstance(wanted, str) and kind and not _fits(kind, wanted):
            yield _difference(place, f"{kind} is sent, expected {wanted}")
            return
        if values is None:
            yield from self._narrowed(written, read, place)
        if wanted == "object":
            yield from self._object(written, read, place)
        elif wanted == "array":
            yield from self._array(written, read, place)

    def _narrowed(self, written: Any, read: Any, place: tuple[str, ...]) -> Iterator[Difference]:
        if not written:
            return  # any value: nothing is known
        for key in _LOWER:
            if key in read and written.get(key, read[key] - 1) < read[key]:
                yield _difference(place, f"{key} {read[key]!r} is expected")
        for key in _UPPER:
            if key in read and written.get(key, read[key] + 1) > read[key]:
                yield _difference(place, f"{key} {read[key]!r} is expected")
        for key in _SAME:
            if key in read and written.get(key) != read[key]:
                yield _difference(place, f"{key} {read[key]!r} is expected")

    def _object(self, written: Any, read: Any, place: tuple[str, ...]) -> Iterator[Difference]:
        sent, known = written.get("properties", {}), read.get("properties", {})
        required, others = written.get("required", ()), read.get("additionalProperties")
        for name in read.get("required", ()):
            if name not in sent:
                yield _difference((*place, name), "it is required, and never sent")
            elif not (self._all_sent or name in required or "default" in sent[name]):
                yield _difference((*place, name), "it is required, and not always sent")
        for name, schema in sent.items():
            if name in known:
                yield from self.compare(schema, known[name], (*place, name))
            elif isinstance(others, Mapping):
                yield from self.compare(schema, others, (*place, name))
            elif others is False or (self._all_sent and others is None and name in required):
                yield _difference((*place, name), "it is sent, and not known")
        more = written.get("additionalProperties")
        if isinstance(more, Mapping) and isinstance(others, Mapping):
            yield from self.compare(more, others, (*place, "*"))

    def _array(self, written: Any, read: Any, place: tuple[str, ...]) -> Iterator[Difference]:
        sent, expected = written.get("prefixItems", ()), read.get("prefixItems", ())
        rest, others = written.get("items"), read.get("items")
        for number in range(max(len(sent), len(expected))):
            one = sent[number] if number < len(sent) else rest
            other = expected[number] if number < len(expected) else others
            if isinstance(one, Mapping) and isinstance(other, Mapping):
                yield from self.compare(one, other, (*place, str(number)))
        if isinstance(rest, Mapping) and isinstance(others, Mapping):
            yield from self.compare(rest, others, (*place, "*"))


def _reference(schema: Any) -> str:
    target = schema.get("$ref") if isinstance(schema, Mapping) else None
    return target if isinstance(target, str) else ""


def _resolve(schema: Any, document: Schema) -> Any:
    """Return a schema with its reference replaced; with nothing in place of one that leads nowhere.

    A chain of references ends after as many steps as there are definitions.
    """
    for _ in range(1 + len(document.get("$defs", ()))):
        target = _reference(schema)
        if not target:
            return schema
        schema = document.get("$defs", {}).get(target.removeprefix("#/$defs/"), {})
    return {}


def _branches(schema: Schema) -> list[Any]:
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return [*schema[key]]
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
        return [*schema["allOf"]]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return []


def _values(schema: Schema) -> list[Any] | None:
    """Return the only values that a schema allows; None without such a list."""
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None


def _kind(schema: Schema, values: list[Any] | None) -> str:
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind
    return _TYPES.get(type(values[0]), "") if values else ""


def _fits(kind: str, wanted: str) -> bool:
    return kind == wanted or (kind, wanted) == ("integer", "number")


def _difference(place: tuple[str, ...], reason: str) -> Difference:
    return Difference(".".join(place), reason)
