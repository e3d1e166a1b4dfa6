"""Drift: bound clients notice services whose schemas do not fit."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel, Field

import micro
from micro.adapters import msgpack


class Item(BaseModel):
    name: str
    price: float


class Order(BaseModel):
    items: list[Item]
    note: str = ""


class Receipt(BaseModel):
    number: int


class Api(Protocol):
    @micro.endpoint(subject="drifting.place")
    async def place(self, order: Order) -> Receipt: ...


class SoftOrder(Order):
    """Compatible: one more optional member."""

    gift: bool = False
    tags: list[str] = Field(default_factory=list)


class StrictOrder(Order):
    customer: str


class Weighed(Item):
    grams: int


class WeighedOrder(BaseModel):
    items: list[Weighed]


class LongReceipt(Receipt):
    text: str


class TextReceipt(BaseModel):
    number: str


async def same(order: Order) -> Receipt:
    return Receipt(number=len(order.items))


async def soft(order: SoftOrder) -> LongReceipt:
    return LongReceipt(number=len(order.items), text="")


async def strict(order: StrictOrder) -> Receipt:
    return Receipt(number=1)


async def weighed(order: WeighedOrder) -> Receipt:
    return Receipt(number=1)


async def text(order: Order) -> TextReceipt:
    return TextReceipt(number="x")


async def raw(request: micro.Request) -> None:
    await request.respond(b'{"number": 9}')


ORDER = Order(items=[Item(name="tea", price=1)])


def serve(nc: NatsClient, version: str = "1.0.0", id: str = "") -> micro.Service:
    return micro.add_service(nc, "drifting", version, id_generator=(lambda: id) if id else None)


def bind(nc: NatsClient, **options: Any) -> Api:
    return micro.Client(nc, 0.3).bind(Api, service="drifting", **options)


async def outcome_of(shop: Api) -> str:
    try:
        await shop.place(ORDER)
    except micro.MicroError as error:
        return type(error).__name__
    return "answer"


@pytest.mark.parametrize("handler", [same, soft, raw])
async def test_compatible_service_is_called(nc: NatsClient, handler: Any) -> None:
    async with serve(nc) as service:
        await service.add_endpoint("place", handler, subject="drifting.place")
        assert (await bind(nc).place(ORDER)).number in (1, 9)


@pytest.mark.parametrize(
    ("handler", "line"),
    [
        (strict, "request member 'customer': it is required, and never sent"),
        (weighed, "request member 'items.*.grams': it is required, and never sent"),
        (text, "response member 'number': string is sent, expected integer"),
    ],
)
async def test_incompatible_service_is_refused_with_the_member(
    nc: NatsClient, handler: Any, line: str
) -> None:
    async with serve(nc, "2.0.0", "A1") as service:
        await service.add_endpoint("place", handler, subject="drifting.place")
        shop = bind(nc)
        for _ in range(2):
            assert await outcome_of(shop) == "ContractDriftError"
        with pytest.raises(micro.ContractDriftError) as caught:
            await shop.place(ORDER)
        (stats,) = service.stats().endpoints

    assert caught.value.drifts == {"A1 (version 2.0.0)": (line,)}
    assert stats.num_requests == 0


async def test_other_content_type_is_drift(nc: NatsClient) -> None:
    async with serve(nc) as service:
        await service.add_endpoint("place", same, subject="drifting.place", codec=msgpack.codec)
        with pytest.raises(micro.ContractDriftError, match="application/msgpack is used"):
            await bind(nc).place(ORDER)


async def test_drift_is_logged_or_ignored_on_demand(
    nc: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(nc) as service:
        await service.add_endpoint("place", strict, subject="drifting.place")
        for on_drift, logged in (("ignore", 0), ("warn", 1)):
            shop = bind(nc, on_drift=on_drift)
            for _ in range(2):
                assert await outcome_of(shop) == "RemoteServiceError"
            assert caplog.text.count("customer") == logged
        with pytest.raises(micro.ConfigError, match="expected 'raise'"):
            bind(nc, on_drift="explode")


async def test_instances_of_mixed_versions_are_told_apart(
    nc: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with serve(nc, "1.0.0", "OLD") as old, serve(nc, "2.0.0", "NEW") as new:
        await old.add_endpoint("place", same, subject="drifting.place")
        await new.add_endpoint("place", strict, subject="drifting.place")
        shop = bind(nc)
        served = 0
        refused: set[tuple[str, ...]] = set()
        while not (served and refused):
            try:
                served += (await shop.place(ORDER)).number
            except micro.ContractDriftError as error:
                refused.add(tuple(error.drifts))
        await old.stop()
        with pytest.raises(micro.ContractDriftError):
            await shop.place(ORDER)

    assert refused == {("NEW (version 2.0.0)",)}
    assert caplog.text.count("instance NEW (version 2.0.0): request member 'customer'") == 1


async def test_new_instances_are_compared_when_they_come(nc: NatsClient) -> None:
    async with serve(nc) as old:
        await old.add_endpoint("place", same, subject="drifting.place")
        shop = bind(nc, recheck=0.01)
        assert (await shop.place(ORDER)).number == 1
    async with serve(nc, "2.0.0") as new:
        # It answers what the client cannot know to be wrong: the payloads are still valid.
        await new.add_endpoint("place", text, subject="drifting.other")
        await new.add_endpoint("place2", weighed, subject="drifting.place", codec=msgpack.codec)
        async with asyncio.timeout(30):
            while (outcome := await outcome_of(shop)) != "ContractDriftError":
                assert outcome == "RemoteServiceError"


async def test_service_that_starts_later_is_compared_then(nc: NatsClient) -> None:
    shop = bind(nc)
    with pytest.raises(Exception, match="no responders"):
        await shop.place(ORDER)
    async with serve(nc) as service:
        await service.add_endpoint("place", strict, subject="drifting.place")
        with pytest.raises(micro.ContractDriftError):
            await shop.place(ORDER)
