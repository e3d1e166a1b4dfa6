"""Subscribers of core NATS: typed handlers of messages that get no answer."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import Request

LONG = 30.0


class Order(BaseModel):
    number: int


async def test_subscriber_handles_messages_and_answers_none(
    nc: NatsClient, caller: NatsClient
) -> None:
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def handle(order: Order) -> int:
        seen.put_nowait(order.number)
        return order.number

    async with micro.add_service(nc, "mailer", "1.0.0") as service:
        subscriber = await service.add_group("shop").add_subscriber("mail", "orders", handle)
        assert (subscriber.subject, subscriber.queue_group) == ("shop.orders", "q")
        await caller.publish("shop.orders", b'{"number": 1}')
        with pytest.raises(nats.errors.TimeoutError):
            await caller.request("shop.orders", b'{"number": 2}', timeout=0.2)
        async with asyncio.timeout(LONG):
            assert [await seen.get(), await seen.get()] == [1, 2]


async def test_failures_of_a_subscriber_are_counted(nc: NatsClient, caller: NatsClient) -> None:
    async def fail(order: Order) -> None:
        raise RuntimeError("broken")

    async def answer(request: Request) -> None:
        await request.respond_error(409, "not now")

    async with micro.add_service(nc, "mailer", "1.0.0") as service:
        await service.add_subscriber("typed", "m.typed", fail)
        await service.add_subscriber("raw", "m.raw", answer)
        await caller.publish("m.typed", b'{"number": 1}')
        await caller.publish("m.typed", b"{")
        await caller.publish("m.raw", b"")
        async with asyncio.timeout(LONG):
            while sum(each.num_requests for each in service.stats().events) < 3:
                await asyncio.sleep(0.01)
        typed, raw = service.stats().events
    assert typed.num_errors == 2
    assert typed.data["micro"]["errors"] == {"400": 1, "500": 1}
    assert raw.last_error == "409:not now"


async def test_subscriber_and_endpoint_of_one_subject_both_get_a_message(
    nc: NatsClient, caller: NatsClient
) -> None:
    heard = asyncio.Event()

    async def listen(request: Request) -> None:
        heard.set()

    async def echo(request: Request) -> None:
        await request.respond(request.data())

    async with micro.add_service(nc, "both", "1.0.0") as service:
        await service.add_endpoint("echo", echo, subject="both.x", queue_group="a")
        await service.add_subscriber("listen", "both.x", listen, queue_group="b")
        assert (await caller.request("both.x", b"1", timeout=LONG)).data == b"1"
        async with asyncio.timeout(LONG):
            await heard.wait()
