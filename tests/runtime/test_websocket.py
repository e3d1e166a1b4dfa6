"""Services over WebSocket: outages, failover, TLS, compression, lame duck, a proxy in between."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.micro.certificates import write_certificates

import micro
from micro import options
from micro._connection.settings import ConnectOption
from micro.testing import NatsServer, free_port, nats_server

from .test_outages import eventually, serves, setup

pytest.importorskip("aiohttp", reason="WebSocket needs aiohttp")

WITHIN = 30.0


class Node(NamedTuple):
    server: NatsServer
    url: str
    port: int


@contextlib.contextmanager
def websocket(
    port: int | None = None, *, tls: Path | None = None, more: str = ""
) -> Iterator[Node]:
    port = free_port() if port is None else port
    secure = "no_tls: true"
    if tls is not None:
        secure = f'tls {{ cert_file: "{tls}/both.pem", key_file: "{tls}/both.key" }}'
    config = f'websocket {{ listen: "127.0.0.1:{port}", {secure}, compression: true }}\n{more}'
    with nats_server(config=config) as server:
        yield Node(server, f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}", port)


@contextlib.asynccontextmanager
async def running(url: str, *more: ConnectOption) -> AsyncIterator[micro.Context]:
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(url), *more)
        await setup(ctx)
        yield ctx


async def test_a_restart_is_survived() -> None:
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(websocket())
        async with running(node.url) as ctx:
            await serves(node.server.url)
            node.server.stop()
            await eventually(lambda: _async(not ctx.client.is_connected), WITHIN)
            again = await asyncio.to_thread(stack.enter_context, websocket(node.port))
            await serves(again.server.url)


async def test_the_connection_is_encrypted_and_comes_back(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    tls = options.tls(ca=tmp_path / "ca.pem")
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(websocket(tls=tmp_path))
        async with running(node.url, tls):
            await serves(node.server.url)
            node.server.stop()
            again = await asyncio.to_thread(stack.enter_context, websocket(node.port, tls=tmp_path))
            await serves(again.server.url)


async def test_an_unknown_authority_is_a_refusal_with_its_reason(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    with websocket(tls=tmp_path) as node:
        async with micro.Context() as ctx:
            with pytest.raises(micro.ConnectError, match=r"refused the connection: .*certificate"):
                await ctx.connect(options.servers(node.url), options.retry())


CLUSTER = """
server_name: "w{number}"
lame_duck_grace_period: "3s"
lame_duck_duration: "30s"
cluster {{ name: "w{first}", listen: "127.0.0.1:{own}", routes: ["nats://127.0.0.1:{first}"] }}
"""


@contextlib.contextmanager
def cluster() -> Iterator[list[Node]]:
    ports = [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                websocket(more=CLUSTER.format(number=number, first=ports[0], own=ports[number]))
            )
            for number in (0, 1)
        ]


async def known(ctx: micro.Context, count: int) -> None:
    await eventually(lambda: _async(len(ctx.client.servers) == count), WITHIN)


async def test_the_death_of_its_node_moves_the_service_to_a_discovered_one() -> None:
    with cluster() as (first, second):
        async with running(first.url) as ctx:
            await known(ctx, 2)
            first.server.process.kill()
            await serves(second.server.url)
            assert ctx.client.stats["reconnects"] == 1


async def test_a_replacement_takes_a_discovered_server() -> None:
    with cluster() as (first, second):
        async with running(first.url) as ctx:
            await known(ctx, 2)
            first.server.process.kill()
            await serves(second.server.url)
            await ctx.client.close()
            await serves(second.server.url)


async def test_a_lame_duck_is_left_at_once() -> None:
    with cluster() as (first, second):
        async with running(first.url) as ctx:
            await known(ctx, 2)
            first.server.process.send_signal(signal.SIGUSR2)
            await serves(second.server.url)
            await eventually(lambda: _async(ctx.client.stats["reconnects"] == 1), WITHIN)
            await serves(second.server.url)


class Proxy:
    """An HTTP proxy in front of a server, which answers 502 while the server is away."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.refused = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self.refused += 1
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        copies = [
            asyncio.create_task(_copy(reader, behind[1])),
            asyncio.create_task(_copy(behind[0], writer)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            behind[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def test_an_outage_behind_a_proxy_is_survived() -> None:
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(websocket())
        async with Proxy(node.port) as proxy, running(f"ws://127.0.0.1:{proxy.port}/") as ctx:
            await serves(node.server.url)
            client = ctx.client
            node.server.stop()
            await eventually(lambda: _async(proxy.refused > 2), WITHIN)
            again = await asyncio.to_thread(stack.enter_context, websocket(node.port))
            await serves(again.server.url)
            assert ctx.client is client  # an answer of the proxy is an attempt like any other


async def test_a_proxy_without_a_server_is_named() -> None:
    async with Proxy(free_port()) as proxy, micro.Context() as ctx:
        with pytest.raises(micro.ConnectError, match="no WebSocket, but HTTP status 502"):
            await ctx.connect(options.servers(f"ws://127.0.0.1:{proxy.port}"))


async def _async(value: bool) -> bool:
    return value
