"""The spellings of the drafts of JSON Schema: each keyword in its form of 2020-12."""

from typing import Any

from micro_schema_registry._compatibility.json_schema.dialects import MAPS, Dialect
from micro_schema_registry._compatibility.json_schema.values import (
    BOUNDS,
    INTEGER,
    KIND_OF,
    NUMBERS,
    TYPES,
    WHOLE,
    canonical,
)

SINGLE = frozenset(
    [
        "additionalProperties",
        "propertyNames",
        "contains",
        "not",
        "if",
        "then",
        "else",
        "unevaluatedProperties",
        "unevaluatedItems",
        "contentSchema",
        "additionalItems",
    ]
)
LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_ANNOTATIONS = frozenset(
    [
        "title",
        "description",
        "$comment",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
    ]
)
PLAIN = frozenset({*BOUNDS, *KIND_OF, "multipleOf", "pattern"})


def modernise(keywords: dict[str, Any], raw: dict[str, Any], dialect: Dialect) -> None:
    """Give the keywords of one schema their form of 2020-12, and drop those that assert nothing."""
    for name in ("$defs", "definitions", "contentSchema"):
        keywords.pop(name, None)
    _modernise_values(keywords, raw, dialect)
    _modernise_items(keywords)
    _modernise_bounds(keywords)
    for name, needed in keywords.pop("dependencies", {}).items():
        if isinstance(needed, tuple):
            keywords.setdefault("dependentRequired", {})[name] = frozenset(needed)
        else:
            keywords.setdefault("dependentSchemas", {})[name] = needed
    if "contains" in keywords:
        counted = "minContains" in dialect.keywords
        least = raw.get("minContains", 1) if counted else 1
        most = raw.get("maxContains") if counted else None
        keywords["contains"] = (keywords["contains"], least, most)


def _modernise_values(keywords: dict[str, Any], raw: dict[str, Any], dialect: Dialect) -> None:
    if "type" in raw:
        given = raw["type"]
        names = {given} if isinstance(given, str) else set(given)
        integers = {INTEGER, WHOLE} if dialect.whole_is_integer else {INTEGER}
        types = {name for name in names if name in TYPES - NUMBERS}
        types |= integers if "integer" in names else set()
        types |= NUMBERS if "number" in names else set()
        if types != TYPES:
            keywords["type"] = frozenset(types)
    if "enum" in raw:
        keywords["enum"] = {canonical(value): value for value in raw["enum"]}
    if "const" in raw and "const" in dialect.keywords:
        value = {canonical(raw["const"]): raw["const"]}
        both = {key: value[key] for key in value.keys() & keywords.get("enum", value).keys()}
        keywords["enum"] = both
    if raw.get("uniqueItems") is True:
        keywords["uniqueItems"] = True


def _modernise_items(keywords: dict[str, Any]) -> None:
    rest = keywords.pop("additionalItems", None)
    if isinstance(keywords.get("items"), tuple):
        keywords["prefixItems"] = keywords.pop("items")
        if rest is not None:
            keywords["items"] = rest


def _modernise_bounds(keywords: dict[str, Any]) -> None:
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = keywords.get(exclusive)
        if isinstance(flag, bool):
            del keywords[exclusive]
            if flag and bound in keywords:
                keywords[exclusive] = keywords.pop(bound)


def without_annotations(schema: Any) -> Any:
    """Return a schema without the keywords that assert nothing."""
    if not isinstance(schema, dict):
        return schema
    asserted: dict[str, Any] = {}
    for name, value in schema.items():
        if name in MAPS and isinstance(value, dict):
            asserted[name] = {key: without_annotations(item) for key, item in value.items()}
        elif isinstance(value, list) and (name in LISTS or name == "items"):
            asserted[name] = [without_annotations(item) for item in value]
        elif name in SINGLE or name == "items":
            asserted[name] = without_annotations(value)
        elif name not in _ANNOTATIONS:
            asserted[name] = value
    return asserted
