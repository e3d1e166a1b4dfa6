"""Values as the data of their JSON: dictionaries, lists, texts and numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python


def to_data(value: Any, kind: Any) -> Any:
    """Return the JSON data of a value of a type; `Any` stands for every type.

    Raises:
        ValueError: The value is not of the type, or has no JSON.
    """
    if kind is Any:
        return to_jsonable_python(value)
    return adapter_of(kind).serializer.to_python(
        value, mode="json", by_alias=True, warnings="error"
    )


def from_data(data: Any, kind: Any) -> Any:
    """Return the value of a type for its JSON data.

    Raises:
        pydantic.ValidationError: The data is not valid.
    """
    validator = adapter_of(kind).validator
    try:
        return validator.validate_python(data)
    except ValidationError:
        # A strict model takes texts for times and other types only from JSON.
        return validator.validate_json(to_json(data))


def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Return the adapter of a type; those of the latest types are kept."""
    try:
        return _adapter(kind)
    except TypeError:  # an annotation that cannot be hashed
        return TypeAdapter(kind)


@lru_cache(maxsize=1024)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
