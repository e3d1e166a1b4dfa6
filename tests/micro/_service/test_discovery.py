"""The answers to discovery are bounded in the time and bytes that they take."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro._endpoint.counters import RECENT, EndpointCounters
from micro._protocol import adr32
from micro._service.descriptions import Answers, Identity
from micro.testing import NatsServer

LONG = 30.0
ENDPOINTS = 1_000


class Busy:
    """An endpoint with full counters."""

    def __init__(self, number: int) -> None:
        self._name = f"e{number}"
        self.config = SimpleNamespace(event=False)
        self._counters = EndpointCounters()
        self._counters.handled([(number * 7919 + i * 104_729) % 1_000_003 for i in range(RECENT)])

    async def refresh(self) -> None:
        return

    def measure(self) -> dict[str, Any]:
        details = {"micro": self._counters.details()}
        return adr32.endpoint_stats(self._name, self._name, "q", self._counters, details)


async def test_stats_of_1000_busy_endpoints_take_no_long_step() -> None:
    endpoints: Any = [Busy(number) for number in range(ENDPOINTS)]
    answers = Answers(Identity("busy", "i", "1.0.0", "", {}), endpoints, datetime.now(UTC))
    steps = []
    task = asyncio.ensure_future(answers.stats())
    while not task.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        steps.append(time.thread_time() - began)

    body = json.loads(await task)
    print(f"{len(steps)} steps, the longest {max(steps) * 1e3:.1f} ms (bar 10 ms)")
    assert [each["name"] for each in body["endpoints"]] == [f"e{n}" for n in range(ENDPOINTS)]
    assert len(steps) > 5
    assert max(steps) < 0.03  # a busy machine is slower


async def test_an_answer_above_max_payload_is_an_error_that_is_logged_once(
    caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    from micro.testing import nats_server

    with nats_server(config="max_payload: 16384") as server:
        async with micro.Context() as ctx:
            await ctx.connect(micro.options.servers(server.url))
            metadata = {"text": "x" * 20_000}
            service = await ctx.add_service("large", "1.0.0", metadata=metadata)
            with caplog.at_level(logging.ERROR, "micro.discovery"):
                subject = f"$SRV.INFO.large.{service.id}"
                answers = [await ctx.client.request(subject, timeout=LONG) for _ in range(5)]

    assert answers[0].headers == {
        "Nats-Service-Error": "answer too large",
        "Nats-Service-Error-Code": "500",
    }
    assert caplog.text.count("answer to discovery is too large") == 1


async def test_a_slow_statistics_handler_delays_no_other_verb(
    nc: NatsClient, server: NatsServer
) -> None:
    release = asyncio.Event()

    async def slow(endpoint: micro.Endpoint) -> None:
        await release.wait()

    async def echo(request: micro.Request) -> None:
        await request.respond(request.data())

    async with micro.add_service(nc, "slow", "1.0.0") as service:
        await service.add_endpoint("echo", echo, "slow.echo", stats_handler=slow)
        client = micro.Client(nc)
        stats = asyncio.ensure_future(client.instance("slow", service.id).stats(LONG))
        await asyncio.sleep(0)
        ping = await client.instance("slow", service.id).ping(LONG)
        release.set()
        await stats

    assert ping.id == service.id
