"""The limits of the registry service on the embedded registry, beside another build of it.

Run: python benchmarks/registry_limits.py [PATH] [--only MEASUREMENT]
PATH is a checkout of another build; its service runs from there, everything else from here.

burst             MiB that the service grows by for 300 gets of 500 KB in one burst (bar: 64)
json_under_rules  Seconds to register a JSON Schema of 261 KB under BACKWARD and FULL (bar: 1)
listing           Seconds of the first and of a further page of 10,000 artifacts
others            Longest wait in seconds for a quick look-up while a value is checked
ids               MiB that the service grows by for 100 ids of 500 KB, too many for an answer
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client

from micro.testing import nats_server

GETS = 300
ARTIFACTS = 10_000
PATIENCE = 60.0


class Service:
    """The service in a process of its own, and requests to it."""

    def __init__(self, nc: Client, pid: int) -> None:
        self.nc = nc
        self._pid = pid

    async def ask(self, endpoint: str, timeout: float = PATIENCE, **request: Any) -> Any:
        """Return the answer of an endpoint, or its error's code."""
        answer = await self.nc.request(
            f"registry.v1.{endpoint}",
            json.dumps(request).encode(),
            timeout=timeout,
            headers={"Micro-Timeout-Ms": str(int(timeout * 1000))},
        )
        if answer.headers and "Nats-Service-Error-Code" in answer.headers:
            return int(answer.headers["Nats-Service-Error-Code"])
        return json.loads(answer.data)

    async def growth(self, work: Callable[[], Awaitable[object]]) -> float:
        """Return by how many MiB the largest memory during some work exceeds that before it."""
        before = self._memory("VmRSS")
        with open(f"/proc/{self._pid}/clear_refs", "w") as file:  # noqa: ASYNC230 - procfs
            file.write("5")
        await work()
        return self._memory("VmHWM") - before

    def _memory(self, name: str) -> float:
        with open(f"/proc/{self._pid}/status") as file:
            line = next(line for line in file if line.startswith(name))
        return int(line.split()[1]) / 1024


@contextlib.asynccontextmanager
async def service(build: str | None) -> AsyncIterator[Service]:
    """Run the service of a build on a server of its own until it answers."""
    environment = dict(os.environ)
    if build is not None:
        environment["PYTHONPATH"] = f"{build}/src:{build}/services"
    with nats_server(jetstream=True) as server:
        command = [sys.executable, "-m", "micro_schema_registry", "--server", server.url]
        process = await asyncio.create_subprocess_exec(
            *command, "--log-level", "error", env=environment
        )
        nc = await nats.connect(server.url)
        try:
            running = Service(nc, process.pid)
            for _ in range(300):
                with contextlib.suppress(nats.errors.Error):
                    await running.ask("info", timeout=5)
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            yield running
        finally:
            await nc.close()
            process.terminate()
            await process.wait()


def record(text: str) -> str:
    return json.dumps({"type": "record", "name": "R", "doc": text, "fields": []})


async def burst(running: Service) -> str:
    await running.ask("register", artifact="large", content=record("x" * 500_000))
    await running.ask("get", artifact="large")
    done, answers, inbox = asyncio.Event(), [], running.nc.new_inbox()

    async def count(message: Any) -> None:
        answers.append("Nats-Service-Error" not in (message.headers or {}))
        if len(answers) == GETS:
            done.set()

    async def work() -> None:
        for _ in range(GETS):
            await running.nc.publish(
                "registry.v1.get",
                b'{"artifact": "large"}',
                reply=inbox,
                headers={"Micro-Timeout-Ms": "60000"},
            )
        await asyncio.wait_for(done.wait(), PATIENCE)

    await running.nc.subscribe(inbox, cb=count, pending_bytes_limit=1 << 30)
    await running.nc.flush()
    return f"{await running.growth(work):,.0f} MiB, {sum(answers)} answered"


def json_schema(members: int) -> str:
    """Return a closed object whose members are objects."""
    member = {
        "type": "object",
        "description": "x" * 60,
        "properties": {"a": {"type": "string", "maxLength": 10}, "b": {"type": "integer"}},
        "required": ["a"],
    }
    properties = {f"member_{number}": member for number in range(members)}
    return json.dumps({"type": "object", "additionalProperties": False, "properties": properties})


async def json_under_rules(running: Service) -> str:
    group = "ruled"
    for rule, config in (("COMPATIBILITY", "BACKWARD"), ("VALIDITY", "FULL")):
        await running.ask("rules.set", group=group, rule=rule, config=config)
    spent = []
    for members in (1300, 1301):
        began = time.perf_counter()
        content = json_schema(members)
        made = await running.ask(
            "register", group=group, artifact="json", type="JSON", content=content
        )
        spent.append(time.perf_counter() - began)
        assert not isinstance(made, int), made
    return f"{len(json_schema(1301)) // 1000} KB: {spent[0]:.2f} s first, {spent[1]:.2f} s next"


async def listing(running: Service) -> str:
    numbers = iter(range(ARTIFACTS))

    async def register() -> None:
        for number in numbers:
            content = record(str(number % 100))
            await running.ask("register", group="many", artifact=f"a{number:05}", content=content)

    await asyncio.gather(*(register() for _ in range(32)))
    spent = []
    for offset in (0, 5000):
        began = time.perf_counter()
        page = await running.ask("artifacts", group="many", offset=offset, limit=500)
        spent.append(time.perf_counter() - began)
        assert page["total"] == ARTIFACTS, page["total"]
    return f"{spent[0]:.2f} s first, {spent[1]:.3f} s next"


async def others(running: Service) -> str:
    schema = json.dumps({"type": "array", "uniqueItems": True})
    made = await running.ask("register", artifact="list", type="JSON", content=schema)
    value = [{"a": [number]} for number in range(6_000)]
    slow = asyncio.create_task(
        running.ask("validate", timeout=3, global_id=made["global_id"], value=value)
    )
    longest = 0.0
    while not slow.done():
        began = time.perf_counter()
        await running.ask("get", artifact="list")
        longest = max(longest, time.perf_counter() - began)
        await asyncio.sleep(0.01)
    with contextlib.suppress(nats.errors.TimeoutError):
        await slow
    return f"{longest:.2f} s"


async def ids(running: Service) -> str:
    made = [
        await running.ask("register", artifact=f"big{n}", content=record(f"{n}" + "x" * 500_000))
        for n in range(100)
    ]

    async def work() -> None:
        assert await running.ask("by-id", ids=[each["global_id"] for each in made]) == 413

    return f"{await running.growth(work):,.0f} MiB"


MEASUREMENTS = (burst, json_under_rules, listing, others, ids)


async def measure(build: str | None, only: str | None) -> dict[str, str]:
    results = {}
    for measurement in MEASUREMENTS:
        if only not in (None, measurement.__name__):
            continue
        async with service(build) as running:
            results[measurement.__name__] = await measurement(running)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("build", nargs="?", help="checkout of another build")
    parser.add_argument(
        "--only", help="one measurement", choices=[m.__name__ for m in MEASUREMENTS]
    )
    arguments = parser.parse_args()
    columns = {"this build": asyncio.run(measure(None, arguments.only))}
    if arguments.build:
        columns["the other"] = asyncio.run(measure(arguments.build, arguments.only))
    for name in columns["this build"]:
        figures = (
            "  ".join(f"{title}: {each[name]:<36}" for title, each in columns.items())
        ).rstrip()
        print(f"{name:<18} {figures}")


if __name__ == "__main__":
    main()
