"""Consumers while instances are killed and replaced, connections move and the server restarts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext

import micro
from micro import Request
from micro._wire import fast_transport
from micro._wire.client_state import state_of
from micro.testing import NatsServer, free_port, nats_server

from . import consumers

LONG = 60.0


@pytest.fixture(scope="module")
def js_server() -> Iterator[NatsServer]:
    with nats_server(jetstream=True) as running:
        yield running


@asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[NatsClient]:
    client = NatsClient()
    fast_transport.install(client, [server.url])
    await client.connect(server.url, reconnect_time_wait=1, max_reconnect_attempts=-1)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def stream(server: NatsServer, name: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(server.url, reconnect_time_wait=1, max_reconnect_attempts=-1)
    js = client.jetstream()
    await js.add_stream(name=name, subjects=[f"{name.lower()}.>"])
    try:
        yield js
    finally:
        await client.close()


class Seen:
    """The numbers that handlers have finished."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    async def handle(self, request: Request) -> None:
        await asyncio.sleep(0.002)
        self.counts[json.loads(request.data())] += 1

    async def all_of(self, count: int) -> None:
        async with asyncio.timeout(LONG):
            while len(self.counts) < count:
                await asyncio.sleep(0.02)


async def none_left(js: JetStreamContext, name: str, durable: str) -> Any:
    async with asyncio.timeout(LONG):
        while True:
            info = await js.consumer_info(name, durable)
            if not info.num_pending and not info.num_ack_pending:
                return info
            await asyncio.sleep(0.05)


async def until_noticed(closed: NatsClient) -> None:
    """Wait until everybody who depends on a connection has heard of its end."""
    async with asyncio.timeout(LONG):
        while state_of(closed).dependants:
            await asyncio.sleep(0.02)


async def test_killed_and_replaced_instances_lose_no_message(
    js_server: NatsServer, path: str
) -> None:
    seen, count, places = Seen(), 600, 8

    async def instance(server: NatsServer) -> tuple[NatsClient, micro.Service]:
        client = NatsClient()
        fast_transport.install(client, [server.url])
        await client.connect(server.url)
        service = micro.add_service(client, "kill", "1.0.0")
        await service.start()
        await service.add_consumer(
            "work",
            seen.handle,
            stream=f"KILL{path}",
            ack_wait=2,
            batch=places,
            max_in_flight=places,
        )
        return client, service

    async with stream(js_server, f"KILL{path}") as js:
        killed = [await instance(js_server) for _ in range(2)]
        for number in range(count):
            await js.publish(f"kill{path}.x", b"%d" % number)
            if number % 200 == 100:  # without a goodbye: its messages come again after ack_wait
                client, _ = killed.pop(0)
                await client.close()
                killed.append(await instance(js_server))
        await seen.all_of(count)
        await none_left(js, f"KILL{path}", "kill-work")
        for client, service in killed:
            await service.stop()
            await client.close()
    repeated = sum(seen.counts.values()) - count
    assert repeated <= 3 * (3 * places)  # what each of three killed instances may have held


async def test_move_to_another_connection_loses_and_repeats_no_message(
    js_server: NatsServer, path: str
) -> None:
    seen, name = Seen(), f"MOVE{path}"
    async with (
        stream(js_server, name) as js,
        connected(js_server) as first,
        connected(js_server) as second,
        micro.add_service(first, "move", "1.0.0") as service,
    ):
        await service.add_consumer("work", seen.handle, stream=name)
        for number in range(100):
            await js.publish(f"{name.lower()}.x", b"%d" % number)
        moving = asyncio.create_task(service.__instance__.move(second))
        for number in range(100, 300):
            await js.publish(f"{name.lower()}.x", b"%d" % number)
        await moving
        await first.close()
        await until_noticed(first)
        for number in range(300, 400):
            await js.publish(f"{name.lower()}.x", b"%d" % number)
        await seen.all_of(400)
        await none_left(js, name, "move-work")
    assert set(seen.counts.values()) == {1}


async def test_open_stream_of_items_goes_on_over_a_move(js_server: NatsServer, path: str) -> None:
    async def rows(request: Request) -> AsyncIterator[int]:
        for number in range(2_000):
            yield number

    async with (
        connected(js_server) as first,
        connected(js_server) as second,
        connected(js_server) as third,
        micro.add_service(first, "flow", "1.0.0") as service,
    ):
        await service.add_endpoint("rows", rows, subject=f"flow.{path}")
        items = micro.Client(third).stream(f"flow.{path}", of=int, window=16, gap=LONG, lease=10)
        numbers = []
        async for number in items:
            numbers.append(number)
            if number == 100:
                await service.__instance__.move(second)
                await first.close()
    assert numbers == list(range(2_000))


async def test_consumer_goes_on_after_a_restart_of_the_server(path: str, tmp_path: Any) -> None:
    seen, port = Seen(), free_port()
    config = f'jetstream {{ store_dir: "{tmp_path}" }}'
    with nats_server(port=port, config=config) as server:
        first = await nats.connect(server.url, max_reconnect_attempts=-1)
        js = first.jetstream()
        await js.add_stream(name="AGAIN", subjects=["again.>"])
        client = NatsClient()
        fast_transport.install(client, [server.url])
        await client.connect(server.url, reconnect_time_wait=1, max_reconnect_attempts=-1)
        service = micro.add_service(client, "again", "1.0.0")
        await service.start()
        await service.add_consumer("work", seen.handle, stream="AGAIN", ack_wait=2)
        for number in range(50):
            await js.publish("again.x", b"%d" % number)
        await seen.all_of(50)
        await first.close()
    with nats_server(port=port, config=config) as server:
        async with asyncio.timeout(LONG):
            while not client.is_connected:
                await asyncio.sleep(0.02)
        second = await nats.connect(server.url)
        js = second.jetstream()
        for number in range(50, 100):
            await js.publish("again.x", b"%d" % number)
        await seen.all_of(100)
        await none_left(js, "AGAIN", "again-work")
        await service.stop()
        await client.close()
        await second.close()


async def test_killed_processes_lose_no_message_and_repeat_what_they_held(path: str) -> None:
    handled = await consumers.killed_instances(kills=2)

    print(f"{path}: {handled}")
    assert handled.failures == []
    assert handled.repeated <= 4 * handled.held  # a starved process may be late to keep alive


@pytest.mark.parametrize("killed", [False, True])
async def test_restarted_server_loses_no_message(path: str, killed: bool) -> None:
    handled = await consumers.restarts_of_the_server(restarts=1, killed=killed)

    print(f"{path}: {handled}")
    assert handled.failures == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("path", "of"), [("fast", "stream"), ("public", "consumer")], indirect=["path"]
)
async def test_loss_of_a_leader_of_three_loses_no_message(path: str, of: str) -> None:
    """Half of the cases, as each takes as long as the servers need to choose another leader."""
    handled = await consumers.loss_of_a_leader(of)

    print(f"{path}: leader of the {of}: {handled}")
    assert handled.failures == []
