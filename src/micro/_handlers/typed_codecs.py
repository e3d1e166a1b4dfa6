"""The payloads of typed handlers: JSON by pydantic, and `bytes`, which are the payload itself.

This module is imported with the first typed handler, and pydantic with the first that takes or
returns JSON: importing it costs more than all the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, cast

from micro._errors import ConfigError, Reject, ServiceError
from micro._handlers.bound_handler import UNSET, BoundHandler, Schema, no_schema
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Handler, Request


def typed(
    call: Callable[..., Awaitable[Any]], payload: Any, result: Any, *, wants_request: bool
) -> BoundHandler:
    """Return a typed handler in the form that endpoints run.

    Args:
        call: The handler.
        payload: The type of its payload; `UNSET` if it takes none.
        result: The type of its result; `UNSET` if it is not annotated.
        wants_request: Whether it takes the request, too.

    Raises:
        ConfigError: pydantic does not know a type.
    """
    encoder = _encoder(Any if result is UNSET else result)
    returned = no_schema if result is UNSET else encoder.schema
    if payload is UNSET:
        handle = _without_payload(call, encoder, wants_request)
        return BoundHandler(handle, response_schema=returned)
    decoder = _decoder(payload)
    handle = _with_payload(call, decoder, encoder, wants_request)
    return BoundHandler(handle, decoder.schema, returned)


class _Decoder(NamedTuple):
    """A decoder of payloads, the errors it raises for an invalid payload, and the JSON Schema."""

    decode: Callable[[bytes], Any]
    invalid: tuple[type[Exception], ...] = ()
    schema: Schema = no_schema


class _Encoder(NamedTuple):
    """An encoder of results, with a faster one for results of exactly the declared model."""

    encode: Callable[[Any], bytes]
    schema: Schema = no_schema
    model: Any = UNSET
    encode_model: Callable[[Any], bytes] = bytes


def _with_payload(
    call: Callable[..., Awaitable[Any]], decoder: _Decoder, encoder: _Encoder, wants_request: bool
) -> Handler:
    decode, invalid = decoder.decode, decoder.invalid
    model, encode_model, encode = encoder.model, encoder.encode_model, encoder.encode

    async def handle(request: Request) -> None:
        try:
            payload = decode(request.data())
        except invalid as error:
            raise _refusal(error) from error
        answer = await (call(payload, request) if wants_request else call(payload))
        if answer.__class__ is model:
            await request.respond(encode_model(answer))
        elif answer is not None or not _answered(request):
            await request.respond(encode(answer))

    return handle


def _without_payload(
    call: Callable[..., Awaitable[Any]], encoder: _Encoder, wants_request: bool
) -> Handler:
    async def handle(request: Request) -> None:
        answer = await (call(request) if wants_request else call())
        if answer is not None or not _answered(request):
            await request.respond(encoder.encode(answer))

    return handle


def _answered(request: Request) -> bool:
    return isinstance(request, NatsRequest) and request.sent is not None


def _decoder(payload: Any) -> _Decoder:
    if payload is bytes:
        return _Decoder(bytes)
    from pydantic import TypeAdapter, ValidationError

    adapter = _adapter(TypeAdapter, payload)
    decode = adapter.validator.validate_json
    return _Decoder(decode, (ValidationError,), lambda: _schema(adapter, "validation"))


def _refusal(error: Any) -> ServiceError:
    details = error.json(include_url=False, include_input=False).encode()
    headers = {"Content-Type": "application/json"}
    return Reject("invalid request", 400, data=details, headers=headers)


def _encoder(result: Any) -> _Encoder:
    if result is bytes:
        return _Encoder(bytes)
    if result in (None, type(None)):
        return _Encoder(lambda _: b"")
    from pydantic import BaseModel, TypeAdapter

    adapter = _adapter(TypeAdapter, result)
    to_json: Callable[..., bytes] = adapter.serializer.to_json
    # A result of another type than declared is a bug of the handler, not a warning.
    encode = partial(to_json, by_alias=True, warnings="error")
    is_model = isinstance(result, type) and issubclass(result, BaseModel)
    # A result of exactly the declared model was validated when it was made.
    model = result if is_model else UNSET
    encode_model = partial(to_json, by_alias=True)  # as in the schema
    return _Encoder(encode, lambda: _schema(adapter, "serialization"), model, encode_model)


def _adapter(factory: Any, annotation: Any) -> Any:
    from pydantic.errors import PydanticUserError

    try:
        return factory(annotation)
    except PydanticUserError as error:
        reason = error.message.partition("\n")[0]
        raise ConfigError(f"invalid handler type {annotation!r}: {reason}") from error


def _schema(adapter: Any, mode: str) -> dict[str, Any] | None:
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        return cast(dict[str, Any], adapter.json_schema(mode=mode))
    except PydanticInvalidForJsonSchema:
        return None
