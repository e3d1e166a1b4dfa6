"""The ends of uploads that do not go as planned: items are closed, and errors reach the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import PayloadTooLargeError, Request
from micro._streams import sending
from micro._streams.sending import Upload
from micro._wire.paths import path_of
from micro.adapters import msgpack

LONG = 30.0


class Row(BaseModel):
    number: int


class Items(AsyncIterator[object]):
    """Items that never come; ends at once, or only when it may."""

    def __init__(self, *, stubborn: bool = False, item: object = None) -> None:
        self.closed = 0
        self.may_end = asyncio.Event()
        self.asked = asyncio.Event()
        self._item = item
        self._stubborn = stubborn

    async def __anext__(self) -> object:
        self.asked.set()
        if self._item is not None:
            return self._item
        while True:
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                if not self._stubborn:
                    raise
            else:
                raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


def upload(items: Items) -> Upload:
    return Upload(items, bytes, 8)


async def total(rows: AsyncIterator[Row]) -> int:
    return sum([row.number async for row in rows])


async def test_items_are_closed_once_wherever_the_upload_stops(nc: NatsClient) -> None:
    path = path_of(nc)
    for begun, asked in ((False, False), (True, False), (True, True)):
        items = Items()
        sent = upload(items)
        if begun:
            sent.begin(path, lambda _: None)
        if asked:
            await items.asked.wait()
        await sent.stop()
        await sent.stop()
        assert items.closed == 1


async def test_stop_does_not_wait_for_items_that_ignore_it(
    nc: NatsClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sending, "GRACE", 0.05)
    items = Items(stubborn=True)
    sent = upload(items)
    sent.begin(path_of(nc), lambda _: None)
    await items.asked.wait()
    async with asyncio.timeout(LONG):
        await sent.stop()
    assert "the items of an upload do not end" in caplog.text
    sent.control = b"nowhere"
    items.may_end.set()
    async with asyncio.timeout(LONG):
        while not items.closed:
            await asyncio.sleep(0.01)


async def test_items_are_closed_when_the_request_cannot_be_sent(
    nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(caller)
    items = Items()
    with pytest.raises(nats.errors.TimeoutError):
        await client.call("shop.total", returns=int, send=items, timeout=0)
    assert items.closed == 1
    items = Items()
    with pytest.raises(PayloadTooLargeError):
        await client.call("shop.total", bytes(caller.max_payload + 1), returns=int, send=items)
    assert items.closed == 1
    await caller.close()
    items = Items()
    with pytest.raises(nats.errors.Error):
        await client.call("shop.total", returns=int, send=items)
    assert items.closed == 1


async def test_too_large_item_is_an_error_at_the_caller(nc: NatsClient, caller: NatsClient) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read(rows: AsyncIterator[bytes], request: Request) -> int:
        try:
            return len([row async for row in rows])
        except micro.ServiceError as error:
            ended.set_result(error.description)
            raise

    items = Items(item=bytes(caller.max_payload))
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("read", read, subject="shop.read")
        with pytest.raises(PayloadTooLargeError, match="max_payload"):
            await micro.Client(caller).call("shop.read", returns=int, send=items, timeout=LONG)
        async with asyncio.timeout(LONG):
            assert await ended == "caller left"
    assert items.closed == 1


async def test_timeout_ends_an_open_upload_at_both_ends(nc: NatsClient, caller: NatsClient) -> None:
    ended = asyncio.Event()

    async def read(rows: AsyncIterator[Row]) -> int:
        try:
            return len([row async for row in rows])
        finally:
            ended.set()

    items = Items()
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("read", read, subject="shop.read")
        with pytest.raises((nats.errors.TimeoutError, micro.RemoteServiceError)):
            await micro.Client(caller).call("shop.read", returns=int, send=items, timeout=0.2)
        async with asyncio.timeout(LONG):
            await ended.wait()
    assert items.closed == 1


async def test_middlewares_and_limits_hold_for_uploads(nc: NatsClient, caller: NatsClient) -> None:
    seen: list[bytes] = []
    running = most = 0

    async def note(request: Request, call_next: micro.NextHandler) -> micro.Response:
        response = await call_next(request)
        seen.append(response.data())
        return response

    async def read(rows: AsyncIterator[Row]) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return sum([row.number async for row in rows])
        finally:
            running -= 1

    async def rows() -> AsyncIterator[Row]:
        for number in range(3):
            await asyncio.sleep(0)
            yield Row(number=number)

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint(
            "read", read, subject="shop.read", middlewares=[note], max_in_flight=1
        )
        client = micro.Client(caller)
        calls = [client.call("shop.read", returns=int, send=rows(), timeout=LONG) for _ in range(5)]
        assert await asyncio.gather(*calls) == [3] * 5
    assert (seen, most) == ([b"3"] * 5, 1)


async def test_items_have_the_form_of_the_codec(nc: NatsClient, caller: NatsClient) -> None:
    async def more(step: int, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
        async for row in rows:
            yield Row(number=row.number + step)

    async def two() -> AsyncIterator[Row]:
        yield Row(number=1)
        yield Row(number=2)

    async with micro.add_service(nc, "shop", "1.0.0", codec=msgpack.codec) as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        await shop.add_endpoint("more", more, subject="shop.more")
        client, codec = micro.Client(caller), msgpack.codec
        sent = client.call("shop.total", returns=int, send=two(), timeout=LONG, codec=codec)
        assert await sent == 3
        rows = client.stream("shop.more", 5, of=Row, send=two(), codec=codec, gap=LONG)
        assert [row.number async for row in rows] == [6, 7]


async def test_items_are_closed_when_the_declaration_does_not_fit(
    nc: NatsClient, caller: NatsClient
) -> None:
    @micro.service("shop", "1.0.0")
    class Shop(Protocol):
        @micro.endpoint(subject="shop.total")
        async def total(self, rows: AsyncIterator[Row]) -> str: ...

    items = Items()
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        with pytest.raises(micro.ContractDriftError):
            await micro.Client(caller).bind(Shop, timeout=LONG).total(items)  # type: ignore[arg-type]  # never asked for items
    assert items.closed == 1
