"""Connections that end: what replaces them, and what hangs on them and follows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import options
from micro.testing import NatsServer, free_port, nats_server

from .test_outages import cluster, eventually, running, serves, setup

WITHIN = 20.0


@pytest.fixture(params=["fast", "public"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MICRO_TRANSPORT", request.param)
    return str(request.param)


class Breaking(NatsClient):
    """A client whose next attempts fail with an error that nats-py does not expect there."""

    failures = 0

    async def _connect_to_server(self, s: Any) -> None:
        if type(self).failures > 0 and self.stats["reconnects"] == 0 and self.is_reconnecting:
            type(self).failures -= 1
            raise RuntimeError("none of the errors that lead to another attempt")
        await super()._connect_to_server(s)


class ClosedAtOnce(NatsClient):
    """A client that is closed right after its connection is made, a number of times."""

    failures = 0

    async def connect(self, *arguments: Any, **keywords: Any) -> None:
        await super().connect(*arguments, **keywords)
        if type(self).failures > 0:
            type(self).failures -= 1
            await self.close()


@contextlib.asynccontextmanager
async def program(client: NatsClient, *urls: str) -> AsyncIterator[micro.Context]:
    async with micro.Context(client) as ctx:
        await ctx.connect(options.servers(*urls))
        await setup(ctx)
        yield ctx


async def test_a_client_that_stops_reconnecting_is_replaced(path: str) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_server(port=port))
        async with program(Breaking(), server.url) as ctx:
            former, Breaking.failures = ctx.client, 1
            server.stop()
            await eventually(lambda: _async(Breaking.failures == 0), WITHIN)
            await asyncio.to_thread(stack.enter_context, nats_server(port=port))
            await serves(server.url)
            assert ctx.client is not former


async def test_a_client_that_stops_reading_reconnects(path: str, server: NatsServer) -> None:
    async with program(NatsClient(), server.url) as ctx:
        reading = ctx.client._reading_task
        assert reading is not None
        reading.cancel()
        await asyncio.wait({reading})
        await eventually(lambda: _async(ctx.client.stats["reconnects"] == 1), WITHIN)
        await serves(server.url)


async def test_a_connection_closed_while_it_is_taken_over_is_not_taken_over(
    path: str, server: NatsServer
) -> None:
    async with program(ClosedAtOnce(), server.url) as ctx:
        ClosedAtOnce.failures = 2
        await ctx.client.close()
        await serves(server.url)
        assert ctx.client.is_connected


async def test_a_first_connection_that_is_closed_at_once_is_an_error(server: NatsServer) -> None:
    ClosedAtOnce.failures = 1
    async with micro.Context(ClosedAtOnce()) as ctx:
        with pytest.raises(micro.ConnectError):
            await ctx.connect(options.servers(server.url))


async def test_clients_follow_the_connection_of_a_context(path: str, server: NatsServer) -> None:
    async with running(server.url) as ctx:
        clients = [micro.Client(ctx), micro.Client(ctx.client)]
        for _ in range(2):
            former = ctx.client
            await former.close()
            await serves(server.url)
            for client in clients:
                assert (await client.request("echo", b"x", timeout=2)).data == b"x"
                assert len(await client.ping("outage")) == 1
                assert client.nc is ctx.client is not former


async def test_a_client_of_the_user_that_is_closed_ends_the_program(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    task = asyncio.create_task(micro.Context(nc).run_forever(setup))
    await serves(server.url)
    await nc.close()
    with pytest.raises(micro.ConnectError, match=r"^the connection is closed for good: "):
        await asyncio.wait_for(task, WITHIN)


async def test_a_replacement_takes_a_server_that_the_cluster_told_of(path: str) -> None:
    with cluster(2) as (first, second):
        async with running(first.url) as ctx:
            await eventually(lambda: _async(len(ctx.client.servers) == 2), WITHIN)
            first.stop()
            await serves(second.url)
            await ctx.client.close()
            await serves(second.url)
            url = ctx.client.connected_url
            assert url is not None
            assert url.port == second.port


async def test_an_address_that_has_left_the_cluster_is_forgotten(path: str) -> None:
    with cluster(3) as (first, second, third):
        async with running(first.url) as ctx:
            await eventually(lambda: _async(len(ctx.client.servers) == 3), WITHIN)
            third.stop()
            await eventually(lambda: _async(len(ctx.client.servers) == 2), WITHIN)
            assert {url.port for url in ctx.client.servers} == {first.port, second.port}


async def test_dead_addresses_do_not_delay_a_reconnect(path: str) -> None:
    port = free_port()
    dead = [f"nats://127.0.0.1:{free_port()}" for _ in range(4)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats_server(port=port))
        async with running(server.url, *dead):
            server.stop()
            await asyncio.sleep(2.5)  # the delays have reached their maximum
            again = await asyncio.to_thread(stack.enter_context, nats_server(port=port))
            caller = await nats.connect(again.url)

            async def check() -> bool:
                return (await caller.request("echo", b"x", timeout=0.3)).data == b"x"

            elapsed = await eventually(check, WITHIN)
            await caller.close()
    print(f"{path}: back {elapsed:.3f} s after the restart, with four dead addresses (bar 0.75)")
    assert elapsed < 2


LAME_DUCK = """
server_name: "n{number}"
http: "127.0.0.1:{monitoring}"
accounts {{
  SYS {{ users: [{{user: sys, password: sys}}] }}
  APP {{ users: [{{user: app, password: app}}] }}
}}
system_account: SYS
no_auth_user: app
cluster {{ name: "c{first}", listen: "127.0.0.1:{own}", routes: ["nats://127.0.0.1:{first}"] }}
"""


@contextlib.contextmanager
def lame_cluster() -> Iterator[list[tuple[NatsServer, int]]]:
    ports, monitoring = [free_port(), free_port()], [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        yield [
            (
                stack.enter_context(
                    nats_server(
                        config=LAME_DUCK.format(
                            number=number,
                            monitoring=monitoring[number],
                            first=ports[0],
                            own=ports[number],
                        )
                    )
                ),
                monitoring[number],
            )
            for number in (0, 1)
        ]


def monitored(monitoring: int, page: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{monitoring}/{page}") as answer:
        return json.load(answer)


def server_id(monitoring: int) -> str:
    id: str = monitored(monitoring, "varz")["server_id"]
    return id


def connections(monitoring: int, name: str) -> list[int]:
    known = monitored(monitoring, "connz")["connections"]
    return [one["cid"] for one in known if one.get("name") == name]


async def test_a_lame_duck_notice_to_one_client_leaves_one_connection(path: str) -> None:
    with lame_cluster() as nodes:
        (first, monitoring), (second, _) = nodes
        async with micro.Context() as ctx:
            await ctx.connect(options.servers(first.url), options.name("duck"))
            await setup(ctx)
            await eventually(lambda: _async(len(ctx.client.servers) == 2), WITHIN)
            cid = connections(monitoring, "duck")[0]
            async with await nats.connect(first.url, user="sys", password="sys") as system:
                subject = f"$SYS.REQ.SERVER.{server_id(monitoring)}.LDM"
                await system.request(subject, json.dumps({"cid": cid}).encode(), timeout=2)

            async def one_left() -> bool:
                found = [cid for _, port in nodes for cid in connections(port, "duck")]
                return len(found) == 1 and ctx.client.stats["reconnects"] > 0

            await eventually(one_left, WITHIN)
            await serves(second.url)


async def _async(value: bool) -> bool:
    return value
