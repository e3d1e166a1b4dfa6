"""The drafts of JSON Schema: their keywords, and the check of a document with its draft."""

import json
from dataclasses import dataclass, replace
from typing import Any

import jsonschema_rs
from jsonschema import validators
from jsonschema.exceptions import SchemaError
from referencing import Specification
from referencing.jsonschema import DRAFT4, DRAFT6, DRAFT7, DRAFT201909, DRAFT202012

_DRAFT4_KEYWORDS = frozenset(
    [
        "type",
        "enum",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "required",
        "properties",
        "patternProperties",
        "additionalProperties",
        "items",
        "additionalItems",
        "dependencies",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "definitions",
    ]
)
_DRAFT6_KEYWORDS = _DRAFT4_KEYWORDS | {"const", "contains", "propertyNames"}
_DRAFT7_KEYWORDS = _DRAFT6_KEYWORDS | {"if", "then", "else"}
_DRAFT2019_KEYWORDS = (_DRAFT7_KEYWORDS - {"dependencies"}) | {
    "dependentRequired",
    "dependentSchemas",
    "minContains",
    "maxContains",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$defs",
    "$recursiveRef",
    "contentSchema",
}
_DRAFT2020_KEYWORDS = (_DRAFT2019_KEYWORDS - {"additionalItems", "$recursiveRef"}) | {
    "prefixItems",
    "$dynamicRef",
}

# Keywords that hold schemas by name.
MAPS = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies"}
)


@dataclass(frozen=True)
class Dialect:
    """A draft: its keywords, and the libraries' names for it.

    Attributes:
        whole_is_integer: Whether `1.0` is an integer.
        ref_siblings: Whether keywords beside a `$ref` count.
    """

    uri: str
    keywords: frozenset[str]
    specification: Specification[Any]
    python: Any
    rust: Any
    id_keyword: str = "$id"
    whole_is_integer: bool = True
    ref_siblings: bool = False

    def of_resource(self, raw: dict[str, Any]) -> "Dialect":
        """Return the dialect of an embedded resource, which may name its own."""
        return _BY_URI.get(_uri(raw.get("$schema")), self) if self.id_keyword in raw else self

    def accepts(self, raw: Any) -> bool:
        """Tell whether the meta-schema takes a schema."""
        try:
            return bool(self._meta.is_valid(raw))
        except (ValueError, OverflowError):  # numbers that the faster library does not take
            return not list(self.python(self.python.META_SCHEMA).iter_errors(raw))

    def check(self, raw: Any) -> None:
        """Refuse a schema that the meta-schema does not take.

        Raises:
            ValueError: The message has the reason and the place.
        """
        if self.accepts(raw):
            return
        try:
            # Slow, but its messages are the better ones.
            self.python.check_schema(raw, format_checker=None)
        except SchemaError as error:
            raise ValueError(f"not a JSON Schema: {error.message} at {error.json_path}") from error
        raise ValueError(f"not a JSON Schema: the meta-schema {self.uri!r} does not take it")

    @property
    def _meta(self) -> Any:
        return _META[self.uri]


DRAFT_2020 = Dialect(
    "https://json-schema.org/draft/2020-12/schema",
    _DRAFT2020_KEYWORDS,
    DRAFT202012,
    validators.Draft202012Validator,
    jsonschema_rs.Draft202012Validator,
    ref_siblings=True,
)
DRAFT_2019 = Dialect(
    "https://json-schema.org/draft/2019-09/schema",
    _DRAFT2019_KEYWORDS,
    DRAFT201909,
    validators.Draft201909Validator,
    jsonschema_rs.Draft201909Validator,
    ref_siblings=True,
)
DRAFT_7 = Dialect(
    "http://json-schema.org/draft-07/schema",
    _DRAFT7_KEYWORDS,
    DRAFT7,
    validators.Draft7Validator,
    jsonschema_rs.Draft7Validator,
)
DRAFT_6 = replace(
    DRAFT_7,
    uri="http://json-schema.org/draft-06/schema",
    keywords=_DRAFT6_KEYWORDS,
    specification=DRAFT6,
    python=validators.Draft6Validator,
    rust=jsonschema_rs.Draft6Validator,
)
DRAFT_4 = replace(
    DRAFT_7,
    uri="http://json-schema.org/draft-04/schema",
    keywords=_DRAFT4_KEYWORDS,
    specification=DRAFT4,
    python=validators.Draft4Validator,
    rust=jsonschema_rs.Draft4Validator,
    id_keyword="id",
    whole_is_integer=False,
)
_DIALECTS = (DRAFT_2020, DRAFT_2019, DRAFT_7, DRAFT_6, DRAFT_4)
_META = {dialect.uri: dialect.rust(dialect.python.META_SCHEMA) for dialect in _DIALECTS}


def _uri(name: Any) -> str:
    return (
        str(name)
        .removesuffix("#")
        .replace("https://json-schema.org/draft-", "http://json-schema.org/draft-")
    )


_BY_URI = {dialect.uri: dialect for dialect in _DIALECTS}


def dialect_of(schema: Any) -> Dialect:
    """Return the draft that `$schema` names.

    Without one, or with one that is not a draft, it is 2020-12, or draft 7 where only that one
    takes or knows what it says.
    """
    named = schema.get("$schema") if isinstance(schema, dict) else None
    known = _BY_URI.get(_uri(named))
    if known is not None:
        return known
    older = not DRAFT_2020.accepts(schema) or _uses_older_keywords(schema)
    return DRAFT_7 if older and DRAFT_7.accepts(schema) else DRAFT_2020


def _uses_older_keywords(schema: Any) -> bool:
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        if not isinstance(part, dict):
            continue
        if part.keys() & {"dependencies", "additionalItems"}:
            return True
        for name, value in part.items():
            if name not in {"const", "enum", "default", "examples"}:
                named = name in MAPS and isinstance(value, dict)
                todo += value.values() if named else [value]
    return False


def parse_json_schema(content: str) -> tuple[Any, Dialect]:
    """Return a document and its dialect after a check with the meta-schema.

    Raises:
        ValueError: It is not a JSON Schema.
    """
    schema = json.loads(content)
    if not isinstance(schema, dict | bool):
        raise ValueError(f"not a JSON Schema: expected an object or a boolean, got {schema!r}")
    dialect = dialect_of(schema)
    dialect.check(schema)
    return schema, dialect
