"""The validation of JSON values against JSON Schemas of a registry."""

import json
from itertools import islice
from typing import Any

from jsonschema import SchemaError
from jsonschema.exceptions import ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from micro_schema_registry._errors import Cause, InvalidPayloadError, Problem

__all__ = ["JsonSchemaValidator"]

_MAX_CAUSES = 20
_MAX_EXPECTED = 200


class JsonSchemaValidator:
    """A compiled JSON Schema of draft 2020-12, or of the draft that `$schema` names.

    Args:
        schema: The parsed schema, such as `CachedSchema.schema`. References within it work;
            others are never fetched.

    Raises:
        ValueError: It is no JSON Schema.
    """

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        compiled: Any = schema  # stubs know no boolean schemas
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(compiled)
        except SchemaError as error:
            raise ValueError(
                f"invalid JSON Schema at {error.json_path}: {error.message}"
            ) from error
        self._validator = kind(schema, registry=Registry())

    def causes(self, value: Any) -> tuple[Cause, ...]:
        """Return up to 20 reasons why a value is invalid; they do not repeat the value.

        Raises:
            InvalidPayloadError: The schema refers to another schema.
        """
        try:
            errors = islice(self._validator.iter_errors(value), _MAX_CAUSES)
            return tuple(Cause(_description(error), error.json_path) for error in errors)
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


def _description(error: ValidationError) -> str:
    expected = json.dumps(error.validator_value)
    if len(expected) > _MAX_EXPECTED:
        expected = expected[:_MAX_EXPECTED] + "..."
    return f"expected {error.validator}: {expected}"
