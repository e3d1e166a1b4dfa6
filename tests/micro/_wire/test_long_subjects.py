"""Subjects longer than a line that the server accepts: it would end the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import ConfigError, Request, Until
from micro.testing import NatsServer
from micro_schema_registry import EmbeddedRegistry, InvalidArgumentError

from ..path_kit import PATHS, Connect, connections

LONG = 60.0
TOO_LONG = "x" * 4096
WIDE = "ü" * 2048


@pytest.fixture(params=PATHS)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    async with connections(request.param) as connecting:
        yield connecting


async def echo(request: Request) -> None:
    await request.respond(request.data())


def assert_open(*connected: NatsClient) -> None:
    assert [(nc.is_connected, nc.stats["reconnects"]) for nc in connected] == [(True, 0)] * len(
        connected
    )


@pytest.mark.parametrize("subject", [TOO_LONG, WIDE, f"a.{TOO_LONG}"])
async def test_requests_to_a_long_subject_are_refused(
    server: NatsServer, connect: Connect, subject: str
) -> None:
    nc = await connect(server.url)
    client = micro.Client(nc)
    with pytest.raises(ConfigError, match="invalid subject and reply subject of 4"):
        await client.request(subject)
    with pytest.raises(ConfigError, match="invalid subject and reply subject of 4"):
        async with client.request_many(subject, until=Until(max_wait=0.1)):
            pass
    with pytest.raises(ConfigError, match="service name of 4096 bytes"):
        await client.ping(TOO_LONG)
    await nc.flush()
    assert_open(nc)


@pytest.mark.parametrize(
    "keywords",
    [
        {"name": TOO_LONG},
        {"id_generator": lambda: TOO_LONG},
        {"api_prefix": TOO_LONG},
        {"queue_group": TOO_LONG},
        {"name": "n" * 2000, "id_generator": lambda: "i" * 2000},
    ],
)
def test_long_names_of_services_are_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"of \d+ bytes: expected at most"):
        micro.add_service(NatsClient(), **{"name": "s", "version": "1.0.0", **keywords})


async def test_long_names_of_groups_and_endpoints_are_refused(
    server: NatsServer, connect: Connect
) -> None:
    nc = await connect(server.url)
    async with micro.add_service(nc, "long", "1.0.0") as service:
        group = service.add_group("g" * 2500)
        with pytest.raises(ConfigError, match=r"group name of \d+ bytes"):
            service.add_group(TOO_LONG)
        with pytest.raises(ConfigError, match=r"group name of \d+ bytes"):
            group.add_group("g" * 2500)
        with pytest.raises(ConfigError, match=r"queue group of \d+ bytes"):
            group.add_group("g", queue_group=WIDE)
        for name, subject, queue_group in (
            (TOO_LONG, None, None),
            ("e", TOO_LONG, None),
            ("e", WIDE, None),
            ("e", "s" * 2000, "q" * 2500),
        ):
            with pytest.raises(ConfigError, match=r"of \d+ bytes: expected at most"):
                await service.add_endpoint(name, echo, subject, queue_group)
        with pytest.raises(ConfigError, match=r"subject of \d+ bytes"):
            await group.add_endpoint("e" * 2000, echo)
        await nc.flush()
        assert_open(nc)


async def test_the_longest_subject_is_served(server: NatsServer, connect: Connect) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    subject = "s" * 3967
    async with micro.add_service(nc, "longest", "1.0.0") as service:
        await service.add_endpoint("e", echo, subject)
        answer = await micro.Client(caller).request(subject, b"x", {"A": "b"}, timeout=LONG)
        assert answer.data == b"x"
        assert_open(nc, caller)


async def test_long_reply_subject_is_counted_and_the_service_goes_on(
    server: NatsServer, connect: Connect
) -> None:
    """An answer with headers needs a longer line than the request had."""
    nc, caller = await connect(server.url), await connect(server.url)

    async def answer(request: Request) -> None:
        await request.respond(request.data(), {"A": "b"} if request.data() else None)

    async with micro.add_service(nc, "replies", "1.0.0") as service:
        await service.add_endpoint("e", answer, "replies.e")
        for data in (b"", b"x"):
            await caller.publish("replies.e", data, reply="r" * 4083)
        await caller.publish("$SRV.PING.replies", reply="r" * 4074)
        async with asyncio.timeout(LONG):
            answered = await micro.Client(caller).request("replies.e", b"y", timeout=LONG)
        (stats,) = service.stats().endpoints
        assert_open(nc, caller)
    assert answered.data == b"y"
    assert stats.data["micro"]["errors"] == {"400": 2}
    assert stats.last_error == "400:reply subject too long"


async def test_long_names_of_streams_and_buckets_are_refused(nc: NatsClient) -> None:
    service = micro.add_service(nc, "s", "1.0.0")
    for stream, durable in ((TOO_LONG, "d"), ("S", TOO_LONG)):
        with pytest.raises(ConfigError, match="name of 4096 characters: expected at most 255"):
            await service.add_consumer("c", echo, stream=stream, durable=durable)
    with pytest.raises(InvalidArgumentError, match="expected at most 252"):
        EmbeddedRegistry(nc, "group", bucket=TOO_LONG)
