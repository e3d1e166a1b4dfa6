"""Middlewares: the one form they have, and how they are folded around a handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from micro._errors import NoResponseError
from micro._request import FrameRequest, Handler, NatsRequest, Request, Response

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
        response = returned if isinstance(returned, Response) else request.response
        if stack and not isinstance(returned, Response):
            raise TypeError(f"a middleware returned {returned!r}: expected a Response")
        if response is None and request.reply:
            raise NoResponseError("handler did not respond")
        return response

    return chain


@dataclass(frozen=True)
class Work:
    """A handler folded with its middlewares, in the form that requests are run in.

    Attributes:
        call: The outermost middleware, which returns what to answer, or the bare handler, which
            leaves that in the request.
        direct: The bare handler as a plain function, if it never waits.
        wrapped: Whether there are middlewares.
    """

    call: Callable[[NatsRequest], Awaitable[object]]
    direct: Callable[[NatsRequest], None] | None = None
    wrapped: bool = False


def fold(
    handler: Handler,
    middlewares: Iterable[Middleware],
    direct: Callable[[NatsRequest], None] | None = None,
) -> Work:
    """Return what `compose` runs, before it finds out what to answer."""
    stack = tuple(middlewares)
    if not stack:
        return Work(handler, direct)  # a coroutine less for each request
    following: NextHandler = _innermost(handler)
    for middleware in reversed(stack):
        following = _wrap(middleware, following)
    return Work(following, wrapped=True)


def _innermost(handler: Handler) -> NextHandler:
    async def call(request: Request) -> Response:
        # A middleware may hand on a Request of its own making.
        # (The type is compared first because isinstance() is slow for an abstract class.)
        received = (
            request
            if type(request) is FrameRequest or isinstance(request, NatsRequest)
            else _Foreign(request)
        )
        try:
            await handler(received)
        except BaseException as failure:
            received.failure = failure
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
    def call(request: Request) -> Awaitable[Response]:
        return middleware(request, following)

    return call
