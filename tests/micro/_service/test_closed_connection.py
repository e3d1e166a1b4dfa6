"""A service of `add_service(nc, ...)` whose connection is closed for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from tests.micro.path_kit import PATHS, connections

import micro
from micro import Request
from micro.testing import NatsServer, nats_server

LONG = 60.0


class Done:
    """A done_handler that keeps its arguments."""

    def __init__(self) -> None:
        self.told: list[tuple[micro.Service, BaseException | None]] = []
        self._called = asyncio.Event()

    def __call__(self, service: micro.Service, error: BaseException | None) -> None:
        self.told.append((service, error))
        self._called.set()

    async def wait(self) -> None:
        async with asyncio.timeout(LONG):
            await self._called.wait()


async def echo(request: Request) -> None:
    await request.respond(request.data())


async def started(nc: NatsClient, done: Any, handler: Any = echo) -> micro.Service:
    service = micro.add_service(nc, "cut", "1.0.0", done_handler=done)
    await service.start()
    await service.add_endpoint("e", handler, "cut.e")
    return service


@pytest.mark.parametrize("end", ["close", "drain"])
@pytest.mark.parametrize("path", PATHS)
async def test_service_is_stopped_when_its_connection_is_closed_or_drained(
    server: NatsServer, path: str, end: str
) -> None:
    done = Done()
    async with connections(path) as connect:
        nc = await connect(server.url)
        service = await started(nc, done)
        assert not service.stopped()
        await getattr(nc, end)()
        await done.wait()
        assert service.stopped()
        await service.stop()
    assert done.told == [(service, None)]


@pytest.mark.parametrize("path", PATHS)
async def test_service_is_stopped_when_nats_py_gives_its_connection_up(path: str) -> None:
    done = Done()
    async with connections(path) as connect:
        with nats_server() as own:
            service = await started(await connect(own.url, allow_reconnect=False), done)
        await done.wait()
        assert service.stopped()


@pytest.mark.parametrize("path", PATHS)
async def test_answer_on_a_closed_connection_is_an_error_that_is_counted(
    server: NatsServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    done, entered, release = Done(), asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        entered.set()
        await release.wait()
        await request.respond(b"too late")

    async with connections(path) as connect:
        nc, caller = await connect(server.url), await connect(server.url)
        service = await started(nc, done, handler)
        await caller.publish("cut.e", reply="nobody")
        async with asyncio.timeout(LONG):
            await entered.wait()
        await nc.close()
        release.set()
        await done.wait()
        (stats,) = service.stats().endpoints
    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert stats.last_error.startswith("500:answer lost: ")
    assert "service cut: the connection is closed, stopping" in caplog.text


async def test_service_of_a_context_moves_to_its_next_connection(server: NatsServer) -> None:
    done = Done()
    async with micro.Context() as context:
        await context.connect(micro.options.servers(server.url))
        service = await context.add_service("moves", "1.0.0", done_handler=done)
        await service.add_endpoint("e", echo, "moves.e")
        former, client = context.client, micro.Client(context)
        await former.close()
        async with asyncio.timeout(LONG):
            while context.client is former:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
        assert not service.stopped()
        assert (await client.request("moves.e", b"x", timeout=LONG)).data == b"x"
    assert done.told == [(service, None)]
