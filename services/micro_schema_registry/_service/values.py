"""Checks of JSON values against JSON and Avro schemas, compiled once for each content."""

import io
import json
from collections.abc import Callable
from typing import Any

from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._errors import Cause, InvalidArgumentError
from micro_schema_registry._wire.models import ContentAnswer

Check = Callable[[Any], tuple[Cause, ...]]
_COMPILED = 1000


class ValueCheckers:
    """The compiled checks of the schemas used last."""

    def __init__(self) -> None:
        self._checks = Cache[tuple[str | None, str], Check](_COMPILED)

    def causes(self, schema: ContentAnswer, value: Any) -> tuple[Cause, ...]:
        """Return the reasons why a value is invalid, none if it is valid.

        An Avro value is the JSON that fastavro encodes: a string is no `bytes`, a member of a union
        is given by its value.

        Raises:
            InvalidArgumentError: The type of schema has no check, or the schema itself is invalid.
        """
        key = (schema.type, schema.sha256)
        check = self._checks.get(key)
        if check is None:
            check = _compiled(schema)
            self._checks.put(key, check)
        return check(value)


def _compiled(schema: ContentAnswer) -> Check:
    # Both libraries take longer to import than the rest of the package; few services use them.
    if schema.type == "JSON":
        from micro_schema_registry.json_schema import JsonSchemaValidator

        return JsonSchemaValidator(json.loads(schema.content)).causes
    # Apicurio does not tell the type of content by content id.
    if schema.type not in {"AVRO", None}:
        raise InvalidArgumentError(
            f"cannot check values against {schema.type} schemas: expected AVRO or JSON"
        )
    import fastavro

    try:
        parsed = fastavro.parse_schema(json.loads(schema.content))
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
