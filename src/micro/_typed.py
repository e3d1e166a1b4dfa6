"""Handlers declared by their annotations: pydantic in, pydantic out.

    async def add(pair: Pair) -> int: ...
    async def find(query: Query, request: Request) -> list[Item]: ...
    async def now() -> datetime: ...
    async def echo(request: Request) -> None: ...        # not typed: answers by request.respond()

The payload is JSON, except that a parameter or result of type ``bytes`` is the payload itself.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from micro._errors import ConfigError, ServiceError
from micro._received import NatsRequest
from micro._request import DONE, Handler, Request

AnyHandler = Callable[..., Any]
"""A raw handler, or a typed one; ``async def``, or ``def`` which runs in a thread."""

F = TypeVar("F", bound=Callable[..., Any])

_CHEAP = "__micro_cheap__"
_UNSET: Any = inspect.Parameter.empty


class BoundHandler(NamedTuple):
    """A handler in the form that endpoints run.

    Attributes:
        call: The handler as ``async (request) -> None``.
        direct: The handler as ``(request) -> None`` if it is a raw one that never waits.
        request_schema: Returns the JSON Schema of the payload, None when it has none.
        response_schema: The same for the answer.
    """

    call: Handler
    request_schema: Callable[[], dict[str, Any] | None]
    response_schema: Callable[[], dict[str, Any] | None]
    direct: Callable[[Request], None] | None = None


def cheap(handler: F) -> F:
    """Mark a synchronous handler as one that never blocks, to be run without a thread."""
    setattr(handler, _CHEAP, True)
    return handler


def bind(handler: AnyHandler) -> BoundHandler:
    """Return a raw, typed or synchronous handler in the form that endpoints run.

    Raises:
        ConfigError: It is not callable, or its parameters are not of a known form.
    """
    if not callable(handler):
        raise ConfigError(f"invalid handler {handler!r}: expected a function")
    payload, wants_request, result = _signature(handler)
    call = _asynchronous(handler)
    if payload is _UNSET and wants_request and result in (_UNSET, None, type(None)):
        if getattr(handler, _CHEAP, False) and call is not handler:
            return _bind_directly(handler)
        return BoundHandler(call, _no_schema, _no_schema)
    decoder = _decoder(payload)
    encoder = _encoder(result)
    return BoundHandler(
        _typed(call, decoder, encoder, wants_request=wants_request),
        decoder.schema,
        encoder.schema,
    )


def _typed(
    call: Callable[..., Awaitable[Any]],
    decoder: _Decoder,
    encoder: _Encoder,
    *,
    wants_request: bool,
) -> Handler:
    decode, invalid = decoder.decode, decoder.invalid
    model, encode_model, encode = encoder.model, encoder.encode_model, encoder.encode

    async def typed(request: Request) -> None:
        try:
            payload = decode(request.data())
        except invalid as error:
            raise _refusal(error) from error
        answer = await (call(payload, request) if wants_request else call(payload))
        if answer.__class__ is model:
            await request.respond(encode_model(answer))
        elif answer is not None or not _answered(request):
            await request.respond(encode(answer))

    async def without_payload(request: Request) -> None:
        answer = await (call(request) if wants_request else call())
        if answer is not None or not _answered(request):
            await request.respond(encode(answer))

    return typed if decode is not _no_decode else without_payload


def _bind_directly(handler: Callable[[Request], Any]) -> BoundHandler:
    async def call(request: Request) -> None:
        result = handler(request)
        if result is not None and result is not DONE:
            refuse_to_wait(result)

    return BoundHandler(call, _no_schema, _no_schema, handler)


def refuse_to_wait(result: object) -> None:
    """Raise TypeError for a handler marked as cheap that has returned an awaitable all the same."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("a handler marked as cheap must not return an awaitable")


def _signature(handler: AnyHandler) -> tuple[Any, bool, Any]:
    """Return the payload's type or _UNSET, whether the request is wanted, and the result's type."""
    if _is_plain(handler):
        return _UNSET, True, None
    name = getattr(handler, "__qualname__", repr(handler))
    try:
        signature = inspect.signature(handler, eval_str=True)
    except (NameError, TypeError, ValueError) as exc:
        raise ConfigError(f"cannot read the annotations of handler {name!r}: {exc}") from exc
    result = _awaited(signature.return_annotation)
    form = ConfigError(
        f"invalid handler {name!r}: expected (request), (payload) or (payload, request: Request)"
    )
    parameters = [entry for entry in signature.parameters.values() if _is_filled(entry)]
    if any(entry.kind is entry.KEYWORD_ONLY for entry in parameters):
        raise form
    types = [entry.annotation for entry in parameters if entry.kind is not entry.VAR_POSITIONAL]
    match types:
        case []:
            # A decorator's (*arguments) says nothing of its own: it takes what a raw handler takes.
            return _UNSET, bool(parameters), result
        case [only] if only is _UNSET or _is_request(only):
            return _UNSET, True, result
        case [payload]:
            return payload, False, result
        case [payload, second] if _is_request(second) and not _is_request(payload):
            return payload, True, result
    raise form


def _is_plain(handler: AnyHandler) -> bool:
    """Return whether it is a function of one request, as most are.

    The general way takes longer than all the rest of adding an endpoint.
    """
    if not isinstance(handler, FunctionType) or hasattr(handler, "__wrapped__"):
        return False
    code = handler.__code__
    several = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if code.co_argcount != 1 or code.co_kwonlyargcount or several or handler.__defaults__:
        return False
    known = handler.__globals__
    for name, given in handler.__annotations__.items():
        meant = known.get(given, given) if isinstance(given, str) else given
        if meant not in ((None, "None") if name == "return" else (Request,)):
            return False
    return True


def _is_filled(parameter: inspect.Parameter) -> bool:
    if parameter.kind is parameter.VAR_KEYWORD:
        return False
    return parameter.default is _UNSET or _is_request(parameter.annotation)


def _awaited(result: Any) -> Any:
    """Return what comes of the ``Awaitable[T]`` that a synchronous handler may return."""
    awaitable = typing.get_origin(result) in (Awaitable, Coroutine)
    return typing.get_args(result)[-1] if awaitable else result


def _is_request(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Request)


def _asynchronous(handler: AnyHandler) -> Callable[..., Awaitable[Any]]:
    if inspect.iscoroutinefunction(handler):
        return handler
    call = getattr(handler, "__call__", handler)  # noqa: B004 - an instance with an async __call__
    if inspect.iscoroutinefunction(call):
        return handler
    if getattr(handler, _CHEAP, False):

        def inline(*arguments: Any) -> Awaitable[Any]:
            result = handler(*arguments)
            return DONE if result is None else _resolved(result)

        return inline

    async def threaded(*arguments: Any) -> Any:
        return await _resolved(await asyncio.to_thread(handler, *arguments))

    return threaded


async def _resolved(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _answered(request: Request) -> bool:
    return isinstance(request, NatsRequest) and request.sent is not None


def _no_schema() -> None:
    return None


class _Decoder(NamedTuple):
    """How payloads become values: what it raises for one that is invalid, and the JSON Schema."""

    decode: Callable[[bytes], Any]
    invalid: tuple[type[Exception], ...] = ()
    schema: Callable[[], dict[str, Any] | None] = _no_schema


def _decoder(payload: Any) -> _Decoder:
    if payload is _UNSET:
        return _Decoder(_no_decode)
    if payload is bytes:
        return _Decoder(bytes)
    from pydantic import TypeAdapter, ValidationError  # costs more to import than all the rest

    adapter = _adapter(TypeAdapter, payload)
    decode = adapter.validator.validate_json
    return _Decoder(decode, (ValidationError,), lambda: _schema(adapter, "validation"))


def _no_decode(data: bytes) -> None:
    return None


def _refusal(error: Any) -> ServiceError:
    details = error.json(include_url=False, include_input=False).encode()
    headers = {"Content-Type": "application/json"}
    return ServiceError(400, "invalid request", data=details, headers=headers)


class _Encoder(NamedTuple):
    """How results become payloads, those that are just the declared model in a third of the time."""

    encode: Callable[[Any], bytes]
    schema: Callable[[], dict[str, Any] | None] = _no_schema
    model: Any = _UNSET
    encode_model: Callable[[Any], bytes] = bytes


def _encoder(result: Any) -> _Encoder:
    if result is bytes:
        return _Encoder(bytes)
    if result in (None, type(None)):
        return _Encoder(lambda _: b"")
    from pydantic import BaseModel, TypeAdapter

    adapter = _adapter(TypeAdapter, Any if result is _UNSET else result)
    to_json: Callable[..., bytes] = adapter.serializer.to_json
    # A result of another type than declared is a bug of the handler, not a warning.
    encode = partial(to_json, warnings="error")
    if result is _UNSET:
        return _Encoder(encode)
    is_model = isinstance(result, type) and issubclass(result, BaseModel)
    # One that is just the model was validated when it was made.
    model = result if is_model else _UNSET
    return _Encoder(encode, lambda: _schema(adapter, "serialization"), model, to_json)


def _adapter(factory: Any, annotation: Any) -> Any:
    from pydantic.errors import PydanticUserError

    try:
        return factory(annotation)
    except PydanticUserError as exc:
        reason = exc.message.partition("\n")[0]
        raise ConfigError(f"invalid handler type {annotation!r}: {reason}") from exc


def _schema(adapter: Any, mode: str) -> dict[str, Any] | None:
    from pydantic.errors import PydanticInvalidForJsonSchema

    try:
        return typing.cast(dict[str, Any], adapter.json_schema(mode=mode))
    except PydanticInvalidForJsonSchema:
        return None
