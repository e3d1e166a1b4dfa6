"""The command `micro` with the services of the peers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import micro
from micro import options
from micro.prometheus import DiscoveryCollector

if TYPE_CHECKING:
    from tests.interop.conftest import Peer

# Fixtures are not timed: the first test that needs a peer builds it.
pytestmark = pytest.mark.timeout(120, func_only=True)


async def shown(url: str, *arguments: str) -> tuple[int, Any]:
    """Run the command and return its exit code and JSON."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("NATS_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "micro.cli", *arguments, "--json", "--server", url),
        stdout=asyncio.subprocess.PIPE,
        env=env,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(printed)


async def test_micro_command_shows_and_calls_their_service(peer: Peer, url: str) -> None:
    async with peer.serving(url) as id:
        (_, listed), (_, info), (_, stats), (done, total), (failed, refused) = await asyncio.gather(
            shown(url, "ls", "--timeout=3"),  # it waits for further instances
            shown(url, "info", "interop", id, "--timeout=20"),
            shown(url, "stats", "interop", "--timeout=5"),
            shown(
                url, "request", "--service", "interop", "add", '{"a": 19, "b": 23}', "--timeout=20"
            ),
            shown(url, "request", "refuse", "--timeout=20"),
        )

    assert [(service["name"], service["instances"]) for service in listed] == [("interop", [id])]
    assert [(instance["id"], instance["metadata"]) for instance in info] == [
        (id, {"peer": peer.name})
    ]
    subjects = {endpoint["name"]: endpoint["subject"] for endpoint in info[0]["endpoints"]}
    assert subjects["add"] == "math.v1.add"
    data = {endpoint["name"]: endpoint["data"] for endpoint in stats[0]["endpoints"]}
    assert data == {name: {"about": name, "load": 0.5} for name in subjects}
    assert (done, total["data"]) == (0, 42)
    assert (failed, refused["error"]["code"], refused["error"]["data"]) == (
        5,
        418,
        "short and stout",
    )


async def test_micro_exporter_exports_their_service(peer: Peer, url: str) -> None:
    async with peer.serving(url) as id, micro.Context() as context:
        await context.connect(options.servers(url))
        await micro.Client(context.client).request("math.v1.add", b'{"a": 1, "b": 2}', timeout=20)
        registry = CollectorRegistry()
        registry.register(DiscoveryCollector(context, "interop", max_wait=5))
        text = (await asyncio.to_thread(generate_latest, registry)).decode()

    labels = f'instance="{id}",service="interop",version="2.1.0-rc.1+build.7"'
    assert f"micro_service_info{{{labels}}} 1.0" in text
    requests = re.findall(r'micro_endpoint_requests_total\{endpoint="add",.*\} (\S+)', text)
    assert requests == ["1.0"]
    assert "micro_endpoint_latency_seconds{" not in text  # they have no quantiles
