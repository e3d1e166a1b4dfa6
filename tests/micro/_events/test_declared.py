"""Subscribers and consumers that are declared at module level or as methods of a class."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import pytest
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from pydantic import BaseModel
from tests.streams import fresh_stream

import micro


class Order(BaseModel):
    number: int


class Mailed:
    """The orders that handlers have had, and where."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    async def take(self, count: int) -> list[tuple[str, int]]:
        async with asyncio.timeout(30):
            return sorted([await self.queue.get() for _ in range(count)])


mailed = Mailed()
desk = micro.service("desk", "1.0.0")
news = desk.group("news", middlewares=[])


@news.subscriber("opened", queue_group="")
async def hear(order: Order) -> None:
    """Hear of an order."""
    mailed.queue.put_nowait(("heard", order.number))


@desk.consumer("ORDERS", name="mail", subjects="orders.new", max_deliver=2, backoff=[0.01])
async def send(order: Order, delivery: micro.Delivery) -> None:
    """Mail an order."""
    if delivery.delivered == 1:
        raise ConnectionError("later")
    mailed.queue.put_nowait(("sent", order.number))


@desk.endpoint
async def ping() -> str:
    return "pong"


class Hears(Protocol):
    @micro.subscriber("news.opened", queue_group="")
    async def hear(self, order: Order) -> None:
        """Hear of an order."""
        ...


@micro.service("desk", "1.0.0")
class Desk(Hears):
    async def hear(self, order: Order) -> None:
        mailed.queue.put_nowait(("heard", order.number))

    @micro.consumer("ORDERS", name="mail", subjects="orders.new", max_deliver=2, backoff=[0.01])
    async def send(self, order: Order, delivery: micro.Delivery) -> None:
        """Mail an order."""
        await send(order, delivery)

    @micro.endpoint
    async def ping(self) -> str:
        return "pong"


@pytest.fixture
async def js(caller: NatsClient) -> JetStreamContext:
    context = caller.jetstream()
    await fresh_stream(context, "ORDERS", "orders.>")
    return context


@pytest.mark.parametrize("declared", [desk, Desk, Desk()])
async def test_declared_handlers_of_events_are_added_with_their_options(
    nc: NatsClient, js: JetStreamContext, caller: NatsClient, declared: Any
) -> None:
    mailed.queue = asyncio.Queue()
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        service = await ctx.add(declared)
        await js.publish("orders.new", b'{"number": 1}')
        await caller.publish("news.opened", b'{"number": 2}')

        assert await mailed.take(2) == [("heard", 2), ("sent", 1)]
    info = service.info()
    assert [each.name for each in info.endpoints] == ["ping"]
    events = {each.name: each for each in info.events}
    assert (events["hear"].subject, events["hear"].queue_group) == ("news.opened", "")
    assert (events["mail"].subject, events["mail"].queue_group) == ("orders.new", "desk-mail")
    assert {each.metadata["description"] for each in info.events} == {
        "Hear of an order.",
        "Mail an order.",
    }


async def test_client_of_a_declaration_has_its_endpoints_only(nc: NatsClient) -> None:
    bound = micro.Client(nc).bind(Desk)

    assert hasattr(bound, "ping")
    assert not hasattr(bound, "send")
    assert not hasattr(bound, "hear")


async def test_client_of_a_class_without_endpoints_has_no_handlers_of_events(
    nc: NatsClient,
) -> None:
    @micro.service("quiet", "1.0.0")
    class Quiet:
        @micro.consumer("ORDERS")
        async def send(self, order: Order) -> None: ...

    assert not hasattr(micro.Client(nc).bind(Quiet), "send")
