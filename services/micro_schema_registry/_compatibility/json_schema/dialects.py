"""The drafts of JSON Schema: their keywords, and the check of a document with its draft."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema_rs
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY
from referencing import Specification
from referencing.jsonschema import specification_with

# Keywords that hold schemas by name.
MAPS = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "dependencies"}
)


@dataclass(frozen=True)
class Dialect:
    """A draft, and the classes of the libraries for it.

    Attributes:
        uri: The name of the draft in `$schema`.
        rust: The validator of the faster library.
        id_keyword: The keyword that names a resource.
        whole_is_integer: Whether `1.0` is an integer.
        ref_siblings: Whether keywords beside a `$ref` count.
    """

    uri: str
    rust: Any
    id_keyword: str = "$id"
    whole_is_integer: bool = True
    ref_siblings: bool = False

    @property
    def specification(self) -> Specification[Any]:
        """The rules for ids and anchors."""
        return specification_with(self.uri)

    @cached_property
    def python(self) -> Any:
        """The validator with the better messages."""
        return validator_for({"$schema": self.uri})

    @cached_property
    def keywords(self) -> frozenset[str]:
        """The keywords that the meta-schema describes, annotations included."""
        meta = self.python.META_SCHEMA
        if "$vocabulary" not in meta:
            return frozenset(meta["properties"])
        parts = [uri.replace("/vocab/", "/meta/") for uri in meta["$vocabulary"]]
        described = [REGISTRY.contents(part).get("properties", ()) for part in parts]
        return frozenset({"definitions"}.union(*described))

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

    @cached_property
    def _meta(self) -> Any:
        return self.rust(self.python.META_SCHEMA)


DRAFT_2020 = Dialect(
    "https://json-schema.org/draft/2020-12/schema",
    jsonschema_rs.Draft202012Validator,
    ref_siblings=True,
)
DRAFT_2019 = Dialect(
    "https://json-schema.org/draft/2019-09/schema",
    jsonschema_rs.Draft201909Validator,
    ref_siblings=True,
)
DRAFT_7 = Dialect("http://json-schema.org/draft-07/schema", jsonschema_rs.Draft7Validator)
DRAFT_6 = Dialect("http://json-schema.org/draft-06/schema", jsonschema_rs.Draft6Validator)
DRAFT_4 = Dialect(
    "http://json-schema.org/draft-04/schema",
    jsonschema_rs.Draft4Validator,
    id_keyword="id",
    whole_is_integer=False,
)
_DIALECTS = (DRAFT_2020, DRAFT_2019, DRAFT_7, DRAFT_6, DRAFT_4)


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
