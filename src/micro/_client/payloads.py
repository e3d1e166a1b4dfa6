"""The payloads of typed calls: values as JSON, and `bytes`, which are the payload itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from micro._errors import ConfigError, InvalidAnswerError
from micro._handlers.bound_handler import UNSET

MAX_KEPT = 1024
"""Types whose decoders are kept; programs have fewer."""

_decoders: dict[Any, Callable[[bytes], Any]] = {}


def encode(value: Any) -> bytes:
    """Return the payload of a value: nothing for `UNSET`, itself for bytes, else JSON.

    Raises:
        ConfigError: The value has no JSON.
    """
    if isinstance(value, BaseModel):
        return value.__pydantic_serializer__.to_json(value, by_alias=True)
    if isinstance(value, bytes):
        return value
    if value is UNSET:
        return b""
    try:
        return to_json(value)
    except (TypeError, ValueError) as error:  # of pydantic_core, which names the type
        raise ConfigError(f"invalid payload of type {type(value).__name__!r}: {error}") from error


def decoder(returns: Any) -> Callable[[bytes], Any]:
    """Return the decoder of answers of a type: None ignores them, bytes are themselves, else JSON.

    It raises a `ValidationError` for other answers.

    Raises:
        ConfigError: pydantic does not know the type.
    """
    try:
        return _decoders.get(returns) or _keep(returns)
    except TypeError:  # an annotation that cannot be hashed
        return _decoder(returns)


def read(decode: Callable[[bytes], Any], data: bytes, subject: str) -> Any:
    """Return the value of an answer from a subject.

    Raises:
        InvalidAnswerError: The decoder refuses the answer.
    """
    try:
        return decode(data)
    except ValidationError as error:
        listed = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidAnswerError(subject, [dict(each) for each in listed]) from error


def _keep(returns: Any) -> Callable[[bytes], Any]:
    if len(_decoders) >= MAX_KEPT:
        _decoders.clear()
    decoder = _decoders[returns] = _decoder(returns)
    return decoder


def _decoder(returns: Any) -> Callable[[bytes], Any]:
    if returns is bytes:
        return bytes
    if returns is None:
        return _ignore
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(returns)
        return adapter.validator.validate_json
    except PydanticUserError as error:
        reason = error.message.partition("\n")[0]
        raise ConfigError(f"invalid type of answer {returns!r}: {reason}") from error


def _ignore(data: bytes) -> None:
    pass
