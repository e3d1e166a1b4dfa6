"""Stopping loses nothing, whenever and however it is asked for."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from nats.aio.client import Client as NatsClient

from micro.testing import NatsServer, free_port, nats_server

from .conftest import Load, Start


async def test_rolling_restarts_under_load_lose_no_request(
    server: NatsServer, nc: NatsClient, start: Start
) -> None:
    load = Load(nc)
    current = await (await start(server.url)).ready()
    async with load.steady("echo", 2000), load.steady("slow", 24):
        for _ in range(10):
            following = await (await start(server.url)).ready()
            current.signal()
            assert await current.exit_code() == 0
            current = following

    assert load.failures == []
    assert load.sent > 2000


async def test_requests_in_flight_are_finished_before_the_process_ends(
    server: NatsServer, nc: NatsClient, start: Start
) -> None:
    instance = await (await start(server.url)).ready()
    asked = [asyncio.create_task(nc.request("slow", timeout=5)) for _ in range(20)]
    await nc.flush()
    await asyncio.sleep(0.02)  # the requests are with the service, which needs 50 ms for each
    instance.signal()

    answers = await asyncio.gather(*asked)
    answered = time.monotonic()
    assert await instance.exit_code() == 0
    assert [answer.data for answer in answers] == [b"slow"] * 20
    assert time.monotonic() - answered < 2


@pytest.mark.parametrize("departures", [4])
async def test_departures_in_a_flood_lose_no_request(
    server: NatsServer, nc: NatsClient, start: Start, departures: int
) -> None:
    load = Load(nc, timeout=10)
    await (await start(server.url)).ready()
    for _ in range(departures):
        leaving = await (await start(server.url)).ready()
        flood = [asyncio.create_task(load.one("echo")) for _ in range(2500)]
        await asyncio.sleep(0)
        leaving.signal()
        await asyncio.gather(*flood)
        assert await leaving.exit_code() == 0

    assert load.failures == []


async def test_second_signal_answers_stuck_requests_with_503_and_ends(
    server: NatsServer, nc: NatsClient, start: Start
) -> None:
    instance = await (await start(server.url)).ready()
    asked = asyncio.create_task(nc.request("stuck", timeout=10))
    await nc.flush()
    await nc.request("echo", timeout=5)
    instance.signal()
    await asyncio.sleep(0.3)
    assert instance.process.returncode is None

    instance.signal(signal.SIGINT)
    answer = await asked
    assert await instance.exit_code(within=5) == 0
    assert answer.headers is not None
    assert answer.headers["Nats-Service-Error-Code"] == "503"
    assert answer.headers["Nats-Service-Error"] == "service stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_while_connecting_ends_the_process(start: Start, number: int) -> None:
    instance = await start(f"nats://127.0.0.1:{free_port()}", retry="yes")
    assert instance.process.stderr is not None
    async with asyncio.timeout(20):
        await instance.process.stderr.readline()  # "still connecting"
    instance.signal(number)

    assert await instance.exit_code(within=5) == 0


async def test_signal_during_setup_ends_the_process(server: NatsServer, start: Start) -> None:
    instance = await start(server.url, setup="hang")
    await instance.line("in setup")
    instance.signal()

    assert await instance.exit_code(within=5) == 0


async def test_setup_that_raises_ends_the_process_with_its_traceback(
    server: NatsServer, nc: NatsClient, start: Start
) -> None:
    instance = await start(server.url, setup="raise")

    assert await instance.exit_code() == 1
    assert "RuntimeError: setup went wrong" in await instance.errors()


async def test_unreachable_server_ends_the_process_with_one_line(start: Start) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    instance = await start(url)

    assert await instance.exit_code(within=10) == 1
    lines = (await instance.errors()).strip().splitlines()
    assert lines[-1].startswith(f"micro: cannot connect to {url}: ")
    assert "Traceback" not in "\n".join(lines)


async def test_signal_during_an_outage_ends_the_process(start: Start) -> None:
    with nats_server() as server:
        instance = await (await start(server.url)).ready()
    instance.signal()

    assert await instance.exit_code(within=10) == 0


async def test_server_gone_for_good_ends_the_process_with_the_reason(start: Start) -> None:
    with nats_server() as server:
        instance = await (await start(server.url, attempts="3")).ready()

    assert await instance.exit_code(within=20) == 1
    assert "micro: the connection is closed for good" in await instance.errors()
