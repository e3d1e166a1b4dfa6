"""Items from a caller to a handler, alone and together with a streaming answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro import RemoteServiceError, Request, ServiceError, StreamLostError
from micro._documents.asyncapi import asyncapi
from micro._documents.python_client import python_client

LONG = 30.0


class Row(BaseModel):
    number: int


class Factor(BaseModel):
    factor: int


async def total(rows: AsyncIterator[Row]) -> int:
    return sum([row.number async for row in rows])


async def scaled(factor: Factor, rows: AsyncIterator[Row], request: Request) -> AsyncIterator[int]:
    async for row in rows:
        yield row.number * factor.factor


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.01)


class Source:
    """Items without end, or up to a number, and what they know of their own end."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count
        self.made = 0
        self.closed = asyncio.Event()

    async def rows(self) -> AsyncIterator[Row]:
        try:
            while self.count is None or self.made < self.count:
                self.made += 1
                yield Row(number=self.made)
        finally:
            self.closed.set()


@pytest.mark.parametrize("window", [1, 7, 256])
@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_every_item_reaches_the_handler(
    nc: NatsClient, caller: NatsClient, window: int, count: int
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        await shop.add_endpoint("scaled", scaled, subject="shop.scaled")
        client = micro.Client(caller)
        source = Source(count)
        stream = client.stream("shop.total", of=int, send=source.rows(), window=window, gap=LONG)
        assert [each async for each in stream] == [count * (count + 1) // 2]
        assert source.closed.is_set()
        source = Source(count)
        both = client.stream(
            "shop.scaled",
            Factor(factor=2),
            of=int,
            send=source.rows(),
            window=window,
            gap=LONG,
        )
        assert [each async for each in both] == [2 * n for n in range(1, count + 1)]
        assert [each.num_errors for each in shop.stats().endpoints] == [0, 0]


async def test_call_sends_items_and_returns_the_answer(nc: NatsClient, caller: NatsClient) -> None:
    seen: list[int] = []

    async def keep(rows: AsyncIterator[Row]) -> None:
        seen.extend([row.number async for row in rows])

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        await shop.add_endpoint("keep", keep, subject="shop.keep")
        client = micro.Client(caller)
        rows = Source(10).rows()
        assert await client.call("shop.total", returns=int, send=rows, timeout=LONG) == 55
        await client.call("shop.keep", send=Source(3).rows(), timeout=LONG)
    assert seen == [1, 2, 3]


async def test_bound_client_sends_items(nc: NatsClient, caller: NatsClient) -> None:
    @micro.service("shop", "1.0.0")
    class Shop(Protocol):
        @micro.endpoint(subject="shop.total")
        async def total(self, rows: AsyncIterator[Row]) -> int: ...

        @micro.endpoint(subject="shop.scaled")
        def scaled(self, factor: Factor, rows: AsyncIterator[Row]) -> AsyncIterator[int]: ...

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        await shop.add_endpoint("scaled", scaled, subject="shop.scaled")
        bound = micro.Client(caller).bind(Shop, timeout=LONG)
        assert await bound.total(Source(4).rows()) == 10
        both = bound.scaled(Factor(factor=3), Source(2).rows())
        assert [each async for each in both] == [3, 6]


async def test_slow_handler_stops_the_items_at_the_window(
    nc: NatsClient, caller: NatsClient
) -> None:
    go_on = asyncio.Event()

    async def first(rows: AsyncIterator[Row]) -> int:
        row = await anext(rows)
        await go_on.wait()
        return row.number

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("first", first, subject="shop.first")
        source = Source()
        call = asyncio.create_task(
            anext(
                micro.Client(caller).stream(
                    "shop.first", of=int, send=source.rows(), window=16, gap=LONG
                )
            )
        )
        await until(lambda: source.made >= 17)
        await asyncio.sleep(0.3)  # a wrong one would go on
        assert source.made <= 2 * 16 + 2
        go_on.set()
        assert await call == 1
        async with asyncio.timeout(LONG):
            await source.closed.wait()


async def test_error_of_the_items_is_raised_at_both_ends(
    nc: NatsClient, caller: NatsClient
) -> None:
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def read(rows: AsyncIterator[Row]) -> int:
        try:
            return len([row async for row in rows])
        except BaseException as error:
            ended.set_result(error)
            raise

    async def broken() -> AsyncIterator[Row]:
        yield Row(number=1)
        raise LookupError("no further row")

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("read", read, subject="shop.read")
        client = micro.Client(caller)
        with pytest.raises(LookupError, match="no further row"):
            await client.call("shop.read", returns=int, send=broken(), timeout=LONG)
        async with asyncio.timeout(LONG):
            error = await ended
        assert isinstance(error, ServiceError)
        assert (error.code, error.description) == (499, "caller left")


async def test_error_of_the_handler_closes_the_items(nc: NatsClient, caller: NatsClient) -> None:
    async def refuse(rows: AsyncIterator[Row]) -> int:
        await anext(rows)
        raise ServiceError(409, "sold out")

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("refuse", refuse, subject="shop.refuse")
        source = Source()
        with pytest.raises(RemoteServiceError, match="409: sold out"):
            await micro.Client(caller).call(
                "shop.refuse", returns=int, send=source.rows(), timeout=LONG
            )
        assert source.closed.is_set()


async def test_handler_of_a_caller_that_vanishes_gets_an_error(
    nc: NatsClient, caller: NatsClient
) -> None:
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def read(rows: AsyncIterator[Row]) -> AsyncIterator[int]:
        try:
            async for row in rows:
                yield row.number
        except BaseException as error:
            ended.set_result(error)
            raise

    hold = asyncio.Event()

    async def one() -> AsyncIterator[Row]:
        yield Row(number=1)
        await hold.wait()

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("read", read, subject="shop.read")
        stream = micro.Client(caller).stream("shop.read", of=int, send=one(), gap=LONG, lease=0.3)
        assert await anext(stream) == 1
        await caller.close()
        async with asyncio.timeout(LONG):
            error = await ended
        assert isinstance(error, ServiceError)
        assert (error.code, error.description) == (499, "caller gone")
        await until(lambda: shop.stats().endpoints[0].last_error == "499:caller gone")
        await stream.aclose()


async def test_invalid_item_is_refused_with_its_members(nc: NatsClient, caller: NatsClient) -> None:
    async def wrong() -> AsyncIterator[dict[str, str]]:
        yield {"number": "seven"}

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        with pytest.raises(RemoteServiceError, match="400: invalid request") as caught:
            await micro.Client(caller).call("shop.total", returns=int, send=wrong(), timeout=LONG)
        assert caught.value.errors[0]["loc"] == ["number"]


async def test_items_need_an_endpoint_that_takes_them(nc: NatsClient, caller: NatsClient) -> None:
    async def plain(request: Request) -> None:
        await request.respond(b"x")

    async def rows(request: Request) -> AsyncIterator[bytes]:
        yield b"x"

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("plain", plain, subject="shop.plain")
        await shop.add_endpoint("rows", rows, subject="shop.rows")
        await shop.add_endpoint("total", total, subject="shop.total")
        client = micro.Client(caller)
        for subject in ("shop.plain", "shop.rows"):
            source = Source()
            with pytest.raises(StreamLostError, match="takes no items"):
                await anext(client.stream(subject, of=bytes, send=source.rows(), gap=LONG))
        with pytest.raises(RemoteServiceError, match="400: expected a stream of items"):
            await client.call("shop.total", returns=int, timeout=LONG)


async def test_stop_ends_an_open_upload_with_an_error(nc: NatsClient, caller: NatsClient) -> None:
    shop = micro.add_service(nc, "shop", "1.0.0")
    await shop.start()
    await shop.add_endpoint("total", total, subject="shop.total")
    source = Source()
    call = asyncio.create_task(
        micro.Client(caller).call("shop.total", returns=int, send=source.rows(), timeout=LONG)
    )
    await until(lambda: source.made > 1000)
    await shop.stop(0.2)
    with pytest.raises(RemoteServiceError, match="503: service stopped"):
        await call
    assert source.closed.is_set()


async def test_upload_stays_with_its_instance(nc: NatsClient, caller: NatsClient) -> None:
    async with (
        micro.add_service(nc, "shop", "1.0.0") as one,
        micro.add_service(nc, "shop", "1.0.0") as two,
    ):
        for shop in (one, two):
            await shop.add_endpoint("total", total, subject="shop.total")
        client = micro.Client(caller)
        calls = [
            client.call("shop.total", returns=int, send=Source(300).rows(), timeout=LONG)
            for _ in range(8)
        ]
        assert await asyncio.gather(*calls) == [45150] * 8
        handled = [shop.stats().endpoints[0].num_requests for shop in (one, two)]
    assert sum(handled) == 8


async def test_schemas_of_taken_items_are_in_info(nc: NatsClient) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("scaled", scaled, subject="shop.scaled")
        metadata = shop.info().endpoints[0].metadata
    assert '"title":"Factor"' in metadata["micro.request.schema"]
    assert '"title":"Row"' in metadata["micro.request.items.schema"]
    assert metadata["micro.request.stream"] == metadata["micro.response.stream"] == "true"


async def test_handler_with_items_behind_its_request_is_refused(nc: NatsClient) -> None:
    async def wrong(request: Request, rows: AsyncIterator[Row]) -> int:
        return 0

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        with pytest.raises(micro.ConfigError, match="the items as one AsyncIterator"):
            await shop.add_endpoint("wrong", wrong)


async def test_service_client_finds_the_subject_of_a_stream(
    nc: NatsClient, caller: NatsClient
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("scaled", scaled, subject="elsewhere.scaled")
        found = micro.Client(caller).service("shop")
        stream = found.stream("scaled", Factor(factor=2), of=int, send=Source(2).rows(), gap=LONG)
        assert [each async for each in stream] == [2, 4]


async def test_drift_of_items_is_an_error(nc: NatsClient, caller: NatsClient) -> None:
    @micro.service("shop", "1.0.0")
    class Shop(Protocol):
        @micro.endpoint(subject="shop.rows")
        def rows(self, factor: Factor) -> AsyncIterator[Row]: ...

    async def other(factor: Factor) -> AsyncIterator[Factor]:
        yield factor

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("rows", other, subject="shop.rows")
        bound = micro.Client(caller).bind(Shop, timeout=LONG)
        with pytest.raises(micro.ContractDriftError, match="number"):
            await anext(bound.rows(Factor(factor=1)))


async def test_generated_client_and_asyncapi_have_the_items(nc: NatsClient) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("total", total, subject="shop.total")
        await shop.add_endpoint("scaled", scaled, subject="shop.scaled")
        info = shop.info()
    code = python_client(info)
    assert "def scaled(self, payload: Factor, items: _AsyncIterator[Row]) -> _AsyncIterator" in code
    assert "async def total(self, items: _AsyncIterator[Row]) -> int" in code
    document = asyncapi([info])
    assert document["operations"]["shop.scaled"]["x-upload"] is True
    assert document["channels"]["shop.scaled"]["messages"].keys() == {"request", "item"}


async def test_items_are_closed_when_the_service_is_gone(
    nc: NatsClient, caller: NatsClient
) -> None:
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_endpoint("scaled", scaled, subject="shop.scaled")
        source = Source()
        stream = micro.Client(caller).stream(
            "shop.scaled", Factor(factor=1), of=int, send=source.rows(), gap=LONG, lease=0.2
        )
        assert await anext(stream) == 1
        await nc.close()
        with pytest.raises(StreamLostError, match="the service is gone"):
            async for _ in stream:
                pass
        assert source.closed.is_set()
