"""Servers that restart, freeze or die: services come back by themselves, and nothing is silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import options
from micro.testing import NatsServer, free_port, nats_server


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("outage", "1.0.0")
    await service.add_endpoint("echo", echo)
    await service.add_endpoint("slow", slow)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def slow(request: micro.Request) -> None:
    await asyncio.sleep(0.5)
    await request.respond(b"slow")


@contextlib.asynccontextmanager
async def running(*servers: str) -> AsyncIterator[micro.Context]:
    ctx, done = micro.Context(), asyncio.Event()

    async def notify(context: micro.Context) -> None:
        await setup(context)
        done.set()

    task = asyncio.create_task(ctx.run_forever(notify, options.servers(*servers)))
    await done.wait()
    try:
        yield ctx
    finally:
        ctx.cancel()
        await task


async def eventually(check: Callable[[], Awaitable[bool]], within: float) -> float:
    """Return after how many seconds the check held."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        while True:
            with contextlib.suppress(nats.errors.Error, OSError):
                if await check():
                    return time.monotonic() - began
            await asyncio.sleep(0.01)


async def serves(url: str) -> None:
    """Wait until the service answers requests and can be discovered."""
    caller = await nats.connect(url)

    async def check() -> bool:
        answer = await caller.request("echo", b"x", timeout=0.3)
        found = await micro.Client(caller).ping("outage", max_wait=1, max_count=1)
        return answer.data == b"x" and len(found) == 1

    elapsed = await eventually(check, within=40)
    logging.getLogger("tests").info("served again after %.3f s", elapsed)
    await caller.close()


@pytest.mark.parametrize("down", [0.1, 1.5])
async def test_restart_on_the_same_port_is_survived_without_help(down: float) -> None:
    port = free_port()
    with nats_server(port=port) as server:
        async with running(server.url):
            await serves(server.url)
            server.stop()
            await asyncio.sleep(down)
            with nats_server(port=port) as again:
                await serves(again.url)


async def test_stopping_during_an_outage_ends_promptly() -> None:
    with nats_server() as server:
        async with running(server.url) as ctx:
            lost = asyncio.Event()

            async def disconnected() -> None:
                lost.set()

            ctx.add_disconnected_callback(disconnected)
            server.stop()
            await lost.wait()
            began = time.monotonic()
        assert time.monotonic() - began < 5


async def test_answer_that_an_outage_makes_impossible_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection closed under a running handler: its answer is lost, and says so."""
    with nats_server() as server:
        nc = await nats.connect(server.url, allow_reconnect=False)
        caller = await nats.connect(server.url)
        started = asyncio.Event()

        async def waiting(request: micro.Request) -> None:
            started.set()
            await asyncio.sleep(0.2)
            await request.respond(b"late")

        service = micro.add_service(nc, "lost", "1.0.0")
        await service.start()
        await service.add_endpoint("waiting", waiting)
        await caller.publish("waiting", b"", reply="_INBOX.nobody")
        await started.wait()
        await nc.close()
        await service.stop()
        stats = service.stats().endpoints[0]
        await caller.close()

    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert stats.last_error == "500:answer lost: nats: connection closed"
    assert "answer to 'waiting' is lost" in caplog.text


async def test_answers_finished_during_a_restart_arrive_after_it() -> None:
    port = free_port()
    with nats_server(port=port) as server:
        async with running(server.url):
            caller = await nats.connect(
                server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05
            )
            inbox = await caller.subscribe("answers")
            await caller.publish("slow", b"", reply="answers")
            await caller.flush()
            await asyncio.sleep(0.05)
            server.stop()
            with nats_server(port=port):
                message = await inbox.next_msg(timeout=10)
                await caller.close()

    assert message.data == b"slow"


CLUSTER = """
server_name: {name}
cluster {{ name: "{cluster}", listen: "127.0.0.1:{port}", routes: [{routes}] }}
"""


@contextlib.contextmanager
def cluster(size: int = 3) -> Iterator[list[NatsServer]]:
    ports = [free_port() for _ in range(size)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                nats_server(
                    config=CLUSTER.format(
                        name=f"n{port}", cluster=f"c{ports[0]}", port=port, routes=routes
                    )
                )
            )
            for port in ports
        ]


async def test_cluster_node_killed_moves_the_service_to_another() -> None:
    with cluster() as nodes:
        async with running(nodes[0].url) as ctx:
            await serves(nodes[1].url)
            url = ctx.client.connected_url
            assert url is not None
            node = next(node for node in nodes if node.port == url.port)
            other = next(found for found in nodes if found is not node)
            node.process.kill()
            node.process.wait()
            await serves(other.url)


async def test_a_foreign_client_can_run_a_service(nc: NatsClient) -> None:
    async with micro.add_service(nc, "foreign", "1.0.0") as service:
        await service.add_endpoint("echo", echo)
        assert (await nc.request("echo", b"x", timeout=5)).data == b"x"
    with pytest.raises(nats.errors.NoRespondersError):
        await nc.request("echo", b"x", timeout=5)
