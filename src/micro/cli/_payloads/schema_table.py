"""A JSON Schema as the rows of a table: one for each field, of nested objects too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

MAX_DEPTH = 4
"""Limit on the levels of objects whose fields have rows; schemas may refer to themselves."""

MAX_ROWS = 200
"""Limit on the rows of a schema that another service wrote."""


class Field(NamedTuple):
    """One field: its path, type, whether callers must send it, and its default as JSON."""

    path: str
    type: str
    required: bool
    default: str


def fields_of(text: str) -> list[Field]:
    """Return the fields of a schema; a schema of no object has one, with an empty path.

    Raises:
        ValueError: The text is no JSON object.
    """
    schema = json.loads(text)
    if not isinstance(schema, dict):
        raise ValueError("the schema is no JSON object")
    rows = []
    for field in _Reader(schema).fields(schema, "", 0):
        rows.append(field)
        if len(rows) == MAX_ROWS:
            break
    return rows if rows else [Field("", _Reader(schema).type_of(schema), True, "")]


class _Reader:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def fields(self, schema: Any, prefix: str, depth: int) -> Iterator[Field]:
        schema = self._followed(schema)
        properties = schema.get("properties")
        if not isinstance(properties, dict) or depth >= MAX_DEPTH:
            return
        listed = schema.get("required")
        required = listed if isinstance(listed, list) else []
        for name, inner in properties.items():
            path = f"{prefix}{name}"
            known = inner if isinstance(inner, dict) else {}
            shown = json.dumps(known["default"]) if "default" in known else ""
            within = f"{path}[]." if known.get("type") == "array" else f"{path}."
            yield Field(path, self.type_of(inner), name in required, shown)
            yield from self.fields(self._object_in(inner), within, depth + 1)

    def type_of(self, schema: Any, depth: int = 0) -> str:
        """Return the type in words: `integer`, `list of string`, `string or null`."""
        schema = self._followed(schema)
        if depth >= MAX_DEPTH:
            return "..."
        for key in ("enum", "const"):
            if key in schema:
                values = schema[key] if isinstance(schema[key], list) else [schema[key]]
                return " or ".join(json.dumps(value) for value in values)
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                return " or ".join(dict.fromkeys(self.type_of(s, depth + 1) for s in schema[key]))
        kind = schema.get("type", "any")
        if kind == "array":
            return f"list of {self.type_of(schema.get('items', {}), depth + 1)}"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return f"map of {self.type_of(schema['additionalProperties'], depth + 1)}"
        words = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
        return f"{words} ({schema['format']})" if isinstance(schema.get("format"), str) else words

    def _object_in(self, schema: Any) -> Any:
        """Return the object of a field: itself, the items of a list, or the only alternative."""
        schema = self._followed(schema)
        if schema.get("type") == "array":
            return self._object_in(schema.get("items"))
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                objects = [s for s in map(self._followed, schema[key]) if "properties" in s]
                return objects[0] if len(objects) == 1 else {}
        return schema

    def _followed(self, schema: Any) -> dict[str, Any]:
        """Return the schema that a reference within the document leads to."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                return schema
            target: Any = self._root
            for name in reference[1:].strip("/").split("/") if reference != "#" else ():
                target = target.get(name) if isinstance(target, dict) else None
            schema = target
        return {}
