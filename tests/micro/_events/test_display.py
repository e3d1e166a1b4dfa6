"""Events in the command line, the exporter and the dashboard, beside the endpoints."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from prometheus_client import CollectorRegistry, generate_latest
from tests.micro.dashboard.overviews import overview
from tests.streams import fresh_stream

import micro
from micro import Reject, Request
from micro.dashboard._overview import Look
from micro.prometheus import ServiceCollector
from micro.testing import NatsServer

LONG = 30.0


async def refuse(request: Request) -> None:
    raise Reject("never")


@pytest.fixture
async def shop(nc: NatsClient, caller: NatsClient) -> Any:
    """Run a service whose consumer has refused one message; its figures are known."""
    js = caller.jetstream()
    await fresh_stream(js, "ORDERS", "orders.>")
    await js.publish("orders.new", b"1")
    async with micro.add_service(nc, "display", "1.0.0") as service:
        await service.add_consumer("mail", refuse, stream="ORDERS")
        await service.add_subscriber("hear", "display.hear", refuse)
        client = micro.Client(caller).service("display")
        async with asyncio.timeout(LONG):
            while True:
                stats = (await client.stats(max_count=1, max_wait=LONG))[0]
                figures = stats.events[0].data["micro"]["consumer"]
                if figures["terminated"] and "lag" in figures:
                    break
                await asyncio.sleep(0.05)
        yield service


async def run(server: NatsServer, *arguments: str) -> str:
    command = [*arguments, "--server", server.url, "--timeout", "5s"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "micro.cli", *command),
        env={**os.environ, "COLUMNS": "250", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_command_line_shows_events(js_server: NatsServer, shop: micro.Service) -> None:
    listed, table, described, counted = await asyncio.gather(
        run(js_server, "ls", "--json"),  # each waits its whole time-out for further instances
        run(js_server, "ls"),
        run(js_server, "info", "display"),
        run(js_server, "stats", "display"),
    )

    assert [(each["endpoints"], each["events"]) for each in json.loads(listed)] == [(0, 2)]
    assert "Events" in table
    assert "Event handler" in described
    assert "micro.stream: ORDERS" in described
    assert "Dead letters" in counted
    assert "422:never" in counted


async def test_exporter_has_the_figures_of_a_consumer(shop: micro.Service) -> None:
    registry = CollectorRegistry()
    registry.register(ServiceCollector(shop))
    page = generate_latest(registry).decode()
    lines = [line for line in page.splitlines() if 'endpoint="mail"' in line]
    values = {line.partition("{")[0]: line.rpartition(" ")[2] for line in lines}
    assert values["micro_endpoint_requests_total"] == "1.0"
    assert values["micro_endpoint_consumer_lag"] == "0.0"
    assert values["micro_endpoint_consumer_ack_pending"] == "0.0"
    assert values["micro_endpoint_consumer_redelivered"] == "0.0"
    assert values["micro_endpoint_consumer_dead_lettered_total"] == "0.0"
    assert values["micro_endpoint_consumer_terminated_total"] == "1.0"


async def test_dashboard_shows_events_beside_endpoints(shop: micro.Service) -> None:
    key = ("display", shop.id)
    look = Look(0.0, {key: shop.info()}, {key: shop.stats()}, {})
    (service,) = overview(look, None)
    assert [(each["name"], each["num_requests"]) for each in service["endpoints"]] == [
        ("hear", 0),
        ("mail", 1),
    ]
