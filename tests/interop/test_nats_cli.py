"""The `nats` command of the NATS authors with our services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro

# Fixtures are not timed: building the command takes most of a minute, once.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(120, func_only=True)]

# A time without trailing zeros, which Go would drop.
STARTED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def refuse(request: micro.Request) -> None:
    raise micro.ServiceError(418, "I'm a teapot")


async def test_nats_command_shows_and_calls_our_service(
    nats_cli: Callable[..., Awaitable[bytes]], nc: NatsClient
) -> None:
    async with micro.add_service(
        nc,
        "ours",
        "1.2.3",
        description="Tea",
        metadata={"team": "tea"},
        now=lambda: STARTED,
    ) as service:
        await service.add_endpoint(
            "echo", echo, metadata={"kind": "raw"}, stats_handler=lambda endpoint: {"load": 0.5}
        )
        await service.add_group("pots").add_endpoint("refuse", refuse, queue_group="")
        await service.add_subscriber("hear", "heard.by.us", refuse)
        with pytest.raises(micro.ServiceError):
            await micro.Client(nc).request("pots.refuse", timeout=10)
        info, stats = service.info().as_dict(), service.stats().as_dict()

        async def shown(*arguments: str) -> Any:
            return json.loads(await nats_cli("micro", *arguments, "--json"))

        # Most of these commands wait two seconds for further instances.
        listed, named, one, counted, pinged = await asyncio.gather(
            shown("ls"),
            shown("ls", "ours"),
            shown("info", "ours", service.id),
            shown("stats", "ours"),
            nats_cli("micro", "ping", "ours"),
        )
        answer = await nats_cli("micro", "request", "ours", "echo", "hello", "--raw")

    assert listed == named == [info]
    # Measured at the request for STATS; without it an unused endpoint has no data.
    data = counted[0]["endpoints"][0]["data"]
    assert data["load"] == 0.5
    stats["endpoints"][0]["data"] = data
    assert counted == [stats]
    assert one == {"info": info, "stats": stats}
    assert pinged.decode().startswith(f"ours {service.id}")
    assert answer.decode().strip() == "hello"
