"""Checks of JSON values against JSON, Avro and Protobuf schemas, in processes of their own."""

import io
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._compatibility import checks
from micro_schema_registry._drivers import run_async
from micro_schema_registry._errors import Cause, InvalidArgumentError
from micro_schema_registry._model.models import IdType
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._references import (
    ReferencedSchemas,
    Steps,
    complete_avro,
    schemas_of_content,
)
from micro_schema_registry._wire.models import ContentAnswer

_KEPT = 100
_LONGEST = 60.0
"""Seconds that a check may take; the time of its caller is usually shorter."""


class _Complete(NamedTuple):
    """A schema and the schemas that it refers to, as JSON."""

    kind: str
    schema: str
    references: str = "{}"


class ValueChecks:
    """Checks of values; the schemas used last are kept with the schemas that they refer to."""

    def __init__(self) -> None:
        self._complete = Cache[tuple[IdType, int | str], _Complete](_KEPT)

    async def causes(
        self,
        registry: SchemaRegistry,
        key: tuple[IdType, int | str],
        schema: ContentAnswer,
        value: Any,
    ) -> tuple[Cause, ...]:
        """Return the reasons why a value is invalid, none if it is valid.

        An Avro value is the JSON that fastavro encodes: a string is no `bytes`, a member of a union
        is given by its value. A Protobuf value is the JSON form of the first message of the file.
        Schemas that the schema refers to are fetched from the registry.

        Raises:
            InvalidArgumentError: The type of schema has no check, or the schema itself is invalid.
            TimeoutError: The check took too long.
        """
        complete = self._complete.get(key)
        try:
            if complete is None:
                complete = await run_async(_completing(schema, *key), lambda call: call(registry))
                self._complete.put(key, complete)
            return await checks.run(_causes, complete, value, timeout=_LONGEST)
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from error


def _completing(schema: ContentAnswer, id_type: IdType, value: int | str) -> Steps[_Complete]:
    # Apicurio does not tell the type of content by content id.
    kind = schema.type or "AVRO"
    if kind == "PROTOBUF":
        imports: dict[str, str] = {}
        if "import" in schema.content:
            imports = _imports((yield from schemas_of_content(id_type, value)))
        return _Complete(kind, schema.content, json.dumps(imports))
    if kind not in {"AVRO", "JSON"}:
        raise ValueError(
            f"cannot check values against {kind} schemas: expected AVRO, JSON or PROTOBUF"
        )
    loaded = json.loads(schema.content)
    if kind == "AVRO":
        complete = yield from complete_avro(loaded, id_type, value)
        return _Complete(kind, json.dumps(complete))
    # Its library takes longer to import than the rest of the package; few services use it.
    from micro_schema_registry.json_schema import references_of

    references = yield from references_of(loaded, id_type, value)
    return _Complete(kind, schema.content, json.dumps(references))


def _imports(others: ReferencedSchemas) -> dict[str, str]:
    """Return the files that a file imports, directly or not, by their import paths."""
    files: dict[str, str] = {}
    waiting = list(others.direct)
    while waiting:
        reference = waiting.pop()
        if reference.name not in files:
            files[reference.name], nested = others.get(reference)
            waiting += nested
    return files


def _causes(complete: _Complete, value: Any) -> tuple[Cause, ...]:
    return _compiled(complete)(value)


@lru_cache(maxsize=_KEPT)
def _compiled(complete: _Complete) -> Callable[[Any], tuple[Cause, ...]]:
    if complete.kind == "PROTOBUF":
        return _protobuf(complete.schema, json.loads(complete.references))
    schema = json.loads(complete.schema)
    if complete.kind == "JSON":
        from micro_schema_registry.json_schema import JsonSchemaValidator

        return JsonSchemaValidator(schema, references=json.loads(complete.references)).causes
    import fastavro

    try:
        parsed = fastavro.parse_schema(schema)
    except Exception as error:
        reason = f"cannot check values: expected a complete Avro schema: {error}"
        raise ValueError(reason) from error

    def check(value: Any) -> tuple[Cause, ...]:
        try:
            fastavro.schemaless_writer(io.BytesIO(), parsed, value, strict_allow_default=True)
        except Exception as error:  # noqa: BLE001 - fastavro has no error of its own for values
            return (Cause(str(error) or type(error).__name__),)
        return ()

    return check


def _protobuf(content: str, imports: dict[str, str]) -> Callable[[Any], tuple[Cause, ...]]:
    """Return a check of the JSON form of the first message that a file declares."""
    from google.protobuf.json_format import ParseDict, ParseError
    from google.protobuf.message import EncodeError
    from google.protobuf.message_factory import GetMessageClass

    from micro_schema_registry._compatibility.proto_file import parse_proto

    file = parse_proto(content, imports)
    first = next(file.messages(), None)
    if first is None:
        raise ValueError("cannot check values: expected a Protobuf schema with a message")
    kind = GetMessageClass(first)

    def check(value: Any) -> tuple[Cause, ...]:
        if not isinstance(value, dict):
            return (Cause("expected an object"),)
        message = kind()
        try:
            ParseDict(value, message, descriptor_pool=file.pool)
            message.SerializeToString()  # for required fields
        except (EncodeError, ParseError, TypeError, AttributeError) as error:
            return (Cause(str(error)),)
        return ()

    return check
