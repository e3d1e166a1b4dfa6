"""Middlewares: their form, and how they are folded around a handler."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

from micro._errors import ConfigError, NoResponseError
from micro._handlers.exceptions import ExceptionHandlers, answer_to
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import Handler, Request, Response

NextHandler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""The next middleware, or the handler."""

Middleware: TypeAlias = Callable[[Request, NextHandler], Awaitable[Response]]
"""`async (request, next) -> Response`.

Call `next(request)` at most once and return its answer, changed or not, or another one. Errors of
the next middleware or the handler are exceptions of `next`; an error answer is a `ServiceError`.
"""


def check_middlewares(middlewares: object) -> tuple[Middleware, ...]:
    """Return a checked collection of middlewares.

    Raises:
        ConfigError: It is no collection, or an entry cannot be called.
    """
    if isinstance(middlewares, str | bytes) or not isinstance(middlewares, Iterable):
        raise ConfigError(f"invalid middlewares {middlewares!r}: expected a list")
    checked = tuple(middlewares)
    for middleware in checked:
        if not callable(middleware):
            raise ConfigError(f"invalid middleware {middleware!r}: expected a function")
    return checked


class Work(NamedTuple):
    """A handler folded with its middlewares, in the form that requests are run in.

    Attributes:
        call: The outermost middleware, or the handler if there are none. Calling it runs nothing
            yet. It leaves the answer in the request.
        direct: The handler as a plain function, if it never waits and has no middlewares.
        wrapped: Whether there are middlewares.
        outer: The outermost middleware as a function of the request, if there are middlewares.
    """

    call: Callable[[NatsRequest], Coroutine[Any, Any, object]]
    direct: Callable[[NatsRequest], object] | None = None
    wrapped: bool = False
    outer: NextHandler | None = None


def fold(
    handler: Handler,
    middlewares: Iterable[Middleware],
    direct: Callable[[NatsRequest], None] | None = None,
    *,
    exception_handlers: ExceptionHandlers | None = None,
) -> Work:
    """Fold middlewares around a handler, the first one outermost.

    The middlewares see the answer that an exception handler gives to an exception of the handler.
    """
    stack = tuple(middlewares)
    if not stack:
        return Work(_deferred(handler), direct)  # a coroutine less for each request
    following: NextHandler = _innermost(handler, exception_handlers or {})
    for middleware in reversed(stack[1:]):
        following = _wrap(middleware, following)
    outer = _wrap(stack[0], following)
    return Work(outermost(outer), wrapped=True, outer=outer)


def _deferred(handler: Handler) -> Callable[[NatsRequest], Coroutine[Any, Any, object]]:
    """Return a coroutine function: calling it runs nothing yet."""
    if inspect.iscoroutinefunction(handler):
        return handler

    async def call(request: Request) -> None:
        await handler(request)

    return call


def outermost(outer: NextHandler) -> Callable[[NatsRequest], Coroutine[Any, Any, None]]:
    """Return a middleware as a coroutine function that leaves the answer in the request."""

    async def call(request: NatsRequest) -> None:
        response = await outer(request)
        if not isinstance(response, Response):
            raise TypeError(f"a middleware returned {response!r}: expected a Response")
        request.sent, request.sent_headers = response.answer()

    return call


async def awaited(response: Awaitable[Response]) -> Response:
    """Return what a middleware gives that is no coroutine function."""
    return await response


def _innermost(handler: Handler, exception_handlers: ExceptionHandlers) -> NextHandler:
    async def call(request: Request) -> Response:
        # A middleware may pass on another Request. The types are compared first because
        # isinstance() is slow for an abstract class.
        received: NatsRequest
        if type(request) is NatsRequest:
            received = request
        else:
            received = request if isinstance(request, NatsRequest) else _Foreign(request)
        try:
            await handler(received)
        except BaseException as failure:
            answer = answer_to(failure, exception_handlers)
            if answer is None or received.is_late(failure):
                received.failure = failure
                raise
            received.failure = answer
            raise answer from failure
        if received.sent is None:
            raise NoResponseError("handler did not respond")
        response = received.answered()
        if received.sent_headers is not None:
            error = response.error()
            if error is not None:
                raise error
        return response

    return call


class _Foreign(NatsRequest):
    """A request that keeps the answer to a Request made by a middleware."""

    __slots__ = ("_origin",)

    def __init__(self, origin: Request) -> None:
        super().__init__(origin.subject().encode(), b"", origin.data(), origin.headers())
        self._origin = origin

    @property
    def state(self) -> SimpleNamespace:
        """The namespace of the request that the middleware made."""
        return self._origin.state


def _wrap(middleware: Middleware, following: NextHandler) -> NextHandler:
    def call(request: Request) -> Awaitable[Response]:
        return middleware(request, following)

    return call
