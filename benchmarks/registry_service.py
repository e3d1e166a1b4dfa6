"""Cached look-ups through the NATS service, beside the same requests to Apicurio over HTTP.

Run: python benchmarks/registry_service.py URL [--calls 10000] [--rounds 3]
URL is Apicurio's API, such as http://127.0.0.1:8080/apis/registry/v3.

Goal: at least 20 times the rate. The callers are coroutines of one process; the service,
nats-server and Apicurio are processes of their own. The client keeps nothing.
"""

import argparse
import asyncio
import contextlib
import json
import platform
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median

import httpx
import nats

import micro
from micro.testing import nats_server
from micro_http import shared_ssl_context
from micro_schema_registry import NatsRegistryClient, RegistryError

CALLERS = 64
SCHEMA = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}


async def rate(ask: Callable[[], Awaitable[object]], calls: int, callers: int) -> float:
    """Return answers per second."""

    async def caller() -> None:
        for _ in range(calls // callers):
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return calls // callers * callers / (time.perf_counter() - began)


@contextlib.asynccontextmanager
async def service(nats_url: str, registry_url: str, group: str) -> AsyncIterator[None]:
    """Run the service in a process of its own until it answers."""
    command = [sys.executable, "-m", "micro_schema_registry", "--log-level", "warning"]
    command += ["--server", nats_url, "--url", registry_url, "--group", group]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        nc = await nats.connect(nats_url)
        probe = NatsRegistryClient(nc, "bench", prefix=group)
        for _ in range(300):
            with contextlib.suppress(RegistryError):
                await probe.info()
                break
            await asyncio.sleep(0.1)
        await nc.close()
        yield
    finally:
        process.terminate()
        await process.wait()


async def measure(nats_url: str, registry_url: str, calls: int, rounds: int) -> dict[str, float]:
    """Return the median rate of each way to ask."""
    group = f"bench-{uuid.uuid4().hex[:8]}"
    async with service(nats_url, registry_url, group), contextlib.AsyncExitStack() as stack:
        nc = await nats.connect(nats_url)
        stack.push_async_callback(nc.close)
        client = NatsRegistryClient(nc, group, prefix=group, timeout=30)
        made = await client.register_schema("user", SCHEMA)
        http = httpx.AsyncClient(verify=shared_ssl_context(), timeout=30)
        await stack.enter_async_context(http)
        raw = micro.Client(nc)
        query = json.dumps({"global_id": made.global_id}).encode()

        async def over_http() -> None:
            (await http.get(f"{registry_url}/ids/globalIds/{made.global_id}")).raise_for_status()

        async def over_nats() -> None:
            await raw.request(f"{group}.by-id", query, timeout=30)

        async def newest() -> None:
            await client.get_schema("user")

        ways = {"Apicurio over HTTP, by id": (over_http, calls // 10)}
        ways["service over NATS, by id"] = (over_nats, calls)
        ways["service over NATS, newest version"] = (newest, calls)
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, (ask, count) in ways.items():
                for callers in (1, CALLERS):
                    label = f"{name}, {callers} callers"
                    found = await rate(ask, count if callers > 1 else count // 4, callers)
                    rates.setdefault(label, []).append(found)
        return {name: median(found) for name, found in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="Apicurio's API")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with nats_server() as server:
        rates = asyncio.run(measure(server.url, arguments.url, arguments.calls, arguments.rounds))
    print(f"{platform.python_implementation()} {platform.python_version()}")
    for name, found in rates.items():
        callers = name.rpartition(", ")[2]
        ratio = found / rates[f"Apicurio over HTTP, by id, {callers}"]
        print(f"{name:<50} {found:>9,.0f}/s {ratio:>7.1f}x")


if __name__ == "__main__":
    main()
