"""Middlewares: the one form they have, and how they are folded around a handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from micro._errors import NoResponseError
from micro._request import Handler, NatsRequest, Request, Response

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
    if not stack:
        return _bare(handler)
    following: NextHandler = _innermost(handler)
    for middleware in reversed(stack):
        following = _wrap(middleware, following)
    outermost = following

    async def chain(request: NatsRequest) -> Response | None:
        try:
            response = await outermost(request)
        except NoResponseError:
            if request.reply:
                raise
            return None
        if not isinstance(response, Response):
            raise TypeError(f"a middleware returned {response!r}: expected a Response")
        return response

    return chain


def _bare(handler: Handler) -> Chain:
    async def chain(request: NatsRequest) -> Response | None:
        try:
            await handler(request)
        except BaseException as error:
            request.failure = error
            raise
        response = request.response
        if response is None and request.reply:
            raise NoResponseError("handler did not respond")
        return response

    return chain


def _innermost(handler: Handler) -> NextHandler:
    async def call(request: Request) -> Response:
        # A middleware may hand on a Request of its own making.
        received = request if isinstance(request, NatsRequest) else _Foreign(request)
        try:
            await handler(received)
        except BaseException as error:
            received.failure = error
            raise
        response = received.response
        if response is None:
            raise NoResponseError("handler did not respond")
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


def _wrap(middleware: Middleware, following: NextHandler) -> NextHandler:
    async def call(request: Request) -> Response:
        return await middleware(request, following)

    return call
