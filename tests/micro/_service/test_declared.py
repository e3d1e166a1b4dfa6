"""Services declared at module level or as a class."""

from __future__ import annotations

import inspect
import threading
from typing import Any, Protocol

import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import ConfigError, Request, Response
from micro._handlers.middleware import NextHandler
from micro._program.context import Context
from micro._service import declared as declarations
from micro._service import decorators


class Order(BaseModel):
    item: str
    count: int = 1


class Receipt(BaseModel):
    number: int


def tag(name: str) -> micro.Middleware:
    async def middleware(request: Request, next: NextHandler) -> Response:
        response = await next(request)
        response.add_header("Tags", f"{name} {response.headers().get('Tags', '')}".strip())
        return response

    return middleware


desk = micro.service(
    "desk", "1.2.3", description="Sells.", metadata={"team": "a"}, middlewares=[tag("service")]
)
orders = desk.group("orders", max_in_flight=4, middlewares=[tag("group")])


@orders.group("v1").endpoint(timeout=2, metadata={"x": "1"}, middlewares=[tag("endpoint")])
async def place(order: Order) -> Receipt:
    """Place an order."""
    return Receipt(number=order.count)


@desk.endpoint
async def ping(request: Request) -> None:
    await request.respond(b"pong")


@desk.endpoint(name="blocking", subject="desk.blocking", queue_group="")
def block() -> str:
    return threading.current_thread().name


class ShopApi(Protocol):
    """What a shop does."""

    @micro.endpoint
    async def place(self, order: Order) -> Receipt:
        """Place an order."""
        ...


@micro.service("stall", "2.0.0")
class Shop(ShopApi):
    """Sells to everybody."""

    refunds = micro.group("refunds", middlewares=[tag("group")])

    def __init__(self, first: int = 1) -> None:
        self.number = first

    async def place(self, order: Order) -> Receipt:
        return Receipt(number=self.number)

    @refunds.endpoint(name="pay-back")
    async def pay_back(self, order: Order) -> bool:
        """Pay back."""
        return order.count > self.number

    async def hidden(self) -> None: ...


async def test_declared_service_is_added_with_its_groups_and_options(nc: NatsClient) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        service = await ctx.add(desk)
        client = micro.Client(nc)

        assert await client.call("orders.v1.place", Order(item="a", count=3), returns=Receipt) == (
            Receipt(number=3)
        )
        answer = await client.request("orders.v1.place", b'{"item": "a"}')
        assert (answer.headers or {})["Tags"] == "service group endpoint"
        assert (await client.request("ping")).data == b"pong"
        assert (await client.call("desk.blocking", returns=str)).startswith("micro")

    info = service.info()
    assert (info.name, info.version, info.description) == ("desk", "1.2.3", "Sells.")
    assert info.metadata == {"team": "a"}


async def test_endpoints_have_their_docstrings_as_description(nc: NatsClient) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        endpoints = {each.name: each for each in (await ctx.add(desk)).info().endpoints}

    assert list(endpoints) == ["place", "ping", "blocking"]
    assert endpoints["place"].metadata["description"] == "Place an order."
    assert endpoints["place"].metadata["x"] == "1"
    assert "description" not in endpoints["ping"].metadata
    assert endpoints["blocking"].queue_group == ""


@pytest.mark.parametrize(("shop", "number"), [(Shop, 1), (Shop(), 1), (Shop(first=7), 7)])
async def test_methods_of_a_class_are_endpoints(nc: NatsClient, shop: Any, number: int) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        service = await ctx.add(shop)
        client = micro.Client(nc)
        receipt = await client.call("place", Order(item="a"), returns=Receipt)
        paid = await client.call("refunds.pay-back", Order(item="a", count=5), returns=bool)

    assert (receipt.number, paid) == (number, number < 5)
    info = service.info()
    assert info.description == "Sells to everybody."
    assert {each.name: each.subject for each in info.endpoints} == {
        "place": "place",
        "pay-back": "refunds.pay-back",
    }
    assert info.endpoints[0].metadata["description"] == "Place an order."


async def test_options_given_to_add_replace_the_declared_ones(nc: NatsClient) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        service = await ctx.add(desk, description="Another.", id_generator=lambda: "one")

    assert (service.info().description, service.id) == ("Another.", "one")


async def test_one_declaration_may_be_added_twice(nc: NatsClient) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        one, two = await ctx.add(desk), await ctx.add(desk)

    assert one.id != two.id
    assert [each.name for each in one.info().endpoints] == ["place", "ping", "blocking"]


@pytest.mark.parametrize("value", [object(), 1, Protocol, ShopApi])
async def test_value_that_declares_no_service_is_refused(nc: NatsClient, value: Any) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        with pytest.raises(ConfigError, match=r"expected one declared by micro\.service"):
            await ctx.add(value)


async def test_class_that_needs_arguments_is_refused(nc: NatsClient) -> None:
    @micro.service("needy", "1.0.0")
    class Needy:
        def __init__(self, stock: int) -> None: ...

    async with micro.Context(nc) as ctx:
        await ctx.connect()
        with pytest.raises(ConfigError, match=r"cannot make service .*Needy.*stock"):
            await ctx.add(Needy)


def test_mistakes_are_refused_where_they_are_declared() -> None:
    with pytest.raises(ConfigError, match="bad name"):
        micro.service("bad name", "1.0.0")
    with pytest.raises(ConfigError, match="not a version"):
        micro.service("a", "not a version")
    with pytest.raises(ConfigError, match="bad name"):
        micro.group("bad name")
    with pytest.raises(ConfigError, match="bad name"):
        micro.endpoint(name="bad name")(place)
    with pytest.raises(ConfigError, match="invalid stream name 'a b'"):
        micro.consumer("a b")(place)
    with pytest.raises(ConfigError, match="invalid consumer name 'a b'"):
        micro.consumer("A", name="a b")(place)
    with pytest.raises(TypeError, match=r"unknown options \['pending_msgs_limit'\]"):
        micro.consumer("A", pending_msgs_limit=3)(place)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(ConfigError, match="expected a class"):
        micro.service("a", "1.0.0")(place)
    with pytest.raises(TypeError, match=r"unknown options \['colour'\]"):
        micro.service("a", "1.0.0", colour="red")  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match=r"unknown options \['colour'\]"):
        micro.endpoint(colour="red")(place)  # type: ignore[call-overload]  # on purpose


@pytest.mark.parametrize(
    ("function", "options", "positional"),
    [
        (Context.add_service, declarations.ServiceOptions, {"name", "version"}),
        (micro.Service.add_group, declarations.GroupOptions, {"name"}),
        (micro.Service.add_endpoint, decorators.EndpointOptionsGiven, {"handler"}),
        (micro.Service.add_subscriber, decorators.SubscriberOptionsGiven, {"handler", "subject"}),
        (micro.Service.add_consumer, decorators.ConsumerOptionsGiven, {"handler", "stream"}),
    ],
)
def test_declarations_take_the_options_of_the_functions(
    function: Any, options: Any, positional: set[str]
) -> None:
    names = inspect.signature(function).parameters.keys() - {"self", "options"} - positional
    inherits = "options" in inspect.signature(function).parameters
    inherited = set(micro.EndpointDefaults.__annotations__) if inherits else set()
    assert options.__optional_keys__ == names | inherited
