"""Where answers may go: subjects of the server by opt-in only, and answers the server refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import options
from micro.testing import NatsServer, nats_server


@pytest.fixture(params=["fast", "public"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MICRO_TRANSPORT", request.param)
    return str(request.param)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def later(request: micro.Request) -> None:
    await asyncio.sleep(0.01)
    await request.respond(request.data())


@asynccontextmanager
async def serving(
    url: str, *given: Any, **options_of_service: Any
) -> AsyncIterator[tuple[micro.Service, micro.Context]]:
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(url), *given)
        service = await ctx.add_service("replies", "1.0.0", **options_of_service)
        yield service, ctx


async def until(service: micro.Service, name: str, count: int) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            endpoint = next(one for one in service.stats().endpoints if one.name == name)
            if endpoint.num_errors >= count:
                return endpoint.as_dict()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("handler", [echo, later])
async def test_an_answer_to_the_server_is_dropped_counted_and_logged(
    path: str,
    server: NatsServer,
    caller: NatsClient,
    caplog: pytest.LogCaptureFixture,
    handler: Any,
) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(server.url) as (service, _):
        await service.add_endpoint("dropped", handler, "replies.dropped")
        received = await caller.subscribe("$TEST.>")
        await caller.publish("replies.dropped", b"x", reply="$TEST.answer")
        counted = await until(service, "dropped", 1)
        await caller.flush()
        assert received.pending_msgs == 0
    assert (counted["num_requests"], counted["num_errors"]) == (1, 1)
    assert counted["data"]["micro"]["rejected"] == 1
    assert counted["last_error"] == "403:reply subject not allowed"
    assert any("'$TEST.answer' is the server's" in line for line in caplog.messages)


@pytest.mark.parametrize("handler", [echo, later])
async def test_a_reply_prefix_of_the_server_is_the_opt_in(
    path: str, server: NatsServer, caller: NatsClient, handler: Any
) -> None:
    prefixes = ["$TEST.", "_INBOX."]
    async with serving(server.url, reply_prefixes=prefixes) as (service, _):
        await service.add_endpoint("allowed", handler, "replies.allowed")
        received = await caller.subscribe("$TEST.>")
        await caller.publish("replies.allowed", b"x", reply="$TEST.answer")
        assert (await received.next_msg(timeout=5)).data == b"x"
        assert (await caller.request("replies.allowed", b"y", timeout=5)).data == b"y"


async def test_an_answer_that_the_server_refuses_is_an_error_of_its_endpoint(path: str) -> None:
    config = """
    authorization { users: [
      { user: shop, password: pw, permissions: { publish: ["_INBOX.>"], subscribe: [">"] } }
      { user: caller, password: pw }
    ] }
    """
    told: asyncio.Queue[BaseException] = asyncio.Queue()
    with nats_server(config=config) as server:
        user = options.user_password("shop", "pw")
        handler = lambda service, error: told.put_nowait(error)  # noqa: E731 - as users write it
        async with (
            serving(server.url, user, error_handler=handler) as (service, _),
            await nats.connect(server.url, user="caller", password="pw") as caller,
        ):
            for name in ("one", "two"):
                await service.add_endpoint(name, echo)
            await caller.request("two", b"x", timeout=5)
            await caller.publish("one", b"x", reply="Elsewhere.Answer")
            counted = await until(service, "one", 1)
            assert counted["last_error"].startswith("500:answer refused by the server")
            assert "elsewhere.answer" in str(await asyncio.wait_for(told.get(), 5))
            assert next(e for e in service.stats().endpoints if e.name == "two").num_errors == 0
