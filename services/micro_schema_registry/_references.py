"""Schemas that refer to other artifacts: fetching the others, and completing Avro schemas."""

from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.models import CachedSchema, IdType, Reference
from micro_schema_registry._model.protocol import SchemaRegistry

T = TypeVar("T")
Steps = Generator[Callable[[SchemaRegistry], Awaitable[Any]], Any, T]
"""Yields calls of a registry and receives their results; see `_drivers`."""

_MOST_SCHEMAS = 1000
"""The number of schemas that one schema may refer to, directly or not."""
_NAMED_TYPES = ("record", "error", "enum", "fixed")
_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")

_Key = tuple[str | None, str, str]


class ReferencedSchemas:
    """The schemas that one schema refers to, directly or not."""

    def __init__(self, direct: Sequence[Reference] = ()) -> None:
        self.direct = direct
        self._schemas: dict[_Key, tuple[Any, Sequence[Reference]]] = {}

    def __iter__(self) -> Iterator[Any]:
        return (schema for schema, _ in self._schemas.values())

    def __contains__(self, reference: Reference) -> bool:
        return _key(reference) in self._schemas

    def get(self, reference: Reference) -> tuple[Any, Sequence[Reference]]:
        """Return the schema of a reference, and the references of that schema."""
        return self._schemas[_key(reference)]

    def add(self, reference: Reference, schema: Any, references: Sequence[Reference]) -> None:
        """Add the schema of a reference.

        Raises:
            RegistryError: There are 1,000 schemas.
        """
        if len(self._schemas) == _MOST_SCHEMAS:
            raise RegistryError(f"schema refers to more than {_MOST_SCHEMAS} schemas")
        self._schemas[_key(reference)] = schema, references


def schemas_of_content(id_type: IdType, value: int | str) -> Steps[ReferencedSchemas]:
    """Fetch the schemas that content refers to."""
    direct = yield lambda registry: registry.get_content_references(id_type, value)
    return (yield from schemas_of(direct))


def schemas_of(direct: Sequence[Reference]) -> Steps[ReferencedSchemas]:
    """Fetch the schemas that references lead to.

    Raises:
        SchemaNotFoundError: One of them is missing.
    """
    schemas = ReferencedSchemas(direct)
    waiting = list(direct)
    while waiting:
        reference = waiting.pop()
        if reference in schemas:
            continue
        cached: CachedSchema = yield _fetching(reference)
        nested = yield _asking(cached.global_id)
        schemas.add(reference, cached.schema, nested)
        waiting += nested
    return schemas


def _fetching(reference: Reference) -> Callable[[SchemaRegistry], Awaitable[CachedSchema]]:
    return lambda registry: registry.get_schema(
        reference.artifact_id, version=reference.version, group_id=reference.group_id
    )


def _asking(global_id: int) -> Callable[[SchemaRegistry], Awaitable[tuple[Reference, ...]]]:
    return lambda registry: registry.get_content_references("globalId", global_id)


def _key(reference: Reference) -> _Key:
    return reference.group_id, reference.artifact_id, reference.version


def complete_avro(schema: Any, id_type: IdType, value: int | str) -> Steps[Any]:
    """Return an Avro schema with the definitions of other artifacts that it refers to.

    Only a schema that lacks definitions costs requests.
    """
    if not Inliner({}).lacks_definitions(schema):
        return schema
    return inlined(schema, (yield from schemas_of_content(id_type, value)))


def inlined(schema: Any, others: ReferencedSchemas) -> Any:
    """Return an Avro schema in which each definition of others stands where it is first used."""
    definitions: dict[str, Any] = {}
    for other in others:
        _collect(other, "", definitions)
    return Inliner(definitions).visit(schema, "")


class Inliner:
    """One pass through an Avro schema that puts definitions where their names are first used."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._defined: dict[str, Any] = {}
        self._lacks = False

    def lacks_definitions(self, schema: Any) -> bool:
        """Return whether the schema uses a name that has no definition."""
        self.visit(schema, "")
        return self._lacks

    def visit(self, schema: Any, namespace: str) -> Any:
        """Return a schema, or a part of one inside a namespace, with its definitions."""
        if isinstance(schema, str):
            return self._name(schema, namespace)
        if isinstance(schema, list):
            return [self.visit(each, namespace) for each in schema]
        if not isinstance(schema, dict):
            return schema
        if _is_definition(schema):
            return self._definition(schema, namespace)
        inside = ("type", "items", "values")
        return {
            key: self.visit(value, namespace) if key in inside else value
            for key, value in schema.items()
        }

    def _name(self, name: str, namespace: str) -> Any:
        full = name if name in _PRIMITIVES else _full_name(name, namespace)
        if full in _PRIMITIVES or full in self._defined:
            return full
        if full in self._definitions:
            return self._definition(self._definitions[full], "")
        self._lacks = self._lacks or name not in {"array", "map"}
        return name

    def _definition(self, schema: dict[str, Any], namespace: str) -> Any:
        full, definition = _named(schema, namespace)
        if self._defined.get(full) == definition:
            return full  # the same definition came with another schema
        self._defined[full] = definition
        if not isinstance(fields := definition.get("fields"), list):
            return definition
        inner = definition["namespace"]
        return definition | {
            "fields": [
                {**each, "type": self.visit(each["type"], inner)} if "type" in each else each
                for each in fields
            ]
        }


def _collect(schema: Any, namespace: str, definitions: dict[str, Any]) -> None:
    """Add the definitions in a schema by their full names, each with its namespace."""
    if isinstance(schema, list):
        for each in schema:
            _collect(each, namespace, definitions)
    elif isinstance(schema, dict):
        if _is_definition(schema):
            full, definition = _named(schema, namespace)
            definitions.setdefault(full, definition)
            namespace = definition["namespace"]
        for each in (schema.get("type"), schema.get("items"), schema.get("values")):
            _collect(each, namespace, definitions)
        _collect(schema.get("fields"), namespace, definitions)


def _is_definition(schema: dict[str, Any]) -> bool:
    return isinstance(schema.get("name"), str) and schema.get("type") in _NAMED_TYPES


def _named(schema: dict[str, Any], namespace: str) -> tuple[str, dict[str, Any]]:
    """Return the full name of a definition, and the definition with its namespace."""
    full = _full_name(schema["name"], schema.get("namespace", namespace))
    inner, _, name = full.rpartition(".")
    return full, {**schema, "name": name, "namespace": inner}


def _full_name(name: str, namespace: str | None) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
