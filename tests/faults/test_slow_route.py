"""A cluster with slow routes: messages on their way to a server that is left still arrive."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator

import nats
import pytest
from tests.runtime.conftest import Load

import micro
from micro import options
from micro.testing import free_port, nats_server

from .kit import Setup, running, until_served

DELAY = 0.05

CONFIG = """
server_name: {name}
lame_duck_grace_period: "3s"
lame_duck_duration: "30s"
cluster {{ name: far, no_advertise: true, listen: "127.0.0.1:{port}", routes: [{routes}] }}
"""


@contextlib.asynccontextmanager
async def delayed(target: int) -> AsyncIterator[int]:
    """Yield a port that leads to another one, a moment later in both directions."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                loop.call_later(DELAY, writer.write, data)
        await asyncio.sleep(DELAY)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        for pumped in (pump(reader, back), pump(there, writer)):
            task = asyncio.create_task(pumped)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield int(proxy.sockets[0].getsockname()[1])
    finally:
        proxy.close()
        while tasks:
            await asyncio.wait(tasks)


async def test_requests_on_their_way_to_a_lame_duck_are_not_lost(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "micro.link")

    async def setup(ctx: micro.Context) -> None:
        service = await ctx.add_service("far", "1.0.0")
        await service.add_endpoint("echo", echo)

    async def echo(request: micro.Request) -> None:
        await request.respond(request.data())

    first, second = free_port(), free_port()
    async with contextlib.AsyncExitStack() as stack:
        route = await stack.enter_async_context(delayed(second))
        far = CONFIG.format(name="b", port=second, routes="")
        near = CONFIG.format(name="a", port=first, routes=f'"nats://127.0.0.1:{route}"')
        two = await asyncio.to_thread(stack.enter_context, nats_server(config=far))
        one = await asyncio.to_thread(stack.enter_context, nats_server(config=near))
        async with running(setup, options.servers(one.url, two.url)) as ctx:
            url = ctx.client.connected_url
            assert url is not None
            duck, other = (one, two) if url.port == one.port else (two, one)
            await until_served(other.url, "far", "echo", within=30)
            caller = await nats.connect(other.url)
            load = Load(caller)
            async with load.steady("echo", 300):
                await asyncio.sleep(0.5)  # so that requests are on their way
                duck.process.send_signal(signal.SIGUSR2)
                async with asyncio.timeout(20):
                    while "shutting down, moved to" not in caplog.text:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)
            await caller.close()

    print(f"{path}: {DELAY} s between the nodes, {len(load.failures)} of {load.sent} lost (bar 0)")
    assert load.sent > 100
    assert load.failures == []


async def test_requests_on_their_way_to_an_instance_that_leaves_are_not_lost(path: str) -> None:
    """Its server hands them on, as it would not if it went with it."""
    seen: Counter[str] = Counter()

    def programs(name: str) -> Setup:
        async def echo(request: micro.Request) -> None:
            seen[name] += 1
            await request.respond(request.data())

        async def setup(ctx: micro.Context) -> None:
            service = await ctx.add_service("far", "1.0.0")
            await service.add_endpoint("echo", echo)

        return setup

    first, second = free_port(), free_port()
    async with contextlib.AsyncExitStack() as stack:
        route = await stack.enter_async_context(delayed(second))
        far = CONFIG.format(name="b", port=second, routes="")
        near = CONFIG.format(name="a", port=first, routes=f'"nats://127.0.0.1:{route}"')
        two = await asyncio.to_thread(stack.enter_context, nats_server(config=far))
        one = await asyncio.to_thread(stack.enter_context, nats_server(config=near))
        caller = await nats.connect(one.url)
        load = Load(caller)
        for stays in (one, two):
            async with running(programs("stays"), options.servers(stays.url)):
                await until_served(one.url, "far", "echo", within=30)
                async with load.steady("echo", 500):
                    for _ in range(5):
                        known = seen["leaves"]
                        async with running(programs("leaves"), options.servers(two.url)):
                            async with asyncio.timeout(20):
                                while seen["leaves"] < known + 10:
                                    await asyncio.sleep(0.01)
        await caller.close()

    print(f"{path}: {DELAY} s between the nodes, {len(load.failures)} of {load.sent} lost (bar 0)")
    assert load.failures == []


async def test_stop_in_the_middle_of_a_move_leaves_both_connections() -> None:
    async def echo(request: micro.Request) -> None:
        await request.respond(request.data())

    with nats_server() as server:
        first, second, caller = [await nats.connect(server.url) for _ in range(3)]
        service = micro.add_service(first, "moving", "1.0.0")
        await service.start()
        await service.add_endpoint("echo", echo, subject="moving")
        load = Load(caller)
        async with load.steady("moving", 300):
            moving = asyncio.create_task(service.__instance__.move(second))
            await until_served(server.url, "moving", "moving", within=20)
            other = micro.add_service(caller, "staying", "1.0.0")
            await other.start()
            await other.add_endpoint("echo", echo, subject="moving")
            await service.stop()
            assert not moving.done()
            await moving
        found = await micro.Client(caller).ping("moving")
        await other.stop()
        for client in (first, second, caller):
            await client.close()

    assert load.failures == []
    assert found == []
