"""Consumers of JetStream streams: what becomes of each message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from pydantic import BaseModel
from tests.streams import fresh_stream

import micro
from micro import ConfigError, Delivery, Reject, Request
from micro.testing import nats_server

LONG = 30.0
"""Seconds that no test takes unless something is wrong."""


class Order(BaseModel):
    number: int


async def until(condition: Callable[[], bool], limit: float = LONG) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.01)


async def settled(js: JetStreamContext, durable: str, stream: str = "ORDERS") -> Any:
    """Wait until a consumer has settled all messages; return what the server says of it."""
    last = (await js.stream_info(stream)).state.last_seq
    async with asyncio.timeout(LONG):
        while True:
            info = await js.consumer_info(stream, durable)
            if info.ack_floor is not None and info.ack_floor.stream_seq == last:
                return info
            await asyncio.sleep(0.02)


@pytest.fixture
async def js(caller: NatsClient) -> JetStreamContext:
    context = caller.jetstream()
    await fresh_stream(context, "ORDERS", "orders.>")
    await fresh_stream(context, "DEAD", "dead.>")
    return context


async def publish(js: JetStreamContext, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await js.publish("orders.new", json.dumps({"number": number}).encode())


async def test_each_message_is_handled_and_acknowledged(
    nc: NatsClient, js: JetStreamContext
) -> None:
    seen: list[int] = []

    async def handle(order: Order) -> None:
        seen.append(order.number)

    await publish(js, 20)
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        consumer = await shop.add_consumer("mail", handle, stream="ORDERS", subjects="orders.new")
        assert (consumer.stream, consumer.durable) == ("ORDERS", "shop-mail")
        await publish(js, 20, 20)
        await until(lambda: len(seen) == 40)
        assert sorted(seen) == list(range(40))
        await settled(js, "shop-mail")
        assert shop.stats().events[0].num_requests == 40


async def test_failed_message_comes_again_after_its_delay(
    nc: NatsClient, js: JetStreamContext
) -> None:
    times: list[float] = []
    counts: list[int] = []

    async def handle(order: Order, delivery: Delivery) -> None:
        times.append(asyncio.get_running_loop().time())
        counts.append(delivery.delivered)
        if len(times) < 3:
            raise RuntimeError("not yet")

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer("mail", handle, stream="ORDERS", backoff=[0.1, 0.3])
        await publish(js, 1)
        await until(lambda: len(times) == 3)
        await settled(js, "shop-mail")
    assert counts == [1, 2, 3]
    assert times[1] - times[0] >= 0.1
    assert times[2] - times[1] >= 0.3


@pytest.mark.parametrize("max_deliver", [1, 3])
async def test_message_that_always_fails_becomes_a_dead_letter(
    nc: NatsClient, js: JetStreamContext, max_deliver: int
) -> None:
    calls: list[int] = []

    async def handle(order: Order) -> None:
        calls.append(order.number)
        raise RuntimeError("broken")

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer(
            "mail",
            handle,
            stream="ORDERS",
            max_deliver=max_deliver,
            backoff=[0.01],
            dead_letter="dead.mail",
        )
        await js.publish("orders.new", b'{"number": 7}', headers={"Trace": "t1"})
        await settled(js, "shop-mail")
        await until(lambda: len(calls) == max_deliver)
        letter = await js.get_last_msg("DEAD", "dead.mail")
        stats = shop.stats().events[0].data["micro"]["consumer"]
    assert letter.data == b'{"number": 7}'
    headers = dict(letter.headers or {})
    assert headers.pop("Nats-Msg-Id").startswith("ORDERS.1.shop-mail.")
    assert headers == {
        "Trace": "t1",
        "Micro-Dead-Letter-Reason": "internal error",
        "Micro-Dead-Letter-Deliveries": str(max_deliver),
        "Micro-Dead-Letter-Subject": "orders.new",
        "Micro-Dead-Letter-Stream": "ORDERS",
        "Micro-Dead-Letter-Sequence": "1",
        "Micro-Dead-Letter-Consumer": "shop-mail",
    }
    assert stats["dead_lettered"] == 1
    assert stats["terminated"] == 1


@pytest.mark.parametrize(
    ("payload", "reason"), [(b"{", "invalid request"), (b'{"number": 1}', "no such customer")]
)
async def test_rejected_message_is_given_up_at_once(
    nc: NatsClient, js: JetStreamContext, payload: bytes, reason: str
) -> None:
    async def handle(order: Order) -> None:
        raise Reject("no such customer")

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        subject = f"dead.{len(payload)}"
        await shop.add_consumer("mail", handle, stream="ORDERS", dead_letter=subject)
        await js.publish("orders.new", payload)
        await settled(js, "shop-mail")
        letter = await js.get_last_msg("DEAD", subject)
    assert letter.data == payload
    assert (letter.headers or {})["Micro-Dead-Letter-Reason"] == reason
    assert (letter.headers or {})["Micro-Dead-Letter-Deliveries"] == "1"


async def test_message_of_a_long_handler_is_not_delivered_twice(
    nc: NatsClient, js: JetStreamContext, caller: NatsClient
) -> None:
    calls: list[int] = []
    finish = asyncio.Event()
    kept_alive: dict[str, int] = {}
    ack_wait = 3.0

    async def handle(order: Order) -> None:
        calls.append(order.number)
        if order.number == 0:  # while the second message waits for a free place
            await finish.wait()

    async def note(message: Msg) -> None:
        if message.data == b"+WPI":
            kept_alive[message.subject] = kept_alive.get(message.subject, 0) + 1

    await caller.subscribe("$JS.ACK.ORDERS.shop-mail.>", cb=note)
    await caller.flush()
    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer("mail", handle, stream="ORDERS", ack_wait=ack_wait, max_in_flight=1)
        await publish(js, 2)
        # Three signs of life are one acknowledgement time.
        await until(lambda: len(kept_alive) == 2 and min(kept_alive.values()) > 3)
        finish.set()
        await settled(js, "shop-mail")
    assert calls == [0, 1]


async def test_messages_of_one_key_run_in_order_even_if_one_fails(
    nc: NatsClient, js: JetStreamContext
) -> None:
    done: list[tuple[str, int]] = []
    failed: set[int] = set()

    async def handle(request: Request) -> None:
        number = json.loads(request.data())["number"]
        await asyncio.sleep(0.001 * (5 - number % 5))
        if number % 7 == 0 and number not in failed:
            failed.add(number)
            raise RuntimeError("once")
        done.append((request.subject(), number))

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer(
            "mail",
            handle,
            stream="ORDERS",
            ordered_by=lambda request: request.subject(),
            backoff=[0.02],
        )
        for number in range(40):
            await js.publish(f"orders.{number % 2}", json.dumps({"number": number}).encode())
        await until(lambda: len(done) == 40)
        await settled(js, "shop-mail")
    for lane in (0, 1):
        numbers = [number for subject, number in done if subject == f"orders.{lane}"]
        assert numbers == sorted(numbers)


async def test_stop_finishes_what_runs_and_hands_back_what_waits(
    nc: NatsClient, js: JetStreamContext, caller: NatsClient
) -> None:
    started, finish = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def handle(order: Order) -> None:
        started.set()
        await finish.wait()
        done.append(order.number)

    await publish(js, 10)
    shop = micro.add_service(nc, "shop", "1.0.0")
    await shop.start()
    await shop.add_consumer("mail", handle, stream="ORDERS", max_in_flight=1)
    async with asyncio.timeout(LONG):
        await started.wait()
        await until(lambda: shop.stats().events[0].data["micro"]["queued"] == 9)
        stopping = asyncio.create_task(shop.stop())
        # Another instance gets the others at once, while the first is still running.
        others: list[int] = []

        async def take(order: Order) -> None:
            others.append(order.number)

        async with micro.add_service(caller, "shop", "1.0.0") as second:
            await second.add_consumer("mail", take, stream="ORDERS")
            await until(lambda: len(others) == 9)
            assert not stopping.done()
            finish.set()
            await stopping
            await settled(js, "shop-mail")
    assert done == [0]
    assert sorted(others) == list(range(1, 10))


async def test_missing_stream_fails_by_name(nc: NatsClient, js: JetStreamContext) -> None:
    async def handle(order: Order) -> None: ...

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        with pytest.raises(ConfigError, match="stream 'NONE' does not exist"):
            await shop.add_consumer("mail", handle, stream="NONE")
        with pytest.raises(ConfigError, match="no stream keeps the dead letters on 'nowhere'"):
            await shop.add_consumer("mail", handle, stream="ORDERS", dead_letter="nowhere")
        assert shop.info().events == []


async def test_stream_is_created_when_asked(nc: NatsClient, js: JetStreamContext) -> None:
    seen: list[int] = []

    async def handle(order: Order) -> None:
        seen.append(order.number)

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer(
            "a", handle, stream="MADE", subjects=["made.>"], ensure_stream={"max_msgs": 5}
        )
        assert (await js.stream_info("MADE")).config.max_msgs == 5
        await js.publish("made.x", b'{"number": 1}')
        await until(lambda: seen == [1])


async def test_consumer_goes_on_when_it_is_deleted_and_the_stream_appears_later(
    nc: NatsClient, js: JetStreamContext
) -> None:
    seen: set[int] = set()

    async def handle(order: Order) -> None:
        seen.add(order.number)

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer("mail", handle, stream="ORDERS")
        await publish(js, 1)
        await until(lambda: seen == {0})
        await js.delete_consumer("ORDERS", "shop-mail")
        await publish(js, 1, 1)
        await until(lambda: seen == {0, 1})
        await js.delete_stream("ORDERS")
        await until(lambda: shop.refused() != ())
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await publish(js, 1, 2)
        await until(lambda: seen == {0, 1, 2})
        assert shop.refused() == ()


async def test_two_instances_share_a_durable(
    nc: NatsClient, js: JetStreamContext, caller: NatsClient
) -> None:
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def handler(name: str) -> Any:
        async def handle(order: Order) -> None:
            seen[name].append(order.number)
            await asyncio.sleep(0.005)

        return handle

    async with (
        micro.add_service(nc, "shop", "1.0.0") as first,
        micro.add_service(caller, "shop", "1.0.0") as second,
    ):
        for name, shop in (("a", first), ("b", second)):
            await shop.add_consumer(
                "mail", handler(name), stream="ORDERS", batch=2, max_in_flight=2
            )
        await publish(js, 100)
        await until(lambda: len(seen["a"]) + len(seen["b"]) == 100)
        await settled(js, "shop-mail")
    assert sorted(seen["a"] + seen["b"]) == list(range(100))
    assert seen["a"]
    assert seen["b"]


async def test_middlewares_run_around_the_handler_of_a_consumer(
    nc: NatsClient, js: JetStreamContext
) -> None:
    seen: list[str] = []

    async def note(request: Request, next: micro.NextHandler) -> micro.Response:
        seen.append("before")
        response = await next(request)
        seen.append("after")
        return response

    async def handle(request: Request) -> None:
        seen.append(request.subject())

    async with micro.add_service(nc, "shop", "1.0.0", middlewares=[note]) as shop:
        await shop.add_consumer("mail", handle, stream="ORDERS")
        await publish(js, 1)
        await settled(js, "shop-mail")
    assert seen == ["before", "orders.new", "after"]


async def test_consumer_is_shown_apart_from_the_endpoints(
    nc: NatsClient, js: JetStreamContext, caller: NatsClient
) -> None:
    async def handle(order: Order) -> None: ...

    async with micro.add_service(nc, "shop", "1.0.0") as shop:
        await shop.add_consumer("mail", handle, stream="ORDERS", subjects="orders.new")
        await publish(js, 3)
        await settled(js, "shop-mail")
        client = micro.Client(caller)
        info = (await client.info("shop", max_count=1, max_wait=LONG))[0]
        async with asyncio.timeout(LONG):
            while True:  # a slow server is asked again later
                stats = (await client.stats("shop", max_count=1, max_wait=LONG))[0]
                if "lag" in stats.events[0].data["micro"]["consumer"]:
                    break
                await asyncio.sleep(0.1)
    assert info.endpoints == []
    assert stats.endpoints == []
    event = info.events[0]
    assert (event.name, event.subject, event.queue_group) == ("mail", "orders.new", "shop-mail")
    assert event.metadata["micro.kind"] == "consumer"
    assert event.metadata["micro.stream"] == "ORDERS"
    assert "micro.request.schema" in event.metadata
    assert stats.events[0].num_requests == 3
    assert stats.events[0].data["micro"]["consumer"] == {
        "acked": 3,
        "retried": 0,
        "terminated": 0,
        "dead_lettered": 0,
        "open": 0,
        "lag": 0,
        "ack_pending": 0,
        "redelivered": 0,
    }


async def test_consumer_needs_only_the_documented_permissions() -> None:
    seen: list[int] = []

    async def handle(order: Order) -> None:
        seen.append(order.number)
        raise Reject("never")

    allowed = (
        "$JS.API.CONSUMER.INFO.ORDERS.shop-mail",
        "$JS.API.CONSUMER.CREATE.ORDERS.shop-mail",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.shop-mail",
        "$JS.ACK.ORDERS.shop-mail.>",
        "$JS.API.STREAM.NAMES",
        "dead.mail",
    )
    config = f"""
    jetstream {{}}
    no_auth_user: root
    authorization {{ users = [
      {{ user: root, password: x }}
      {{ user: shop, password: x, permissions {{
        subscribe {{ allow: ["_INBOX.shop.>", "$SRV.>"] }}
        publish {{ allow: {json.dumps(allowed)} }}
      }} }}
    ] }}"""
    with nats_server(config=config, jetstream=True) as server:
        admin = await nats.connect(server.url)
        js = admin.jetstream()
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await js.add_stream(name="DEAD", subjects=["dead.>"])
        async with micro.Context() as ctx:
            await ctx.connect(
                micro.options.servers(server.url),
                micro.options.user_password("shop", "x"),
                micro.options.inbox_prefix("_INBOX.shop"),
            )
            shop = await ctx.add_service("shop", "1.0.0")
            await shop.add_consumer("mail", handle, stream="ORDERS", dead_letter="dead.mail")
            await publish(js, 3)
            await settled(js, "shop-mail")
        assert seen == [0, 1, 2]
        assert (await js.stream_info("DEAD")).state.messages == 3
        await admin.close()
