"""Servers that restart, die, freeze or stay away: how long until the service is back, by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import nats
import nats.errors
import pytest
from tests.runtime.conftest import Start
from tests.runtime.test_outages import cluster

import micro
from micro import options
from micro.testing import NatsServer, free_port, nats_server

from . import losses
from .kit import running, until_served


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("faults", "1.0.0")
    await service.add_endpoint("echo", echo)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


@contextlib.contextmanager
def frozen(server: NatsServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@pytest.mark.parametrize("down", [0.1, 2.5])
async def test_restart_of_the_server_is_recovered_from_at_once(path: str, down: float) -> None:
    outcome = await losses.restart_of_the_server(down)

    print(f"{path}: {down} s down: {outcome} (bar 0, back 0.75 s after it is up)")
    assert outcome.seconds[0] < 5
    assert outcome.failures == []


async def test_death_of_the_own_node_of_three_moves_the_service(path: str) -> None:
    with cluster() as nodes:
        async with running(setup, options.servers(nodes[0].url)) as ctx:
            await until_served(nodes[1].url, "faults", "echo", within=30)
            url = ctx.client.connected_url
            assert url is not None
            node = next(node for node in nodes if node.port == url.port)
            other = next(found for found in nodes if found is not node)
            caller = await nats.connect(other.url)
            node.process.kill()
            killed = time.monotonic()
            await asyncio.to_thread(node.process.wait)
            await caller.close()
            await until_served(other.url, "faults", "echo", within=30)
            elapsed = time.monotonic() - killed

    print(f"{path}: node killed, served by another after {elapsed:.3f} s (bar 0.25 s)")
    assert elapsed < 5


@pytest.mark.slow
# nats-py forgets the stream of a connection it could not close: a warning on Python 3.11.
@pytest.mark.filterwarnings("ignore:.*StreamWriter:pytest.PytestUnraisableExceptionWarning")
async def test_frozen_node_is_left_also_with_megabytes_unsent(path: str) -> None:
    """Both cases at once, since each takes as long as silence must last to be believed."""

    async def leave(unsent: int) -> float:
        with cluster(2) as nodes:
            servers = options.servers(nodes[0].url, nodes[1].url)
            async with running(setup, servers) as ctx:
                await until_served(nodes[1].url, "faults", "echo", within=30)
                url = ctx.client.connected_url
                assert url is not None
                node, other = nodes if url.port == nodes[0].port else reversed(nodes)
                with frozen(node):
                    began = time.monotonic()
                    sending = asyncio.create_task(flood(ctx, unsent))
                    await until_served(other.url, "faults", "echo", within=60)
                    elapsed = time.monotonic() - began
                    sending.cancel()
                    await asyncio.wait({sending})
        return elapsed

    async def flood(ctx: micro.Context, size: int) -> None:
        for _ in range(size // 65536):
            await ctx.client.publish("nobody", b"x" * 65536)

    idle, unsent = await asyncio.gather(leave(0), leave(3_900_000))

    print(
        f"{path}: frozen node left after {idle:.1f} s, with 3.9 MB unsent {unsent:.1f} s (bar 35)"
    )
    assert idle < 45
    assert unsent < 45


async def test_outage_longer_than_the_budget_of_nats_py_is_survived(path: str) -> None:
    """nats-py gives up after 60 attempts; here they come quickly one after the other."""
    port, failed = free_port(), 0
    enough = asyncio.Event()

    async def count(error: Exception) -> None:
        nonlocal failed
        failed += isinstance(error, OSError)
        if failed > 70:
            enough.set()

    quick = options.reconnect(max_delay=0.02)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_server(port=port))
        async with running(setup, options.servers(server.url), quick) as ctx:
            ctx.add_error_callback(count)
            server.stop()
            await asyncio.wait_for(enough.wait(), 60)
            again = await asyncio.to_thread(stack.enter_context, nats_server(port=port))
            recovery = await until_served(again.url, "faults", "echo", within=30)

    print(f"{path}: {failed} attempts failed, back {recovery:.3f} s after the server")
    assert recovery < 5


async def test_outage_longer_than_its_own_budget_ends_the_program(path: str, start: Start) -> None:
    with nats_server() as server:
        instance = await (await start(server.url, attempts="3")).ready()
        server.stop()
        gone = time.monotonic()

        assert await instance.exit_code() == 1
        print(f"{path}: ended {time.monotonic() - gone:.3f} s after the server")
    assert "micro: the connection is closed for good" in await instance.errors()
