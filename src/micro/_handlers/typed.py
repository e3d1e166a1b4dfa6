"""Handlers declared by their annotations, and every other form of handler.

    async def add(pair: Pair) -> int: ...
    async def find(query: Query, request: Request) -> list[Item]: ...
    async def now() -> datetime: ...
    async def rows(query: Query) -> AsyncIterator[Row]: ...    # many answers: an async generator
    async def total(rows: AsyncIterator[Row]) -> int: ...   # the caller sends many items
    async def echo(request: Request) -> None: ...        # raw: answers with request.respond()

The payload is JSON, except that a parameter or result of type `bytes` is the payload itself.
"""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

from micro._errors import ConfigError
from micro._handlers.bound_handler import UNSET, BoundHandler
from micro._handlers.codec import Codec
from micro._handlers.request import DONE, Request
from micro._handlers.returned import returns_a_value
from micro._handlers.streaming import item_type, iterated_type
from micro._handlers.threads import RunInThread

AnyHandler = Callable[..., Any]
"""A raw or typed handler: `async def`, or `def`, which runs in a thread."""

F = TypeVar("F", bound=Callable[..., Any])

_CHEAP = "__micro_cheap__"


def cheap(handler: F) -> F:
    """Mark a synchronous handler that never blocks, so that it runs without a thread."""
    setattr(handler, _CHEAP, True)
    return handler


def bind(
    handler: AnyHandler,
    run_in_thread: RunInThread = asyncio.to_thread,
    codec: Codec | None = None,
) -> BoundHandler:
    """Return a raw, typed or synchronous handler in the form that endpoints run.

    Args:
        handler: The handler.
        run_in_thread: Runs a synchronous handler.
        codec: The form of payloads and results; JSON by default.

    Raises:
        ConfigError: The handler is not callable, its parameters have another form, or it returns a
            value without an annotation.
    """
    if not callable(handler):
        raise ConfigError(f"invalid handler {handler!r}: expected a function")
    payload, taken, wants_request, result = signature_of(handler)
    item = item_type(handler, result)
    if taken is not None:
        from micro._handlers.uploading import uploading

        call = handler if item is not None else _asynchronous(handler, run_in_thread)
        return uploading(
            call, payload, taken, result, item=item, wants_request=wants_request, codec=codec
        )
    if item is not None:
        from micro._handlers import typed_codecs

        return typed_codecs.streaming(
            handler, payload, item, wants_request=wants_request, codec=codec
        )
    call = _asynchronous(handler, run_in_thread)
    if payload is UNSET and wants_request and result in (UNSET, None, type(None)):
        if returns_a_value(handler):
            name = getattr(handler, "__qualname__", repr(handler))
            raise ConfigError(
                f"invalid handler {name!r}: expected an annotation of the value that it returns, "
                "such as '-> int', or request.respond() and no value"
            )
        if getattr(handler, _CHEAP, False) and call is not handler:
            return _bind_directly(handler)
        return BoundHandler(call)
    from micro._handlers import typed_codecs

    return typed_codecs.typed(call, payload, result, wants_request=wants_request, codec=codec)


def _bind_directly(handler: Callable[[Request], Any]) -> BoundHandler:
    async def call(request: Request) -> None:
        result = handler(request)
        if result is not None and result is not DONE:
            refuse_to_wait(result)

    return BoundHandler(call, direct=handler)


def refuse_to_wait(result: object) -> None:
    """Raise TypeError if a handler that is marked as cheap has returned an awaitable."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("a handler marked as cheap must not return an awaitable")


class Signature(NamedTuple):
    """The parameters and the result of a handler.

    Attributes:
        payload: The type of the payload, or `UNSET`.
        taken: The type of the items that the caller sends; None for no such parameter.
        wants_request: Whether the request is wanted.
        result: The type of the result.
    """

    payload: Any
    taken: Any
    wants_request: bool
    result: Any


def signature_of(handler: AnyHandler) -> Signature:
    """Return the parameters and the result of a handler.

    Raises:
        ConfigError: The parameters have another form than those of handlers.
    """
    if _is_plain(handler):
        return Signature(UNSET, None, True, None)
    name = getattr(handler, "__qualname__", repr(handler))
    try:
        signature = inspect.signature(handler, eval_str=True)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"cannot read the annotations of handler {name!r}: {error}") from error
    result = _awaited(signature.return_annotation)
    form = ConfigError(
        f"invalid handler {name!r}: expected (request), (payload) or (payload, request: Request)"
    )
    parameters = [entry for entry in signature.parameters.values() if _is_filled(entry)]
    if any(entry.kind is entry.KEYWORD_ONLY for entry in parameters):
        raise form
    types = [entry.annotation for entry in parameters if entry.kind is not entry.VAR_POSITIONAL]
    if any(iterated_type(each) is not None for each in types):
        uploading = _uploading(types, result)
        if uploading is None:
            raise ConfigError(
                f"invalid handler {name!r}: expected (items), (payload, items) or either with "
                "(..., request: Request), the items as one AsyncIterator"
            )
        return uploading
    match types:
        case []:
            # A decorator's (*arguments) says nothing: it takes the argument of a raw handler.
            return Signature(UNSET, None, bool(parameters), result)
        case [only] if only is UNSET or is_request(only):
            return Signature(UNSET, None, True, result)
        case [payload]:
            return Signature(payload, None, False, result)
        case [payload, second] if is_request(second) and not is_request(payload):
            return Signature(payload, None, True, result)
    raise form


def _uploading(types: list[Any], result: Any) -> Signature | None:
    """Return the signature of a handler that takes items, None for another form."""
    position = next(index for index, each in enumerate(types) if iterated_type(each) is not None)
    before, behind = types[:position], types[position + 1 :]
    if any(each is UNSET or is_request(each) for each in before) or len(before) > 1:
        return None
    if len(behind) > 1 or not all(map(is_request, behind)):
        return None
    payload = before[0] if before else UNSET
    return Signature(payload, iterated_type(types[position]), bool(behind), result)


def _is_plain(handler: AnyHandler) -> bool:
    """Return whether a handler is a function of one request, as most are.

    Reading the signature takes longer than all the rest of adding an endpoint.
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
    return parameter.default is UNSET or is_request(parameter.annotation)


def _awaited(result: Any) -> Any:
    """Return `T` for the `Awaitable[T]` that a synchronous handler may return."""
    awaitable = typing.get_origin(result) in (Awaitable, Coroutine)
    return typing.get_args(result)[-1] if awaitable else result


def is_request(annotation: Any) -> bool:
    """Return whether a parameter with this annotation takes the request."""
    return isinstance(annotation, type) and issubclass(annotation, Request)


def _asynchronous(handler: AnyHandler, run_in_thread: RunInThread) -> Callable[..., Awaitable[Any]]:
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
        return await _resolved(await run_in_thread(handler, *arguments))

    return threaded


async def _resolved(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
