"""The payloads of typed handlers: JSON by pydantic, and `bytes`, which are the payload itself.

This module is imported with the first typed handler, and pydantic with the first that takes or
returns JSON: importing it costs more than all the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, cast

from micro._errors import ConfigError, Reject, ServiceError
from micro._handlers.bound_handler import PLAIN, UNSET, BoundHandler, Form, Schema, no_schema
from micro._handlers.codec import CONTENT_TYPE, JSON, Codec
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Handler, Request
from micro._handlers.streaming import answer_with


def typed(
    call: Callable[..., Awaitable[Any]],
    payload: Any,
    result: Any,
    *,
    wants_request: bool,
    codec: Codec | None = None,
) -> BoundHandler:
    """Return a typed handler in the form that endpoints run.

    Args:
        call: The handler.
        payload: The type of its payload; `UNSET` if it takes none.
        result: The type of its result; `UNSET` if it is not annotated.
        wants_request: Whether it takes the request, too.
        codec: The form of payload and result; JSON by default.

    Raises:
        ConfigError: pydantic, or the codec, does not know a type.
    """
    encoder = encoder_of(Any if result is UNSET else result, codec)
    returned = no_schema if result is UNSET else encoder.schema
    if payload is UNSET:
        handle = _without_payload(call, encoder, wants_request)
        return BoundHandler(handle, response_schema=returned, response=encoder.form)
    decoder = decoder_of(payload, codec)
    handle = _with_payload(call, decoder, encoder, wants_request)
    if decoder.form.codec is not None:
        handle = checked(handle, decoder.form.codec)
    return BoundHandler(
        handle, decoder.schema, returned, request=decoder.form, response=encoder.form
    )


def streaming(
    call: Callable[..., Any],
    payload: Any,
    item: Any,
    *,
    wants_request: bool,
    codec: Codec | None = None,
) -> BoundHandler:
    """Return a handler that makes an asynchronous iterator, in the form that endpoints run.

    Takes the same parameters as `typed`, with the type of the items as that of the result.
    """
    encoder = encoder_of(Any if item is UNSET else item, codec)
    decoder = None if payload is UNSET else decoder_of(payload, codec)
    model, encode_model, encode = encoder.model, encoder.encode_model, encoder.encode

    def encode_item(value: Any) -> bytes:
        return encode_model(value) if value.__class__ is model else encode(value)

    async def handle(request: Request) -> None:
        arguments: list[Any] = [request] if wants_request else []
        if decoder is not None:
            try:
                arguments.insert(0, decoder.decode(request.data()))
            except decoder.invalid as error:
                raise refusal(error) from error
        await answer_with(request, call(*arguments), encode_item)

    asked = Decoder(bytes) if decoder is None else decoder
    returned = no_schema if item is UNSET else encoder.schema
    return BoundHandler(
        handle if asked.form.codec is None else checked(handle, asked.form.codec),
        asked.schema,
        returned,
        request=asked.form,
        response=encoder.form,
        streams=True,
    )


class Decoder(NamedTuple):
    """A decoder of payloads.

    Attributes:
        decode: Returns the value of a payload.
        invalid: The errors that it raises for an invalid payload.
        schema: Returns the JSON Schema.
        form: The codec and what discovery says of it.
    """

    decode: Callable[[bytes], Any]
    invalid: tuple[type[Exception], ...] = ()
    schema: Schema = no_schema
    form: Form = PLAIN


class Encoder(NamedTuple):
    """An encoder of results, with a faster one for results of exactly the declared model."""

    encode: Callable[[Any], bytes]
    schema: Schema = no_schema
    model: Any = UNSET
    encode_model: Callable[[Any], bytes] = bytes
    form: Form = PLAIN


def _with_payload(
    call: Callable[..., Awaitable[Any]], decoder: Decoder, encoder: Encoder, wants_request: bool
) -> Handler:
    decode, invalid = decoder.decode, decoder.invalid
    model, encode_model, encode = encoder.model, encoder.encode_model, encoder.encode
    headers = encoder.form.headers

    async def handle(request: Request) -> None:
        try:
            payload = decode(request.data())
        except invalid as error:
            raise refusal(error) from error
        answer = await (call(payload, request) if wants_request else call(payload))
        if answer.__class__ is model:
            await request.respond(encode_model(answer), headers)
        elif answer is not None or not _answered(request):
            await request.respond(encode(answer), headers)

    return handle


def _without_payload(
    call: Callable[..., Awaitable[Any]], encoder: Encoder, wants_request: bool
) -> Handler:
    async def handle(request: Request) -> None:
        answer = await (call(request) if wants_request else call())
        if answer is not None or not _answered(request):
            await request.respond(encoder.encode(answer), encoder.form.headers)

    return handle


def checked(handle: Handler, codec: Codec) -> Handler:
    """Return a handler that refuses requests with another content type."""

    async def check(request: Request) -> None:
        if not codec.accepts(request.headers()):
            raise Reject(f"unsupported content type: expected {codec.content_type}", 415)
        await handle(request)

    return check


def _answered(request: Request) -> bool:
    return isinstance(request, NatsRequest) and request.sent is not None


def decoder_of(payload: Any, codec: Codec | None = None) -> Decoder:
    """Return the decoder of payloads of a type.

    Raises:
        ConfigError: pydantic, or the codec, does not know the type.
    """
    if payload is bytes:
        return Decoder(bytes)
    if codec is not None and codec is not JSON:
        schema = _data_schema(payload, "validation") if codec.is_json_data else no_schema
        return Decoder(
            lambda data: codec.decode(data, payload), (ValueError,), schema, _form(payload, codec)
        )
    from pydantic import TypeAdapter, ValidationError

    adapter = _adapter(TypeAdapter, payload)
    decode = adapter.validator.validate_json
    return Decoder(decode, (ValidationError,), lambda: _schema(adapter, "validation"))


def encoder_of(result: Any, codec: Codec | None = None) -> Encoder:
    """Return the encoder of values of a type.

    Raises:
        ConfigError: pydantic, or the codec, does not know the type.
    """
    if result is bytes:
        return Encoder(bytes)
    if result in (None, type(None)):
        return Encoder(lambda _: b"")
    if codec is not None and codec is not JSON:
        schema = _data_schema(result, "serialization") if codec.is_json_data else no_schema
        return Encoder(lambda value: codec.encode(value, result), schema, form=_form(result, codec))
    from pydantic import BaseModel, TypeAdapter

    adapter = _adapter(TypeAdapter, result)
    to_json: Callable[..., bytes] = adapter.serializer.to_json
    # A result of another type than declared is a bug of the handler, not a warning.
    encode = partial(to_json, by_alias=True, warnings="error")
    is_model = isinstance(result, type) and issubclass(result, BaseModel)
    # A result of exactly the declared model was validated when it was made.
    model = result if is_model else UNSET
    # The aliases of the schema; without any, the argument would only cost time.
    encode_model = partial(to_json, by_alias=True) if _has_alias(adapter.core_schema) else to_json
    return Encoder(encode, lambda: _schema(adapter, "serialization"), model, encode_model)


def _has_alias(schema: Any) -> bool:
    """Return whether a core schema of pydantic has an alias for answers."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if each.get("serialization_alias") or each.get("alias"):
                return True
            waiting.extend(each.values())
        elif isinstance(each, list | tuple):
            waiting.extend(each)
    return False


def _data_schema(kind: Any, mode: str) -> Schema:
    from pydantic import TypeAdapter

    adapter = _adapter(TypeAdapter, kind)
    return lambda: _schema(adapter, mode)


def _form(kind: Any, codec: Codec) -> Form:
    told = {} if codec.describe is None else codec.describe(kind)
    return Form(codec, {CONTENT_TYPE: codec.content_type}, dict(told))


def refusal(error: Any) -> ServiceError:
    """Return the answer to an invalid payload."""
    listed = getattr(error, "json", None)
    if listed is None:  # of a codec; its text may hold parts of the payload
        details = b'[{"type":"decoding","loc":[],"msg":"Payload cannot be decoded"}]'
    else:
        details = listed(include_url=False, include_input=False).encode()
    return Reject("invalid request", 400, data=details, headers=_JSON_HEADERS)


_JSON_HEADERS = {CONTENT_TYPE: JSON.content_type}


def _adapter(factory: Any, annotation: Any) -> Any:
    from pydantic.errors import PydanticUserError

    try:
        adapter = factory(annotation)
        _ = adapter.validator.validate_json  # raises for a name that is not defined
        return adapter
    except PydanticUserError as error:
        reason = error.message.partition("\n")[0]
        raise ConfigError(f"invalid handler type {annotation!r}: {reason}") from error


def _schema(adapter: Any, mode: str) -> dict[str, Any] | None:
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        return cast(dict[str, Any], adapter.json_schema(mode=mode))
    except PydanticInvalidForJsonSchema:
        return None
