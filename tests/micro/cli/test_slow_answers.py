"""Instances that answer late are listed: discovery waits as long as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry, generate_latest

import micro
from micro import options
from micro.prometheus import DiscoveryCollector
from micro.testing import NatsServer

from ..dashboard.conftest import running_dashboard
from .conftest import Cli

DELAYS = {"near": 0.0, "far": 0.45}


@pytest.fixture
async def instances(server: NatsServer) -> AsyncIterator[None]:
    """Answer discovery for two instances, one of them 450 ms away."""
    async with await nats.connect(server.url) as nc:
        for id, delay in DELAYS.items():

            async def answer(msg: Msg, id: str = id, delay: float = delay) -> None:
                verb = msg.subject.split(".")[1]
                body = {"name": "slow", "id": id, "version": "1.0.0", "metadata": {}}
                if verb == "STATS":
                    body |= {"started": "2026-01-01T00:00:00Z", "endpoints": []}
                if verb == "INFO":
                    body |= {"description": "", "endpoints": []}
                kind = f"io.nats.micro.v1.{verb.lower()}_response"
                await asyncio.sleep(delay)
                await msg.respond(json.dumps({"type": kind, **body}).encode())

            await nc.subscribe("$SRV.*", cb=answer)
            await nc.subscribe("$SRV.*.slow", cb=answer)
        await nc.flush()
        yield


@pytest.mark.parametrize("command", ["ping", "info", "stats"])
@pytest.mark.parametrize("timeout", [(), ("--timeout", "1.5")])
async def test_the_commands_list_an_instance_450_ms_away(
    command: str, timeout: tuple[str, ...], cli: Cli, instances: None
) -> None:
    done = await asyncio.to_thread(cli.quick, command, "slow", "--json", *timeout)

    assert {each["id"] for each in done.json} == set(DELAYS)


async def test_info_about_one_instance_ends_with_its_answer(cli: Cli, instances: None) -> None:
    """A command that waited out its time would take five minutes."""
    done = await asyncio.to_thread(cli.quick, "info", "slow", "far", "--json", "--timeout", "300")

    assert [each["id"] for each in done.json] == ["far"]


async def test_ls_counts_an_instance_450_ms_away(cli: Cli, instances: None) -> None:
    done = await asyncio.to_thread(cli.quick, "ls", "--json")

    assert [sorted(each["instances"]) for each in done.json] == [sorted(DELAYS)]


async def test_the_exporter_lists_an_instance_450_ms_away(
    server: NatsServer, instances: None
) -> None:
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(server.url))
        registry = CollectorRegistry()
        registry.register(DiscoveryCollector(ctx, "slow"))
        text = (await asyncio.to_thread(generate_latest, registry)).decode()

    assert 'instance="far"' in text


async def test_the_dashboard_lists_an_instance_450_ms_away(
    server: NatsServer, instances: None
) -> None:
    async with running_dashboard(options.servers(server.url)) as dashboard:
        state = await dashboard.until(lambda state: state["services"])

    assert {each["id"] for each in state["services"][0]["instances"]} == set(DELAYS)
