"""Where a JSON Schema became narrower: what jsoncompat does not look at, and words for its bare verdict.

Both walk reader and writer side by side. ``blind_spots`` decides by itself and is therefore strict: a keyword that cannot be
compared must be equal. ``explain`` is only asked when the verdict is "no", and knows the common cases.
"""

from collections.abc import Callable, Iterator
from typing import Any

from micro_schema_registry._errors import Cause

_UNCOMPARED = ("pattern", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

Rule = Callable[[dict[str, Any], dict[str, Any]], Iterator[str]]


def blind_spots(reader: Any, writer: Any) -> list[Cause]:
    """Return changes in keywords that jsoncompat takes for compatible whatever they say."""
    return _walk(reader, writer, (_uncompared,))


def explain(reader: Any, writer: Any) -> list[Cause]:
    """Return the common reasons why documents of the writer are refused by the reader."""
    return _walk(reader, writer, (_types, _values, _required, _properties, _bounds))


def _walk(reader: Any, writer: Any, rules: tuple[Rule, ...]) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[tuple[int, int]] = set()
    todo = [(reader, writer, "#")]
    while todo:
        new, old, place = todo.pop(0)
        # The nodes before resolution: those live as long as their documents, so an id is never reused.
        if (id(new), id(old)) in seen:
            continue
        seen.add((id(new), id(old)))
        new, old = _resolved(new, reader), _resolved(old, writer)
        if not isinstance(new, dict):
            continue
        known = old if isinstance(old, dict) else {}
        causes += [Cause(reason, place) for rule in rules for reason in rule(new, known)]
        todo += _children(new, known, place)
    return causes


def _resolved(schema: Any, document: Any) -> Any:
    """Follow local references; keywords beside one count as well, so they are laid over what it points to."""
    for _ in range(32):  # a chain longer than that is a circle
        if not isinstance(schema, dict) or not str(schema.get("$ref", "")).startswith("#"):
            break
        target = document
        for token in schema["$ref"][1:].split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
        beside = {key: value for key, value in schema.items() if key not in {"$ref", "$defs"}}
        schema = {**target, **beside} if beside and isinstance(target, dict) else target
    return schema


def _children(
    new: dict[str, Any], old: dict[str, Any], place: str
) -> Iterator[tuple[Any, Any, str]]:
    """Yield the pairs of subschemas that describe the same part of a document."""
    before = old.get("properties", {})
    for name, schema in new.get("properties", {}).items():
        if name in before:
            yield schema, before[name], f"{place}/properties/{name}"
    for keyword in ("items", "additionalProperties", "propertyNames"):
        if keyword in new:
            yield new[keyword], old.get(keyword), f"{place}/{keyword}"
    for keyword in ("prefixItems", "allOf", "anyOf", "oneOf"):
        branches = old.get(keyword, [])
        for index, schema in enumerate(new.get(keyword, [])):
            if index < len(branches):
                yield schema, branches[index], f"{place}/{keyword}/{index}"


def _uncompared(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    for keyword in _UNCOMPARED:
        if keyword in new and new[keyword] != old.get(keyword):
            yield f"{keyword!r} changed from {old.get(keyword)!r} to {new[keyword]!r}"


def _types(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    lost = _type_set(old) - _type_set(new)
    if "number" in _type_set(new):
        lost.discard("integer")
    if lost:
        yield f"type {', '.join(sorted(lost))} is no longer allowed"


def _type_set(schema: dict[str, Any]) -> set[str]:
    types = schema.get("type", sorted(_TYPES))
    return {types} if isinstance(types, str) else set(types)


def _values(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    after, before = _value_list(new), _value_list(old)
    if after is None:
        return
    if before is None:
        yield f"values are now limited to {after!r}"
    elif lost := [value for value in before if value not in after]:
        yield f"values {lost!r} are no longer allowed"


def _value_list(schema: dict[str, Any]) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _required(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"property {name!r} is now required"


def _properties(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    was_open, is_open = (schema.get("additionalProperties", True) for schema in (old, new))
    for name in sorted(after.keys() - before.keys()):
        if was_open is not False and after[name] not in (True, {}):
            yield (
                f"property {name!r} is new where any value was allowed under that name: "
                "expected 'additionalProperties': false from the start"
            )
    if is_open is False:
        for name in sorted(before.keys() - after.keys()):
            yield f"property {name!r} is no longer allowed"
        if was_open is not False:
            yield "additional properties are no longer allowed"


def _bounds(new: dict[str, Any], old: dict[str, Any]) -> Iterator[str]:
    for keywords, sign in ((_LOWER, 1), (_UPPER, -1)):
        for keyword in keywords:
            bound, before = new.get(keyword), old.get(keyword)
            if bound is not None and (before is None or sign * bound > sign * before):
                yield f"{keyword!r} changed from {before!r} to {bound!r}"
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        yield "items must now be unique"
