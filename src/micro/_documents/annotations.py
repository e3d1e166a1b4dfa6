"""JSON Schemas as annotations in Python, for pydantic to make the same schemas of them."""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import json
import pathlib
import re
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

import pydantic

Mode = Literal["validation", "serialization"]
Schema = Mapping[str, Any]

_LEAVES: dict[str, Any] = {
    "_datetime.datetime": datetime.datetime,
    "_datetime.date": datetime.date,
    "_datetime.time": datetime.time,
    "_datetime.timedelta": datetime.timedelta,
    "_uuid.UUID": uuid.UUID,
    "_decimal.Decimal": decimal.Decimal,
    "_pathlib.Path": pathlib.Path,
    "_ipaddress.IPv4Address": ipaddress.IPv4Address,
    "_ipaddress.IPv6Address": ipaddress.IPv6Address,
    "_ipaddress.IPv4Network": ipaddress.IPv4Network,
    "_ipaddress.IPv6Network": ipaddress.IPv6Network,
    "_pydantic.AnyUrl": pydantic.AnyUrl,
    "_pydantic.SecretStr": pydantic.SecretStr,
    "bytes": bytes,
}
"""Types that JSON Schema describes by a format or a pattern, by their names in generated code."""

_PLAIN = {"boolean": "bool", "integer": "int", "number": "float", "string": "str", "null": "None"}
_CONSTRAINTS = {
    "exclusiveMinimum": ("gt", ("integer", "number")),
    "minimum": ("ge", ("integer", "number")),
    "exclusiveMaximum": ("lt", ("integer", "number")),
    "maximum": ("le", ("integer", "number")),
    "multipleOf": ("multiple_of", ("integer", "number")),
    "minLength": ("min_length", ("string",)),
    "maxLength": ("max_length", ("string",)),
    "pattern": ("pattern", ("string",)),
    "minItems": ("min_length", ("array",)),
    "maxItems": ("max_length", ("array",)),
    "minProperties": ("min_length", ("object",)),
    "maxProperties": ("max_length", ("object",)),
}
_TOLD = ("title", "description", "examples", "deprecated")
_META = {*_TOLD, "default"}
_MODES: tuple[Mode, ...] = ("validation", "serialization")
_PATTERN = re.compile(r'"pattern": ("[^ ]*")')


class Typed(NamedTuple):
    """An annotation, and the arguments of its `Field`.

    Attributes:
        source: The annotation without its constraints.
        field: The arguments of `Field` as code, by their names.
    """

    source: str
    field: dict[str, str]

    def nested(self) -> str:
        """Return the annotation with its constraints."""
        if not self.field:
            return self.source
        arguments = ", ".join(f"{name}={value}" for name, value in self.field.items())
        return f"_Annotated[{self.source}, _pydantic.Field({arguments})]"


class Annotations:
    """The annotations of the schemas of one document.

    Args:
        mode: The mode that pydantic makes the schemas in.
        refer: Returns the name of the class for the target of a reference.
        define: Returns the name of a new class for an object with its own members.
    """

    def __init__(
        self, mode: Mode, refer: Callable[[str], str], define: Callable[[Schema], str]
    ) -> None:
        self._mode = mode
        self._refer = refer
        self._define = define

    def of(self, schema: Any) -> Typed:
        """Return the annotation of a schema."""
        if not isinstance(schema, Mapping):
            return Typed("_Any", {})
        told = {key: literal(schema[key]) for key in _TOLD if key in schema}
        body = {key: value for key, value in schema.items() if key not in _META}
        source, known, field = self._body(body)
        rest = {key: value for key, value in body.items() if key not in known}
        if rest:
            told["json_schema_extra"] = literal(rest)
        return Typed(source, {**field, **told})

    def nested(self, schema: Any) -> str:
        """Return the annotation of a schema inside another one."""
        return self.of(schema).nested()

    def _body(self, body: Schema) -> tuple[str, set[str], dict[str, str]]:
        """Return the source, the keywords that it covers, and the arguments of its `Field`."""
        if "$ref" in body:
            return self._refer(str(body["$ref"])), {"$ref"}, {}
        leaf = leaves(self._mode).get(text_of(body))
        if leaf is not None:
            return leaf, set(body), {}
        if isinstance(body.get("anyOf"), list):
            return " | ".join(map(self._branch, body["anyOf"])), {"anyOf"}, {}
        if "discriminator" in body and isinstance(body.get("oneOf"), list):
            return self._discriminated(body)
        if (values := _values(body)) is not None:
            return f"_Literal[{', '.join(map(repr, values))}]", {"const", "enum", "type"}, {}
        return self._typed(body)

    def _branch(self, schema: Any) -> str:
        return self.nested(schema)

    def _discriminated(self, body: Schema) -> tuple[str, set[str], dict[str, str]]:
        union = " | ".join(map(self._branch, body["oneOf"]))
        name = body["discriminator"].get("propertyName")
        return union, {"oneOf", "discriminator"}, {"discriminator": literal(name)}

    def _typed(self, body: Schema) -> tuple[str, set[str], dict[str, str]]:
        kind = body.get("type")
        if not isinstance(kind, str):
            return "_Any", set(), {}
        known = {"type"}
        field: dict[str, str] = {}
        for key, (argument, kinds) in _CONSTRAINTS.items():
            if key in body and kind in kinds:
                field[argument] = literal(body[key])
                known.add(key)
        if kind == "array":
            source = self._array(body, known, field)
        elif kind == "object":
            source = self._object(body, known)
        else:
            source = _PLAIN.get(kind, "_Any")
        return source, known, field

    def _array(self, body: Schema, known: set[str], field: dict[str, str]) -> str:
        known |= {"items", "prefixItems", "uniqueItems"}
        prefix = body.get("prefixItems", [] if body.get("maxItems") == 0 else None)
        if isinstance(prefix, list) and "items" not in body:
            field.pop("min_length", None)
            field.pop("max_length", None)
            return f"tuple[{', '.join(map(self.nested, prefix)) or '()'}]"
        item = self.nested(body.get("items", {}))
        return f"set[{item}]" if body.get("uniqueItems") is True else f"list[{item}]"

    def _object(self, body: Schema, known: set[str]) -> str:
        if "properties" in body:
            known |= set(body)
            return self._define(body)
        known.add("additionalProperties")
        others = body.get("additionalProperties", True)
        return f"dict[str, {self.nested(others)}]"


def literal(value: Any) -> str:
    """Return the code of a JSON value, the same for the same value."""
    return repr(value)


def text_of(schema: Any) -> str:
    """Return a schema as text, the same for equal schemas."""
    return json.dumps(schema, sort_keys=True)


@cache
def leaves(mode: Mode) -> dict[str, str]:
    """Return the names of the types that have a schema of their own, by its text."""
    names: dict[str, str] = {}
    for name, kind in _LEAVES.items():
        schema = pydantic.TypeAdapter(kind).json_schema(mode=mode)
        if len(schema) > 1:  # else any text, as a decimal is in answers
            names.setdefault(text_of(schema), name)
    return names


@cache
def one_sided() -> tuple[str, ...]:
    """Return the patterns of decimals, whose schemas are different in the two modes."""
    texts = [
        text_of(pydantic.TypeAdapter(decimal.Decimal).json_schema(mode=mode)) for mode in _MODES
    ]
    return tuple(sorted({text for each in texts for text in _PATTERN.findall(each)}))


def _values(body: Schema) -> list[Any] | None:
    values = [body["const"]] if "const" in body else body.get("enum")
    if not isinstance(values, list) or not values:
        return None
    return values if all(isinstance(each, str | int | None) for each in values) else None
