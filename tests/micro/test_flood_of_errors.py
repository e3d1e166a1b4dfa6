"""Errors that any caller can cause by the thousand cost a few log lines and tasks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request
from micro._connection.callbacks import MAX_WAITING, Callbacks
from micro._connection.managed_connection import ManagedConnection
from micro._service.notices import MAX_RUNNING
from micro._wire.fence import fence
from micro.testing import nats_server

LONG = 60.0
MANY = 2_000

RIGHTS = """
authorization: { users: [
  { user: service, password: s, permissions: { publish: { deny: "foreign.>" } } }
  { user: caller, password: c }
] }
"""


async def test_answers_that_the_server_refuses_are_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Exception] = []

    async def on_error(error: Exception) -> None:
        told.append(error)

    async def echo(request: Request) -> None:
        await request.respond(request.data())

    with nats_server(config=RIGHTS) as server:
        async with micro.Context() as context:
            context.add_error_callback(on_error)
            login = micro.options.user_password("service", "s")
            await context.connect(micro.options.servers(server.url), login)
            service = await context.add_service("refused", "1.0.0")
            await service.add_endpoint("e", echo, "refused.e")
            caller = await nats.connect(server.url, user="caller", password="c")
            with caplog.at_level(logging.WARNING):
                for number in range(MANY):
                    await caller.publish("refused.e", reply=f"foreign.{number}.x{number}")
                await fence(caller)
                async with asyncio.timeout(LONG):
                    while len(told) < MAX_WAITING:
                        await asyncio.sleep(0.01)
            await caller.close()

    assert len(caplog.records) < 20
    assert "permissions violation for publish" in caplog.text


def test_errors_of_one_kind_differ_in_names_and_numbers_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def move(client: NatsClient) -> None:
        return

    connection = ManagedConnection(NatsClient(), Callbacks(), move=move, lost=lambda error: None)
    for number in range(MANY):
        text = f'permissions violation for subscription to "a.{number}" (sid "{number}")'
        connection.error(nats.errors.Error(text))
        connection.error(nats.errors.Error("another kind"))
    assert len(caplog.records) == 2


async def test_stats_whose_data_cannot_be_sent_are_one_line(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(request: Request) -> None:
        await request.respond(request.data())

    def bad(endpoint: micro.Endpoint) -> Any:
        return object()

    async with micro.add_service(nc, "unsendable", "1.0.0") as service:
        await service.add_endpoint("e", echo, "unsendable.e", stats_handler=bad)
        for _ in range(100):
            await caller.request("$SRV.STATS.unsendable", timeout=LONG)
    assert [record.message for record in caplog.records] == ["unsendable/e: stats_handler failed"]


async def test_refused_requests_start_a_bounded_number_of_error_handlers(
    nc: NatsClient, caller: NatsClient
) -> None:
    release, begun = asyncio.Event(), 0

    async def handler(request: Request) -> None:
        await release.wait()
        await request.respond(b"")

    async def slow(service: micro.Service, error: BaseException) -> None:
        nonlocal begun
        begun += 1
        await release.wait()

    before = len(asyncio.all_tasks())
    async with micro.add_service(nc, "flooded", "1.0.0", error_handler=slow) as service:
        await service.add_endpoint(
            "e", handler, "flooded.e", max_in_flight=1, pending_msgs_limit=1, timeout=LONG
        )
        for _ in range(MANY):
            await caller.publish("flooded.e", reply="nobody")
        await fence(caller)
        async with asyncio.timeout(LONG):
            while service.stats().endpoints[0].num_errors < MANY - 2:
                await asyncio.sleep(0.01)
        assert begun == MAX_RUNNING
        assert len(asyncio.all_tasks()) - before < MAX_RUNNING + 20
        release.set()
        async with asyncio.timeout(LONG):
            while begun < MAX_RUNNING + 1_000:  # those that have waited
                await asyncio.sleep(0.01)
    assert begun < MANY - 2


async def test_slow_error_callbacks_of_a_connection_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callbacks = Callbacks()
    release, called = asyncio.Event(), 0

    async def slow(error: Exception) -> None:
        nonlocal called
        called += 1
        await release.wait()
        raise RuntimeError("of the callback")

    callbacks.add("error", slow)
    for _ in range(3 * MAX_WAITING):
        callbacks.call("error", nats.errors.Error("refused"))
    release.set()
    await callbacks.close(LONG)
    assert called == MAX_WAITING
    assert len(caplog.records) == 2
