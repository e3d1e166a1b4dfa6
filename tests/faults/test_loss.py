"""Instances and servers that leave in order: no request is lost, on either path."""

from __future__ import annotations

import asyncio
import logging
import signal
import time

import nats
import pytest
from tests.runtime.conftest import Load, Start
from tests.runtime.test_link import LAME_DUCK

import micro
from micro import options
from micro.testing import free_port, nats_server

from .kit import running, until_served

ROUNDS = 5


async def test_rolling_restarts_lose_no_request(path: str, start: Start) -> None:
    with nats_server() as server:
        caller = await nats.connect(server.url)
        load = Load(caller)
        current = await (await start(server.url)).ready()
        async with load.steady("echo", 1000), load.steady("slow", 24):
            for _ in range(ROUNDS):
                following = await (await start(server.url)).ready()
                current.signal()
                assert await current.exit_code() == 0
                current = following
        await caller.close()

    print(f"{path}: {ROUNDS} restarts, {len(load.failures)} of {load.sent} failed (bar 0)")
    assert load.failures == []


async def test_departures_in_a_flood_lose_no_request(path: str, start: Start) -> None:
    with nats_server() as server:
        caller = await nats.connect(server.url)
        load = Load(caller, timeout=10)
        await (await start(server.url)).ready()
        for _ in range(ROUNDS):
            leaving = await (await start(server.url)).ready()
            flood = [asyncio.create_task(load.one("echo")) for _ in range(2500)]
            await asyncio.sleep(0)
            leaving.signal()
            await asyncio.gather(*flood)
            assert await leaving.exit_code() == 0
        await caller.close()

    print(f"{path}: {ROUNDS} departures, {len(load.failures)} of {load.sent} failed (bar 0)")
    assert load.failures == []


async def test_lame_duck_is_left_at_once_without_a_loss(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "micro.link")

    async def setup(ctx: micro.Context) -> None:
        service = await ctx.add_service("duck", "1.0.0")
        await service.add_endpoint("echo", echo)

    async def echo(request: micro.Request) -> None:
        await request.respond(request.data())

    first, second = free_port(), free_port()
    with (
        nats_server(config=LAME_DUCK.format(name="a", port=first, other=second)) as one,
        nats_server(config=LAME_DUCK.format(name="b", port=second, other=first)) as two,
    ):
        async with running(setup, options.servers(one.url, two.url)) as ctx:
            url = ctx.client.connected_url
            assert url is not None
            duck, other = (one, two) if url.port == one.port else (two, one)
            await until_served(other.url, "duck", "echo", within=30)
            caller = await nats.connect(other.url)
            load = Load(caller)
            async with load.steady("echo", 500):
                duck.process.send_signal(signal.SIGUSR2)
                began = time.monotonic()
                async with asyncio.timeout(20):
                    while "shutting down, moved to" not in caplog.text:
                        await asyncio.sleep(0.01)
                moved = time.monotonic() - began
                await asyncio.to_thread(duck.process.wait, 40)
                await asyncio.sleep(0.5)
            await caller.close()

    print(
        f"{path}: lame duck left after {moved:.3f} s (bar 1 s), "
        f"{len(load.failures)} of {load.sent} failed (bar 0)"
    )
    assert moved < 3  # of a grace period of three seconds, so before it threw anybody out
    assert load.failures == []
