"""A connection that nats-py gives up, stops hearing, or would leave too late."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import nats
import nats.errors
import pytest

import micro
from micro import options
from micro.testing import NatsServer, free_port, nats_server

from .conftest import Load
from .test_outages import running, serves

LAME_DUCK = """
server_name: {name}
lame_duck_grace_period: "3s"
lame_duck_duration: "30s"
cluster {{ name: "{cluster}", listen: "127.0.0.1:{port}", routes: ["nats://127.0.0.1:{other}"] }}
"""


async def test_lame_duck_is_left_at_once_and_nothing_is_lost() -> None:
    first, second = free_port(), free_port()
    with (
        nats_server(
            config=LAME_DUCK.format(name="a", cluster=f"c{first}", port=first, other=second)
        ) as one,
        nats_server(
            config=LAME_DUCK.format(name="b", cluster=f"c{first}", port=second, other=first)
        ) as two,
    ):
        async with running(one.url, two.url) as ctx:
            url = ctx.client.connected_url
            assert url is not None
            duck, other = (one, two) if url.port == one.port else (two, one)
            caller = await nats.connect(other.url)
            await serves(other.url)
            load = Load(caller)
            async with load.steady("echo", 500), load.steady("slow", 10):
                duck.process.send_signal(signal.SIGUSR2)
                await asyncio.sleep(1)
                moved = await caller.request("echo", b"x", timeout=1)
                await asyncio.to_thread(
                    duck.process.wait, 40
                )  # it closes its clients after the grace period and ends
                await asyncio.sleep(0.5)
            found = await micro.Client(caller).ping("outage")
            await caller.close()

    assert load.failures == []
    assert load.sent > 500
    assert moved.data == b"x"
    assert len(found) == 1


async def test_connection_closed_by_a_violation_is_replaced() -> None:
    """A message over max_payload, headers counted, makes the server close and nats-py give up."""
    with nats_server() as server:
        async with running(server.url) as ctx:
            former = ctx.client
            back = asyncio.Event()

            async def reconnected() -> None:
                back.set()

            ctx.add_reconnected_callback(reconnected)
            await former.publish("x", b"", headers={"X": "y" * (former.max_payload + 100)})
            await asyncio.wait_for(back.wait(), 10)
            await serves(server.url)

            assert former.is_closed
            assert ctx.client is not former


async def test_connection_closed_by_a_violation_ends_the_program_if_attempts_are_limited() -> None:
    with nats_server() as server:
        ctx, ready = micro.Context(), asyncio.Event()

        async def setup(_: micro.Context) -> None:
            ready.set()

        limited = options.reconnect(max_attempts=5)
        task = asyncio.create_task(ctx.run_forever(setup, options.servers(server.url), limited))
        await ready.wait()
        large = {"X": "y" * (ctx.client.max_payload + 100)}
        await ctx.client.publish("x", b"", headers=large)

        with pytest.raises(micro.ConnectError, match="the connection is closed for good: "):
            await task


async def test_connection_that_stopped_reading_is_noticed_and_restored(server: NatsServer) -> None:
    """The late PONG of a timed-out round trip ends nats-py's reading, while it looks connected."""
    async with running(server.url) as ctx:
        server.freeze()
        with contextlib.suppress(nats.errors.TimeoutError):
            await ctx.client.rtt(timeout=1)
        server.thaw()
        caller = await nats.connect(server.url)
        with contextlib.suppress(nats.errors.TimeoutError):
            await caller.request("echo", timeout=0.5)
        began = time.monotonic()
        await serves(server.url)
        await caller.close()

    assert time.monotonic() - began < 35
