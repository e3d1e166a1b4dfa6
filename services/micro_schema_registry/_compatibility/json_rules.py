"""JSON Schema: parsing into one self-contained 2020-12 document, and which documents a reader's schema refuses."""

import json
from typing import Any

import jsoncompat
from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator, validator_for

from micro_schema_registry._compatibility.json_reasons import blind_spots, explain
from micro_schema_registry._compatibility.levels import SchemaText
from micro_schema_registry._errors import Cause

_ANNOTATIONS = frozenset(
    {
        "$schema",
        "$id",
        "id",
        "$comment",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
    }
)
# What stands below these are schemas: by name, or at once and in lists. Everything else is a value that is left as it is.
_NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
_SCHEMAS = frozenset(
    [
        "items",
        "additionalItems",
        "prefixItems",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
        "allOf",
        "anyOf",
        "oneOf",
    ]
)


def parse(text: SchemaText) -> Any:
    """Parse a schema with those it refers to moved into its ``$defs``; see Format.parse."""
    referenced = {name: _checked(content) for name, content in text.references}
    schema = _modern(_checked(text.content), "", referenced)
    if isinstance(schema, dict) and referenced:
        definitions = dict(schema.get("$defs", {}))
        for name, document in referenced.items():
            definitions[name] = _modern(document, f"/$defs/{_pointer(name)}", referenced)
        schema = {**schema, "$defs": definitions}
    return schema


def unreadable(reader: Any, writer: Any) -> list[Cause]:
    """Find documents that the writer's schema allows and the reader's does not; see Format.unreadable."""
    if reader == writer:
        return []
    causes = blind_spots(reader, writer)
    try:
        # "deserializer": everything valid under the first must be valid under the second.
        compatible = jsoncompat.check_compat(json.dumps(writer), json.dumps(reader), "deserializer")
    except ValueError as error:
        return [*causes, Cause(f"the schemas cannot be compared: {error}")]
    if compatible:
        return causes
    explained = explain(reader, writer)
    return [*causes, *explained] or [
        Cause("the reader's schema is narrower than the writer's", "#")
    ]


def misused(new: Any, old: Any) -> list[Cause]:
    """Find nothing: what is allowed says it all for JSON Schema; see Format.misused."""
    return []


def _checked(content: str) -> Any:
    schema = json.loads(content)
    if not isinstance(schema, dict | bool):
        raise ValueError(f"not a JSON Schema: expected an object or a boolean, got {schema!r}")
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(
            schema  # type: ignore[arg-type]  # a boolean is a schema too
        )
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message} at {error.json_path}") from error
    return schema


def _modern(schema: Any, root: str, referenced: dict[str, Any]) -> Any:
    """Write a schema in 2020-12 terms, without annotations, and with every reference local to the document."""
    if isinstance(schema, list):
        return [_modern(item, root, referenced) for item in schema]
    if not isinstance(schema, dict):
        return schema
    modern: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            modern[key] = {name: _modern(item, root, referenced) for name, item in value.items()}
        elif key in _SCHEMAS:
            modern[key] = _modern(value, root, referenced)
        elif key == "$ref":
            modern[key] = _local(value, root, referenced)
        elif key not in _ANNOTATIONS:
            modern[key] = value
    _modernise_items(modern)
    _modernise_dependencies(modern)
    return modern


def _modernise_items(schema: dict[str, Any]) -> None:
    # Up to 2019-09 a list under "items" was a tuple, and "additionalItems" the rest.
    rest = schema.pop("additionalItems", None)
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if rest is not None:
            schema["items"] = rest


def _modernise_dependencies(schema: dict[str, Any]) -> None:
    for name, needed in schema.pop("dependencies", {}).items():
        keyword = "dependentRequired" if isinstance(needed, list) else "dependentSchemas"
        schema.setdefault(keyword, {})[name] = needed


def _local(reference: str, root: str, referenced: dict[str, Any]) -> str:
    name, _, fragment = reference.partition("#")
    if name in referenced:
        return f"#/$defs/{_pointer(name)}{fragment}"
    if name:
        raise ValueError(f"not a JSON Schema: {reference!r} is not among the references")
    return f"#{root}{fragment}"


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
