"""The commands with a service of nats-py (`nats.micro`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import nats.micro
import pytest
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service, ServiceConfig

from micro.testing import NatsServer

from .conftest import Cli, Done


@pytest.fixture
async def foreign(server: NatsServer) -> AsyncIterator[Service]:
    async def upper(request: Request) -> None:
        if request.data:
            await request.respond(request.data.upper())
        else:
            await request.respond_error("422", "nothing to raise", data=b"details")

    async with await nats.connect(server.url) as client:
        service = await nats.micro.add_service(
            client, ServiceConfig(name="foreign", version="0.1.0", metadata={"by": "nats-py"})
        )
        await service.add_endpoint(
            EndpointConfig(name="upper", handler=upper, subject="foreign.upper")
        )
        await client.flush()
        yield service
        await service.stop()


async def run(cli: Cli, *arguments: str) -> Done:
    return await asyncio.to_thread(cli, *arguments, "--json")


async def test_it_is_found_and_asked(cli: Cli, foreign: Service) -> None:
    answer = await run(cli, "request", "--service", "foreign", "upper", "hello")
    refusal = await run(cli, "request", "--service", "foreign", "upper")
    listed = await run(cli, "ls")
    info = await run(cli, "info", "foreign", foreign.id)
    stats = await run(cli, "stats", "foreign")

    assert answer.json["data"] == "HELLO"
    assert refusal.code == 5
    assert refusal.json["error"]["code"] == 422
    assert refusal.json["error"]["data"] == "details"
    assert "foreign" in [one["name"] for one in listed.json]
    assert info.json[0]["endpoints"][0]["subject"] == "foreign.upper"
    assert info.json[0]["metadata"] == {"by": "nats-py"}
    assert stats.json[0]["endpoints"][0]["num_requests"] == 2


async def test_what_it_says_cannot_command_a_terminal(cli: Cli, server: NatsServer) -> None:
    async with await nats.connect(server.url) as client:
        service = await nats.micro.add_service(
            client,
            ServiceConfig(name="hostile", version="0.1.0", description="[red]\x1b[2Jboo\x07"),
        )
        await client.flush()
        done = await asyncio.to_thread(cli, "info", "hostile")
        await service.stop()

    assert "  [red]\ufffd[2Jboo\ufffd\n" in done.out
