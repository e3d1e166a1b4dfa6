"""The validation of JSON values against JSON Schemas of a registry."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Self
from urllib.parse import urljoin

from jsonschema import SchemaError
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from micro_schema_registry._apicurio.blocking_client import ApicurioRegistryClient
from micro_schema_registry._compatibility.json_schema.dialects import dialect_of
from micro_schema_registry._drivers import run, run_async
from micro_schema_registry._errors import (
    Cause,
    InvalidArgumentError,
    InvalidPayloadError,
    Problem,
)
from micro_schema_registry._model.models import CachedSchema, IdType, Reference
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._references import ReferencedSchemas, Steps, schemas_of_content

__all__ = ["JsonSchemaValidator"]

_MAX_CAUSES = 20
_MAX_EXPECTED = 200


class JsonSchemaValidator:
    """A compiled JSON Schema of draft 2020-12, or of the draft that `$schema` names.

    Args:
        schema: The parsed schema, such as `CachedSchema.schema`.
        references: The parsed schemas that it refers to, by the URIs in its `$ref`. Other schemas
            are never fetched; `load` fetches those of a registry.

    Raises:
        InvalidArgumentError: One of them is no JSON Schema.
    """

    def __init__(
        self, schema: dict[str, Any] | bool, *, references: Mapping[str, Any] | None = None
    ) -> None:
        _check(schema)
        kind = dialect_of(schema).python
        resources: Registry[Any] = Registry()
        for uri, other in (references or {}).items():
            _check(other, f" {uri!r}")
            resource = Resource.from_contents(other, default_specification=DRAFT202012)
            resources = resources.with_resources(
                [(uri, resource), (urljoin(_id(schema), uri), resource)]
            )
        self._validator = kind(schema, registry=resources)
        self._references = dict(references or {})
        self._by_ecma_262: Callable[[Any], tuple[Cause, ...]] | None = None

    @classmethod
    async def load(
        cls,
        registry: SchemaRegistry,
        artifact_id: str,
        *,
        version: str | None = None,
        group_id: str | None = None,
    ) -> Self:
        """Compile a version of a schema, by default the newest, with the schemas it refers to.

        Raises:
            InvalidArgumentError: One of them is no JSON Schema.
            SchemaNotFoundError: One of them is missing.
            RegistryConnectionError: The registry gives no usable answer.
        """
        loading = cls._loading(artifact_id, version, group_id)
        return await run_async(loading, lambda call: call(registry))

    @classmethod
    def load_blocking(
        cls,
        registry: ApicurioRegistryClient,
        artifact_id: str,
        *,
        version: str | None = None,
        group_id: str | None = None,
    ) -> Self:
        """Do the same as `load` with a blocking client."""
        client: Any = registry
        loading = cls._loading(artifact_id, version, group_id)
        return run(loading, lambda call: call(client))

    @classmethod
    def _loading(cls, artifact_id: str, version: str | None, group_id: str | None) -> Steps[Self]:
        cached: CachedSchema = yield lambda registry: registry.get_schema(
            artifact_id, version=version, group_id=group_id
        )
        references = yield from references_of(cached.schema, "globalId", cached.global_id)
        return cls(cached.schema, references=references)

    def causes(self, value: Any) -> tuple[Cause, ...]:
        """Return up to 20 reasons why a value is invalid; they do not repeat the value.

        Raises:
            InvalidPayloadError: The schema refers to another schema.
        """
        try:
            if self._by_ecma_262 is not None:
                return self._by_ecma_262(value)
            errors = islice(self._validator.iter_errors(value), _MAX_CAUSES)
            return tuple(Cause(_description(error), error.json_path) for error in errors)
        except re.error:
            # A pattern that ECMA-262 knows and Python does not.
            self._by_ecma_262 = _by_ecma_262(self._validator.schema, self._references)
            return self._by_ecma_262(value)
        except Unresolvable as error:
            raise InvalidPayloadError(
                f"JSON Schema refers to {error.ref!r}, which is not in it"
            ) from error

    def validate(self, value: Any) -> None:
        """Check a value.

        Raises:
            InvalidPayloadError: The value is invalid.
        """
        causes = self.causes(value)
        if causes:
            raise InvalidPayloadError(
                "value does not fit its JSON Schema",
                problem=Problem(400, "InvalidPayload", "invalid value", causes=causes),
            )


def references_of(schema: Any, id_type: IdType, value: int | str) -> Steps[dict[str, Any]]:
    """Fetch the schemas that the schema of an id refers to, by the URIs in its `$ref`."""
    others = ReferencedSchemas()
    if _refers_outside(schema):
        others = yield from schemas_of_content(id_type, value)
    return dict(_by_uri(_id(schema), others, others.direct))


def _check(schema: Any, which: str = "") -> None:
    dialect = dialect_of(schema)
    if dialect.accepts(schema):
        return
    try:
        dialect.python.check_schema(schema, format_checker=None)
    except SchemaError as error:
        raise InvalidArgumentError(
            f"invalid JSON Schema{which} at {error.json_path}: {error.message}"
        ) from error


def _by_ecma_262(schema: Any, references: Mapping[str, Any]) -> Callable[[Any], tuple[Cause, ...]]:
    """Return a check by a library that reads patterns as ECMA-262 does."""

    def retrieve(uri: str) -> Any:
        return references[uri.removeprefix("json-schema:///")]

    try:
        validator = dialect_of(schema).rust(schema, retriever=retrieve)
    except ValueError as error:
        raise InvalidPayloadError(f"JSON Schema cannot be used: {error}") from error

    def causes(value: Any) -> tuple[Cause, ...]:
        errors = islice(validator.iter_errors(value), _MAX_CAUSES)
        return tuple(
            Cause(
                f"expected another value by {error.schema_path[-1]!r}", _path(error.instance_path)
            )
            for error in errors
        )

    return causes


def _path(steps: Iterable[str | int]) -> str:
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _id(schema: Any) -> str:
    return str(schema.get("$id", "")) if isinstance(schema, dict) else ""


def _refers_outside(schema: Any) -> bool:
    """Return whether a schema has a `$ref` to another document."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            target = part.get("$ref")
            if isinstance(target, str) and not target.startswith("#"):
                return True
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return False


def _by_uri(
    base: str, others: ReferencedSchemas, references: Iterable[Reference]
) -> Iterator[tuple[str, Any]]:
    """Yield referenced schemas by the URIs that `$ref` resolves to in the referring schema."""
    waiting = [(base, reference) for reference in references]
    seen = set()
    while waiting:
        base, reference = waiting.pop()
        uri = urljoin(base, reference.name.partition("#")[0])
        if uri not in seen:
            seen.add(uri)
            schema, nested = others.get(reference)
            yield uri, schema
            waiting += [(urljoin(uri, _id(schema)), each) for each in nested]


def _description(error: ValidationError) -> str:
    expected = json.dumps(error.validator_value)
    if len(expected) > _MAX_EXPECTED:
        expected = expected[:_MAX_EXPECTED] + "..."
    return f"expected {error.validator}: {expected}"
