"""Publishing with acknowledgements of streams, one by one and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from pydantic import BaseModel
from tests.streams import fresh_stream

import micro
from micro import Expect, ExpectationError, NoStreamError, PublishAck
from micro._client.turns import Turns
from micro._wire import fast_transport
from micro.testing import NatsServer, nats_server

LONG = 30.0


class Order(BaseModel):
    number: int


@pytest.fixture(scope="module")
def js_server() -> Iterator[NatsServer]:
    with nats_server(jetstream=True) as running:
        yield running


@pytest.fixture
async def nc(js_server: NatsServer) -> AsyncIterator[NatsClient]:
    client = NatsClient()
    fast_transport.install(client, [js_server.url])
    await client.connect(js_server.url)
    yield client
    await client.close()


@pytest.fixture
async def js(js_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    other = await nats.connect(js_server.url)
    context = other.jetstream()
    await fresh_stream(context, "ORDERS", "orders.>")
    yield context
    await context.delete_stream("ORDERS")
    await other.close()


async def test_stored_message_is_acknowledged_and_a_repeated_one_is_known(
    nc: NatsClient, js: JetStreamContext
) -> None:
    client = micro.Client(nc)
    first = await client.publish("orders.new", Order(number=1), id="o1", ack=True)
    again = await client.publish("orders.new", Order(number=1), id="o1", ack=True)
    assert first == PublishAck("ORDERS", 1)
    assert again == PublishAck("ORDERS", 1, duplicate=True)
    message = await js.get_msg("ORDERS", 1)
    assert message.data == b'{"number":1}'
    assert message.headers == {"Nats-Msg-Id": "o1"}


async def test_context_publishes_with_and_without_acknowledgement(
    js_server: NatsServer, js: JetStreamContext
) -> None:
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(js_server.url))
        assert await ctx.publish("orders.new", {"number": 1}) is None
        acknowledged = await ctx.publish("orders.new", b"raw", headers={"A": "1"}, ack=True)
    assert acknowledged.sequence == 2
    assert (await js.get_msg("ORDERS", 1)).data == b'{"number":1}'
    assert (await js.get_msg("ORDERS", 2)).headers == {"A": "1"}


async def test_message_that_does_not_follow_is_refused(
    nc: NatsClient, js: JetStreamContext
) -> None:
    client = micro.Client(nc)
    await client.publish("orders.new", b"1", id="a", ack=True)
    for expect in (
        Expect(last_sequence=7),
        Expect(last_subject_sequence=0),
        Expect(last_id="b"),
        Expect(stream="OTHER"),
    ):
        with pytest.raises(ExpectationError):
            await client.publish("orders.new", b"2", expect=expect, ack=True)
    expect = Expect(stream="ORDERS", last_id="a", last_sequence=1, last_subject_sequence=1)
    assert (await client.publish("orders.new", b"2", expect=expect, ack=True)).sequence == 2


async def test_subject_without_a_stream_is_an_error_with_its_name(
    nc: NatsClient, js: JetStreamContext
) -> None:
    client = micro.Client(nc)
    with pytest.raises(NoStreamError, match=r"no stream stores 'nowhere\.x'"):
        await client.publish("nowhere.x", b"1", ack=True)
    assert await client.publish("nowhere.x", b"1") is None


async def test_thousands_of_messages_are_acknowledged_at_once(
    nc: NatsClient, js: JetStreamContext
) -> None:
    client = micro.Client(nc)
    async with asyncio.timeout(LONG):
        acknowledged = await asyncio.gather(
            *(client.publish("orders.new", b"x", ack=True, timeout=LONG) for _ in range(6_000))
        )
    assert sorted(each.sequence for each in acknowledged) == list(range(1, 6_001))


async def test_turns_of_cancelled_callers_are_passed_on() -> None:
    turns, inside, leave = Turns(1), 0, asyncio.Event()

    async def work() -> None:
        nonlocal inside
        async with turns:
            inside += 1
            await leave.wait()
            inside -= 1

    tasks = [asyncio.create_task(work()) for _ in range(4)]
    await asyncio.sleep(0)
    assert inside == 1
    tasks[1].cancel()
    tasks[0].cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    leave.set()
    async with asyncio.timeout(LONG):
        await asyncio.gather(*tasks[2:])
        async with turns:
            pass
