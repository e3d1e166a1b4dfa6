"""Streaming answers: from an async generator at a service to a loop of its caller."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import RemoteServiceError, Request, ServiceError, StreamLostError

LONG = 30.0


class Query(BaseModel):
    count: int


class Row(BaseModel):
    number: int


async def rows(query: Query) -> AsyncIterator[Row]:
    for number in range(query.count):
        yield Row(number=number)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.01)


async def drain(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


class Endless:
    """A generator without end, and what it knows of its own end."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = asyncio.Event()

    async def rows(self, request: Request) -> AsyncIterator[Row]:
        try:
            while True:
                self.sent += 1
                yield Row(number=self.sent)
        finally:
            self.ended.set()


@pytest.mark.parametrize("window", [0, 1, 7, 256])
@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_every_item_arrives_in_order(
    nc: NatsClient, caller: NatsClient, window: int, count: int
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", rows, subject="shop.rows")
        stream = micro.Client(caller).stream(
            "shop.rows", Query(count=count), of=Row, window=window, gap=LONG
        )
        assert [row.number async for row in stream] == list(range(count))
        stats = shop.stats().endpoints[0]
    assert (stats.num_requests, stats.num_errors) == (1, 0)
    assert stats.data["micro"]["items"] == count


async def test_plain_reader_sees_the_items_and_an_empty_end(
    nc: NatsClient, caller: NatsClient
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", rows, subject="shop.rows")
        until_empty = micro.Until(max_wait=LONG, sentinel=lambda message: bool(message.data))
        replies = micro.Client(caller).request_many("shop.rows", b'{"count": 3}', until=until_empty)
        async with replies:
            messages = [message async for message in replies]
        assert replies.reason == "sentinel"
    assert [message.data for message in messages] == [b'{"number":%d}' % n for n in range(3)]
    assert [(message.headers or {})["Micro-Seq"] for message in messages] == ["1", "2", "3"]


async def test_error_in_the_middle_is_an_error_behind_the_items(
    nc: NatsClient, caller: NatsClient
) -> None:
    async def broken(query: Query) -> AsyncIterator[Row]:
        yield Row(number=1)
        yield Row(number=2)
        raise ServiceError(409, "sold out")

    async def silent(query: Query) -> AsyncIterator[bytes]:
        yield b"1"
        yield b""

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("broken", broken, subject="shop.broken")
        await shop.add_endpoint("silent", silent, subject="shop.silent")
        client = micro.Client(caller)
        stream = client.stream("shop.broken", Query(count=1), of=Row, gap=LONG)
        assert [(await anext(stream)).number, (await anext(stream)).number] == [1, 2]
        with pytest.raises(RemoteServiceError, match="409: sold out"):
            await anext(stream)
        with pytest.raises(RemoteServiceError, match="400: invalid request"):
            await anext(client.stream("shop.broken", b"{", of=Row, gap=LONG))
        empty = client.stream("shop.silent", Query(count=1), of=bytes, gap=LONG)
        assert await anext(empty) == b"1"
        with pytest.raises(RemoteServiceError, match="500: internal error"):
            await anext(empty)
        assert [each.num_errors for each in shop.stats().endpoints] == [2, 1]


@pytest.mark.parametrize("window", [1, 16])
async def test_unread_items_stop_the_generator_at_the_window(
    nc: NatsClient, caller: NatsClient, window: int
) -> None:
    endless = Endless()
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", endless.rows, subject="shop.rows")
        async with micro.Client(caller).stream(
            "shop.rows", of=Row, window=window, gap=LONG
        ) as stream:
            assert (await anext(stream)).number == 1
            await until(lambda: endless.sent >= window + 1)
            await asyncio.sleep(0.3)  # a wrong one would go on
            assert endless.sent <= 2 * window + 2
            for number in range(2, 200):
                assert (await anext(stream)).number == number
        async with asyncio.timeout(LONG):
            await endless.ended.wait()
        await until(lambda: shop.stats().endpoints[0].data["micro"]["in_flight"] == 0)
        assert shop.stats().endpoints[0].num_errors == 0


async def test_break_ends_the_generator(nc: NatsClient, caller: NatsClient) -> None:
    endless = Endless()
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", endless.rows, subject="shop.rows")
        async for row in micro.Client(caller).stream("shop.rows", of=Row, gap=LONG):
            if row.number == 10:
                break
        gc.collect()
        async with asyncio.timeout(LONG):
            await endless.ended.wait()


async def test_generator_of_a_caller_that_vanishes_ends(nc: NatsClient, caller: NatsClient) -> None:
    endless = Endless()
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", endless.rows, subject="shop.rows")
        stream = micro.Client(caller).stream("shop.rows", of=Row, gap=LONG, lease=0.3)
        assert (await anext(stream)).number == 1
        await caller.close()
        async with asyncio.timeout(LONG):
            await endless.ended.wait()
        await until(lambda: shop.stats().endpoints[0].last_error == "499:caller gone")
        await stream.aclose()


async def test_waiting_generator_is_cancelled_when_its_caller_leaves(
    nc: NatsClient, caller: NatsClient
) -> None:
    cancelled = asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[bytes]:
        yield b"1"
        try:
            await asyncio.sleep(LONG * 2)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("slow", slow, subject="shop.slow")
        async with micro.Client(caller).stream("shop.slow", of=bytes, gap=LONG) as stream:
            assert await anext(stream) == b"1"
        async with asyncio.timeout(LONG):
            await cancelled.wait()


async def test_gap_and_time_limit_end_a_stream(nc: NatsClient, caller: NatsClient) -> None:
    async def slow(request: Request) -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.sleep(LONG * 2)
        yield b"2"

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("slow", slow, subject="shop.slow")
        client = micro.Client(caller)
        stream = client.stream("shop.slow", of=bytes, gap=0.5)
        assert await anext(stream) == b"1"
        with pytest.raises(nats.errors.TimeoutError):
            await anext(stream)
        stream = client.stream("shop.slow", of=bytes, timeout=0.5, gap=None)
        assert await anext(stream) == b"1"
        # The service and its caller know the limit; either may be the first.
        with pytest.raises((nats.errors.TimeoutError, RemoteServiceError)):
            await anext(stream)
        await until(lambda: shop.stats().endpoints[0].data["micro"]["in_flight"] == 0)


async def test_lost_item_is_noticed(nc: NatsClient, caller: NatsClient) -> None:
    async def holey(request: Request) -> None:
        for number in (1, 2, 4):
            await nc.publish(replies[0], b"x", headers={"Micro-Seq": str(number)})
        await request.respond(b"", {"Micro-Seq": "4"})

    replies: list[str] = []

    async def note(request: Request, next: micro.NextHandler) -> micro.Response:
        replies.append(request.reply)  # type: ignore[attr-defined]  # of the request that arrived
        return await next(request)

    async with micro.add_service(nc, "shop", "1.0.0", middlewares=[note]) as shop:
        await shop.add_endpoint("holey", holey, subject="shop.holey")
        stream = micro.Client(caller).stream("shop.holey", of=bytes, gap=LONG)
        seen = [await anext(stream), await anext(stream)]
        with pytest.raises(StreamLostError, match="item 3 is missing, item 4 arrived"):
            await anext(stream)
    assert seen == [b"x", b"x"]


async def test_missing_service_is_no_empty_stream(nc: NatsClient, caller: NatsClient) -> None:
    with pytest.raises(nats.errors.NoRespondersError):
        await anext(micro.Client(caller).stream("nobody.here", of=bytes, gap=LONG))


async def test_stop_ends_an_open_stream_with_an_error(nc: NatsClient, caller: NatsClient) -> None:
    endless = Endless()
    shop = micro.add_service(nc, "shop", "1.0.0")
    await shop.start()
    await shop.add_endpoint("rows", endless.rows, subject="shop.rows")
    stream = micro.Client(caller).stream("shop.rows", of=Row, gap=LONG, window=4)
    assert (await anext(stream)).number == 1
    stopping = asyncio.create_task(shop.stop(0.2))
    with pytest.raises(RemoteServiceError, match="503: service stopped"):
        await drain(stream)
    await stopping
    assert endless.ended.is_set()


async def test_middleware_surrounds_the_whole_stream(nc: NatsClient, caller: NatsClient) -> None:
    order: list[str] = []

    async def note(request: Request, next: micro.NextHandler) -> micro.Response:
        order.append("before")
        response = await next(request)
        order.append(f"after {response.headers()['Micro-Seq']}")
        return response

    async with micro.add_service(nc, "shop", "1.0.0", middlewares=[note]) as shop:
        await shop.add_endpoint("rows", rows, subject="shop.rows")
        stream = micro.Client(caller).stream("shop.rows", Query(count=3), of=Row, gap=LONG)
        assert len([row async for row in stream]) == 3
    assert order == ["before", "after 3"]


async def test_schema_of_the_items_is_in_info(nc: NatsClient) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", rows, subject="shop.rows")
        metadata = shop.info().endpoints[0].metadata
    assert '"title":"Row"' in metadata["micro.response.schema"]
    assert metadata["micro.response.stream"] == "true"
