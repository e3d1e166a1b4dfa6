"""Resources of handlers by annotation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from dishka import Provider, Scope, from_context, make_async_container, provide
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import ConfigError, Request
from micro._handlers.typed import bind
from micro.adapters.dishka import FromDishka, inject, resources
from micro.testing import as_handler, make_request


class Order(BaseModel):
    item: str


class Stock:
    name = "real"


class Session:
    def __init__(self, stock: Stock, user: str) -> None:
        self.name = f"{stock.name} {user}"


class Resources(Provider):
    request = from_context(Request, scope=Scope.REQUEST)

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[str] = []

    @provide(scope=Scope.APP)
    def stock(self) -> Stock:
        return Stock()

    @provide(scope=Scope.REQUEST)
    async def session(self, stock: Stock, request: Request) -> AsyncIterator[Session]:
        session = Session(stock, request.headers().get("User", "nobody"))
        yield session
        self.closed.append(session.name)


class Replaced(Resources):
    @provide(scope=Scope.APP, override=True)
    def stock(self) -> Stock:
        stock = Stock()
        stock.name = "test"
        return stock


@inject
async def place(order: Order, session: FromDishka[Session]) -> str:
    """Place an order."""
    return f"{order.item} {session.name}"


@inject
async def seen(order: Order, request: Request, session: FromDishka[Session]) -> str:
    return f"{request.subject()} {session.name}"


@inject
async def only(session: FromDishka[Session]) -> str:
    return session.name


@inject
async def raw(request: Request, session: FromDishka[Session]) -> None:
    await request.respond(session.name.encode())


@inject
async def plain(order: Order) -> str:
    return order.item


class Desk:
    @inject
    async def place(self, order: Order, session: FromDishka[Session]) -> str:
        return f"desk {order.item} {session.name}"


HANDLERS: list[tuple[Callable[..., Any], bytes]] = [
    (place, b'"tea real ada"'),
    (seen, b'"resources.e real ada"'),
    (only, b'"real ada"'),
    (raw, b"real ada"),
    (plain, b'"tea"'),
    (Desk().place, b'"desk tea real ada"'),
]


@pytest.mark.parametrize(("handler", "answer"), HANDLERS)
async def test_handlers_get_resources_and_close_them(
    nc: NatsClient, handler: Callable[..., Any], answer: bytes
) -> None:
    provider = Resources()
    container = make_async_container(provider)
    async with micro.add_service(
        nc, "resources", "1.0.0", middlewares=[resources(container)]
    ) as service:
        await service.add_endpoint("e", handler, subject="resources.e")
        client = micro.Client(nc)
        for _ in range(2):
            message = await client.request("resources.e", b'{"item": "tea"}', {"User": "ada"})
            assert message.data == answer
    await container.close()
    assert provider.closed == ([] if handler is plain else ["real ada"] * 2)


async def test_test_replaces_a_resource() -> None:
    container = make_async_container(Replaced())
    request = make_request("e", b'{"item": "tea"}')
    await as_handler(place, [resources(container)])(request)
    await container.close()
    assert request.response_data() == b'"tea test nobody"'


def test_schema_is_that_of_the_payload_alone() -> None:
    bound = bind(place)
    assert bound.request_schema() == Order.model_json_schema()
    assert bound.response_schema() == {"type": "string"}
    assert (place.__name__, place.__doc__) == ("place", "Place an order.")


async def test_missing_middleware_is_named() -> None:
    with pytest.raises(ConfigError, match="add the middleware"):
        await as_handler(place)(make_request("e", b'{"item": "tea"}'))


def test_function_that_blocks_is_refused() -> None:
    def block(order: Order, session: FromDishka[Session]) -> str:
        return ""

    with pytest.raises(ConfigError, match="expected an async function"):
        inject(block)  # type: ignore[type-var]  # on purpose
