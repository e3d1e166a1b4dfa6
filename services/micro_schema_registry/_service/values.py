"""Checks of JSON values against JSON and Avro schemas, compiled once for each content."""

import io
import json
from collections.abc import Callable
from typing import Any

from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._drivers import run_async
from micro_schema_registry._errors import Cause, InvalidArgumentError, RegistryError
from micro_schema_registry._model.models import IdType
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._references import Steps, complete_avro
from micro_schema_registry._wire.models import ContentAnswer

Check = Callable[[Any], tuple[Cause, ...]]
_COMPILED = 1000


class ValueCheckers:
    """The compiled checks of the schemas used last."""

    def __init__(self) -> None:
        self._checks = Cache[tuple[IdType, int | str], Check](_COMPILED)

    async def check(
        self, registry: SchemaRegistry, id_type: IdType, value: int | str, schema: ContentAnswer
    ) -> Check:
        """Return a function from a value to the reasons why it is invalid.

        An Avro value is the JSON that fastavro encodes: a string is no `bytes`, a member of a union
        is given by its value. Schemas that the schema refers to are fetched from the registry.

        Raises:
            InvalidArgumentError: The type of schema has no check, or the schema itself is invalid.
        """
        check = self._checks.get((id_type, value))
        if check is None:
            compiling = _compiled(schema, id_type, value)
            check = await run_async(compiling, lambda call: call(registry))
            self._checks.put((id_type, value), check)
        return check


def _compiled(schema: ContentAnswer, id_type: IdType, value: int | str) -> Steps[Check]:
    # Both libraries take longer to import than the rest of the package; few services use them.
    if schema.type == "JSON":
        from micro_schema_registry.json_schema import JsonSchemaValidator

        loaded = json.loads(schema.content)
        return (yield from JsonSchemaValidator.compiling(loaded, id_type, value)).causes
    # Apicurio does not tell the type of content by content id.
    if schema.type not in {"AVRO", None}:
        raise InvalidArgumentError(
            f"cannot check values against {schema.type} schemas: expected AVRO or JSON"
        )
    import fastavro

    try:
        loaded = json.loads(schema.content)
        complete = yield from complete_avro(loaded, id_type, value)
        parsed = fastavro.parse_schema(complete)
    except RegistryError:
        raise
    except Exception as error:
        raise InvalidArgumentError(
            f"cannot check values: expected a complete Avro schema: {error}"
        ) from error

    def check(value: Any) -> tuple[Cause, ...]:
        try:
            fastavro.schemaless_writer(io.BytesIO(), parsed, value, strict_allow_default=True)
        except Exception as error:  # noqa: BLE001 - fastavro has no error of its own for values
            return (Cause(str(error) or type(error).__name__),)
        return ()

    return check
