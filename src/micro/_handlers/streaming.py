"""Handlers that answer with many messages: async generators."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

from micro._handlers.bound_handler import UNSET
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Request

Encode: TypeAlias = Callable[[Any], bytes]
"""Returns the payload of an item."""

Decode: TypeAlias = Callable[[bytes], Any]
"""Returns the value of the payload of an item."""

Take: TypeAlias = Callable[[AsyncIterator[Any]], Coroutine[Any, Any, None]]
"""A handler that takes the items of its caller."""

_ITERATORS = (AsyncIterator, AsyncIterable, AsyncGenerator)


class StreamRequest(NatsRequest):
    """A request whose answer may be many messages."""

    __slots__ = ()

    async def deliver(self, items: AsyncIterator[Any], encode: Encode) -> None:
        """Send items as messages; the answer of the request is their end."""
        raise NotImplementedError

    async def exchange(self, decode: Decode, handle: Take) -> None:
        """Pass the items that the caller sends to a handler, which answers the request."""
        raise NotImplementedError


def item_type(handler: Callable[..., Any], result: Any) -> Any:
    """Return the type of the items of a streaming handler, None for another handler.

    Args:
        handler: The handler.
        result: The annotation of its result.
    """
    iterated = iterated_type(result)
    if iterated is not None:
        return iterated
    call = getattr(handler, "__call__", handler)  # noqa: B004 - an instance with an async __call__
    streams = inspect.isasyncgenfunction(handler) or inspect.isasyncgenfunction(call)
    return UNSET if streams else None


def iterated_type(annotation: Any) -> Any:
    """Return `T` for `AsyncIterator[T]`, `UNSET` without a type, None for another annotation."""
    if (typing.get_origin(annotation) or annotation) not in _ITERATORS:
        return None
    given = typing.get_args(annotation)
    return given[0] if given else UNSET


async def answer_with(request: Request, items: Any, encode: Encode) -> None:
    """Answer a request with the items of an asynchronous iterator.

    Raises:
        TypeError: A middleware has passed on a request of its own, which has no stream.
    """
    if inspect.isawaitable(items):
        items = await items
    if not isinstance(request, StreamRequest):
        raise TypeError("a streaming handler needs the request that arrived, not another one")
    iterator = aiter(items)
    try:
        await request.deliver(iterator, encode)
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
