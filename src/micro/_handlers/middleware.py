"""Middlewares: the one form they have, and how they are folded around a handler."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

from micro._errors import NoResponseError
from micro._handlers.nats_request import FrameRequest, MsgRequest, NatsRequest
from micro._handlers.request import Handler, Request, Response

R = TypeVar("R")

NextHandler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""What is behind a middleware: the next one, or the handler at last."""

Middleware: TypeAlias = Callable[[Request, NextHandler], Awaitable[Response]]
"""``async (request, next) -> Response``.

Call ``next(request)`` at most once and return its answer, changed or not, or another one. Errors of
what is behind come out of ``next`` as exceptions, an answered error as `ServiceError`.
"""

Chain: TypeAlias = Callable[[NatsRequest], Awaitable[Response | None]]
"""A handler with its middlewares: returns what to answer, None for no answer."""


def compose(handler: Handler, middlewares: Iterable[Middleware]) -> Chain:
    """Fold middlewares around a handler, the first one outermost."""
    stack = tuple(middlewares)
    folded = fold(handler, stack).call

    async def chain(request: NatsRequest) -> Response | None:
        try:
            returned = await folded(request)
        except NoResponseError:
            if request.reply:
                raise
            return None
        response = returned if isinstance(returned, Response) else request.given()
        if stack and not isinstance(returned, Response):
            raise TypeError(f"a middleware returned {returned!r}: expected a Response")
        if response is None and request.reply:
            raise NoResponseError("handler did not respond")
        return response

    return chain


class Work(NamedTuple):
    """A handler folded with its middlewares, in the form that requests are run in.

    Attributes:
        call: The outermost middleware, which returns what to answer, or the bare handler, which
            leaves that in the request. Calling it runs nothing yet.
        direct: The bare handler as a plain function, if it never waits.
        wrapped: Whether there are middlewares.
    """

    call: Callable[[NatsRequest], Coroutine[Any, Any, object]]
    direct: Callable[[NatsRequest], object] | None = None
    wrapped: bool = False


def fold(
    handler: Handler,
    middlewares: Iterable[Middleware],
    direct: Callable[[NatsRequest], None] | None = None,
) -> Work:
    """Return what `compose` runs, before it finds out what to answer."""
    stack = tuple(middlewares)
    if not stack:
        return Work(_deferred(handler), direct)  # a coroutine less for each request
    following: NextHandler = _innermost(handler)
    for middleware in reversed(stack[1:]):
        following = _wrap(middleware, following)
    return Work(_wrap(_deferred(stack[0]), following), wrapped=True)


def _deferred(function: Callable[..., Awaitable[Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a coroutine function: calling it runs nothing yet."""
    if inspect.iscoroutinefunction(function):
        return function

    async def call(*arguments: Any) -> Any:
        return await function(*arguments)

    return call


def _innermost(handler: Handler) -> NextHandler:
    async def call(request: Request) -> Response:
        # A middleware may hand on a Request of its own making.
        # (The types are compared first because isinstance() is slow for an abstract class.)
        received: NatsRequest
        if type(request) is FrameRequest or type(request) is MsgRequest:
            received = request
        else:
            received = request if isinstance(request, NatsRequest) else _Foreign(request)
        try:
            await handler(received)
        except BaseException as failure:
            received.failure = failure
            raise
        if received.sent is None:
            raise NoResponseError("handler did not respond")
        response = received.response = Response(received.sent, received.sent_headers)
        if received.sent_headers is not None:
            error = response.error()
            if error is not None:
                raise error
        return response

    return call


class _Foreign(NatsRequest):
    """Keeps the answer to a request that a middleware put in place of the original."""

    __slots__ = ()

    def __init__(self, origin: Request) -> None:
        super().__init__(origin.subject(), "", origin.data(), origin.headers())


def _wrap(
    middleware: Callable[[Request, NextHandler], R], following: NextHandler
) -> Callable[[Request], R]:
    def call(request: Request) -> R:
        return middleware(request, following)

    return call
