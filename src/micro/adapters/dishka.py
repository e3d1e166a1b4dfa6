"""Resources of handlers by annotation, made by dishka. Extra: `dishka`.

container = make_async_container(provider)
service = await ctx.add_service("shop", "1.0.0", middlewares=[resources(container)])
ctx.push(container.close)

@inject
async def place(order: Order, stock: FromDishka[Stock]) -> Receipt: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, get_type_hints

from micro import _extras
from micro._errors import ConfigError
from micro._handlers.middleware import Middleware, NextHandler
from micro._handlers.request import Request, Response
from micro._handlers.typed import is_request

try:
    from dishka import AsyncContainer, FromDishka, Scope
    from dishka.integrations.base import wrap_injection
except ModuleNotFoundError as error:
    raise _extras.missing(error, "micro.adapters.dishka", "dishka") from None

__all__ = ["FromDishka", "inject", "resources"]

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

_REQUEST = "_micro_request"


def resources(container: AsyncContainer) -> Middleware:
    """Return a middleware that opens a scope of resources for each request.

    The resources of the scope are closed when the request ends. Its context has `micro.Request`.

    Args:
        container: The container; its owner closes it, for example with `Context.push`.
    """

    async def open_scope(request: Request, next: NextHandler) -> Response:
        async with container({Request: request}, scope=Scope.REQUEST) as scope:
            request.state.dishka_container = scope
            return await next(request)

    return open_scope


def inject(handler: F) -> F:
    """Return a handler that gets its parameters annotated with `FromDishka` from the container.

    The other parameters are those of a typed handler.

    Raises:
        ConfigError: The handler is not async.
    """
    if not inspect.iscoroutinefunction(handler):
        raise ConfigError(f"invalid handler {handler!r}: expected an async function")
    hints = get_type_hints(handler, include_extras=True)
    own = inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    injected: Any = wrap_injection(
        func=handler,
        container_getter=lambda arguments, named: _container(named[_REQUEST]),
        is_async=True,
        additional_params=[own],
    )
    if injected is handler:  # it asks for nothing
        return handler
    parameters = [
        each for each in inspect.signature(injected).parameters.values() if each.name != _REQUEST
    ]
    wants_request = any(is_request(each.annotation) for each in parameters)

    async def call(*arguments: Any) -> Any:
        passed = arguments if wants_request else arguments[:-1]
        return await injected(*passed, **{_REQUEST: arguments[-1]})

    if not wants_request:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter("request", kind, annotation=Request))
    signature = inspect.Signature(parameters, return_annotation=_returned(hints))
    call.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
    call.__name__, call.__qualname__ = handler.__name__, handler.__qualname__
    call.__doc__, call.__module__ = handler.__doc__, handler.__module__
    wrapped: Any = call
    return wrapped  # type: ignore[no-any-return]  # called by endpoints only, which fill the rest


def _returned(hints: dict[str, Any]) -> Any:
    returned = hints.get("return", inspect.Signature.empty)
    return None if returned is type(None) else returned


def _container(request: Request) -> AsyncContainer:
    container: AsyncContainer | None = getattr(request.state, "dishka_container", None)
    if container is None:
        raise ConfigError(
            "the request has no resources: add the middleware micro.adapters.dishka.resources"
        )
    return container
