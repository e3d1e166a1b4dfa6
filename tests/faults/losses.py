"""Departures under load and their losses: tests run some of them, this program all, five times.

Prints a line for each with: python -m tests.faults.losses [--repeats 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import nats
from tests.micro.path_kit import PATHS
from tests.runtime.conftest import Load, starting
from tests.runtime.test_outages import cluster

import micro
from micro import options
from micro._wire import fast_transport
from micro.testing import free_port, nats_server

from . import consumers
from .kit import running, told, until_served

LAME_DUCK = """
server_name: {name}
lame_duck_grace_period: "{grace}s"
lame_duck_duration: "30s"
cluster {{ name: "{cluster}", listen: "127.0.0.1:{port}", routes: ["nats://127.0.0.1:{other}"] }}
"""


@dataclass
class Outcome:
    """The outcome of requests that were not repeated, and the seconds of a bar that is a time."""

    sent: int
    failures: list[str]
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        slowest = f", slowest {max(self.seconds):.3f} s" if self.seconds else ""
        return (
            f"{len(self.failures)} of {self.sent} lost{slowest} {self.failures[:1] or ''}".strip()
        )


async def rolling_restarts(restarts: int = 8, rate: float = 2000, nodes: int = 1) -> Outcome:
    """Replace an instance again and again; the caller is on one node, the instances on the others.

    The seconds are those that instances took to end.
    """
    async with contextlib.AsyncExitStack() as stack:
        urls = [node.url for node in await asyncio.to_thread(stack.enter_context, cluster(nodes))]
        start = await stack.enter_async_context(starting())
        homes = itertools.cycle(urls[1:] or urls)
        caller = await nats.connect(urls[0])
        outcome = Outcome(0, [])
        current = await (await start(next(homes))).ready()
        await until_served(urls[0], "runtime", "echo", within=30)
        load = Load(caller)
        async with load.steady("echo", rate), load.steady("slow", 24):
            while (
                load.sent < rate / 2
            ):  # instances may start and leave in less time than this takes
                await asyncio.sleep(0.01)
            for _ in range(restarts):
                following = await (await start(next(homes))).ready()
                await until_known(urls[0], 2)
                burst = [asyncio.create_task(load.one("echo")) for _ in range(40)]
                await asyncio.sleep(0)
                began = current.signal()
                assert await current.exit_code() == 0
                outcome.seconds.append(time.monotonic() - began)
                await asyncio.gather(*burst)
                current = following
        await caller.close()
    outcome.sent, outcome.failures = load.sent, load.failures
    return outcome


async def until_known(url: str, count: int) -> None:
    """Return when a server knows of so many instances, which it may hear from another one."""
    caller = await nats.connect(url)
    async with asyncio.timeout(30):
        while len(await micro.Client(caller).ping("runtime", max_wait=1, max_count=count)) < count:
            pass
    await caller.close()


async def departures_in_a_flood(departures: int = 16, requests: int = 2500) -> Outcome:
    """Let instances leave while thousands of requests are on their way to them."""
    async with starting() as start:
        with nats_server() as server:
            caller = await nats.connect(server.url)
            load = Load(caller, timeout=10)
            await (await start(server.url)).ready()
            for _ in range(departures):
                leaving = await (await start(server.url)).ready()
                flood = [asyncio.create_task(load.one("echo")) for _ in range(requests)]
                await asyncio.sleep(0)
                leaving.signal()
                await asyncio.gather(*flood)
                assert await leaving.exit_code() == 0
            await caller.close()
    return Outcome(load.sent, load.failures)


async def stop_with_twenty_in_flight() -> Outcome:
    """Let an instance with slow requests leave; the seconds are the time until it ended."""
    async with starting() as start:
        with nats_server() as server:
            caller = await nats.connect(server.url)
            load = Load(caller, timeout=5)
            instance = await (await start(server.url)).ready()
            asked = [asyncio.create_task(load.one("slow")) for _ in range(20)]
            await caller.flush()
            await caller.request("echo", timeout=5)  # behind the others on the same connection
            began = instance.signal()
            await asyncio.gather(*asked)
            assert await instance.exit_code() == 0
            seconds = time.monotonic() - began
            await caller.close()
    return Outcome(load.sent, load.failures, [seconds])


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("losses", "1.0.0")
    await service.add_endpoint("echo", echo)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def lame_duck(grace: float = 8) -> Outcome:
    """Announce the end of the server; the seconds are the time until the service has moved."""
    first, second = free_port(), free_port()
    # A cluster of another process that has had one of these ports must not be joined.
    shape = {"cluster": f"c{first}", "grace": grace}
    one_config = LAME_DUCK.format(name="a", port=first, other=second, **shape)
    two_config = LAME_DUCK.format(name="b", port=second, other=first, **shape)
    with nats_server(config=one_config) as one, nats_server(config=two_config) as two:
        async with running(setup, options.servers(one.url, two.url)) as ctx:
            url = ctx.client.connected_url
            assert url is not None
            duck, other = (one, two) if url.port == one.port else (two, one)
            await until_served(other.url, "losses", "echo", within=30)
            caller = await nats.connect(other.url)
            load = Load(caller)
            async with load.steady("echo", 500):
                async with told("micro.link", "shutting down, moved to", within=20):
                    duck.process.send_signal(signal.SIGUSR2)
                    began = time.monotonic()
                moved = time.monotonic() - began
                await asyncio.to_thread(duck.process.wait, 60)
                await asyncio.sleep(0.5)
            await caller.close()
    return Outcome(load.sent, load.failures, [moved])


async def restart_of_the_server(down: float) -> Outcome:
    """Restart the server; requests are those after it, seconds those until they are answered."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_server(port=port))
        async with running(setup, options.servers(server.url)):
            server.stop()
            await asyncio.sleep(down)
            # In a thread: the program must be able to connect as soon as there is a server.
            again = await asyncio.to_thread(stack.enter_context, nats_server(port=port))
            recovery = await until_served(again.url, "losses", "echo", within=30)
            caller = await nats.connect(again.url)
            load = Load(caller)
            async with load.steady("echo", 500):
                await asyncio.sleep(1)
            assert len(await micro.Client(caller).ping("losses")) == 1
            await caller.close()
    return Outcome(load.sent, load.failures, [recovery])


ROWS: dict[str, Callable[[], Coroutine[Any, Any, Outcome | consumers.Handled]]] = {
    "8 rolling restarts (exit <= 5 s)": rolling_restarts,
    "8 rolling restarts, 3 nodes (exit <= 5 s)": lambda: rolling_restarts(nodes=3),
    "20 in flight (exit <= 0.2 s)": stop_with_twenty_in_flight,
    "16 departures in a flood": departures_in_a_flood,
    "lame duck (moved in <= 1 s)": lame_duck,
    "server 0.1 s down (back in <= 0.75 s)": lambda: restart_of_the_server(0.1),
    "server 2.5 s down (back in <= 0.75 s)": lambda: restart_of_the_server(2.5),
    **consumers.ROWS,
}


def main() -> None:
    """Run every row on both paths; the exit code says whether nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--row", default="", help="only rows with this in their name")
    chosen = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # outages are expected
    lost = 0
    for path, (name, row) in itertools.product(PATHS, ROWS.items()):
        os.environ[fast_transport.VARIABLE] = path
        for number in range(chosen.repeats if chosen.row in name else 0):
            outcome = asyncio.run(row())
            lost += len(outcome.failures)
            print(f"{path:6} {name}, run {number + 1}: {outcome}", flush=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
