"""Clients bound to a declaration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import ConfigError, Request
from micro.adapters import msgpack


class Order(BaseModel):
    item: str
    count: int = 1


class Receipt(BaseModel):
    number: int


sums = micro.group("sums")  # a member of the Protocol would be part of it


class ShopApi(Protocol):
    @micro.endpoint
    async def place(self, order: Order) -> Receipt: ...

    @sums.endpoint(name="add-up", codec=msgpack.codec)
    async def add_up(self, numbers: list[int]) -> int: ...

    @micro.endpoint(subject="shop.echo")
    async def echo(self, data: bytes) -> bytes: ...

    @micro.endpoint
    async def reset(self) -> None: ...


@micro.service("shop", "1.0.0")
class Shop(ShopApi):
    def __init__(self) -> None:
        self.resets = 0

    async def place(self, order: Order) -> Receipt:
        return Receipt(number=order.count)

    async def add_up(self, numbers: list[int]) -> int:
        return sum(numbers)

    async def echo(self, data: bytes) -> bytes:
        return data

    async def reset(self) -> None:
        self.resets += 1

    @micro.endpoint
    async def raw(self, request: Request) -> None:
        await request.respond(b"raw")


class RowsApi(Protocol):
    @micro.endpoint(codec=msgpack.codec)
    def rows(self, query: int) -> AsyncIterator[Receipt]: ...


@micro.service("rows", "1.0.0")
class Rows(RowsApi):
    async def rows(self, query: int) -> AsyncIterator[Receipt]:
        for number in range(query):
            yield Receipt(number=number)


class Unplaced(Protocol):
    def rows(self, query: int) -> AsyncIterator[int]: ...


@pytest.mark.parametrize("api", [RowsApi, Rows])
async def test_streaming_endpoints_are_read_item_by_item(nc: NatsClient, api: Any) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        await ctx.add(Rows)
        bound: RowsApi = micro.Client(nc).bind(api)

        assert [row.number async for row in bound.rows(3)] == [0, 1, 2]
        with pytest.raises(ConfigError, match="a stream needs a subject"):
            micro.Client(nc).bind(Unplaced, service="rows")


class Undeclared(Protocol):
    async def place(self, order: Order) -> Receipt: ...

    def _private(self) -> None: ...


@pytest.mark.parametrize(
    ("api", "service"), [(ShopApi, None), (ShopApi, "shop"), (Shop, None), (Shop, "shop")]
)
async def test_methods_of_a_bound_client_call_the_endpoints(
    nc: NatsClient, api: type[ShopApi], service: str | None
) -> None:
    own = Shop()
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        await ctx.add(own)
        shop: ShopApi = micro.Client(nc, 0.3).bind(api, service=service)

        assert await shop.place(Order(item="tea", count=3)) == Receipt(number=3)
        assert await shop.place(order=Order(item="tea")) == Receipt(number=1)
        assert await shop.add_up([1, 2, 3]) == 6
        assert await shop.echo(b"\xff") == b"\xff"
        await shop.reset()
        assert own.resets == 1
        assert not hasattr(shop, "raw")
        assert "Shop" in repr(shop)


async def test_undeclared_protocol_is_bound_by_the_name_of_the_service(nc: NatsClient) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        await ctx.add(Shop)
        shop = micro.Client(nc, 0.3).bind(Undeclared, service="shop")

        assert await shop.place(Order(item="tea", count=2)) == Receipt(number=2)


async def test_wrong_arguments_are_refused_before_anything_is_sent(nc: NatsClient) -> None:
    shop: Any = micro.Client(nc).bind(ShopApi)
    with pytest.raises(TypeError, match="order"):
        await shop.place()
    with pytest.raises(TypeError, match="unexpected keyword"):
        await shop.place(Order(item="a"), colour="red")
    with pytest.raises(ConfigError, match="invalid payload of type 'int'"):
        await shop.place(7)


def test_parameter_that_the_service_does_not_fill_is_refused(nc: NatsClient) -> None:
    class Greeter(Protocol):
        @micro.endpoint
        async def greet(self, name: str = "you") -> str: ...

    with pytest.raises(ConfigError, match="parameter 'name' has a default"):
        micro.Client(nc).bind(Greeter)


@pytest.mark.parametrize("api", [object(), "shop", Undeclared, Protocol])
def test_value_without_endpoints_is_refused(nc: NatsClient, api: Any) -> None:
    with pytest.raises(ConfigError, match="invalid declaration"):
        micro.Client(nc).bind(api)


async def test_service_that_does_not_run_has_no_responders(nc: NatsClient) -> None:
    with pytest.raises(nats.errors.NoRespondersError):
        await micro.Client(nc).bind(Shop).place(Order(item="a"))
