"""Operations per second of the embedded registry on one local server.

A bare JetStream publish in the same run is the reference.

Run: python benchmarks/registry_embedded.py [seconds per measurement]
"""

import asyncio
import itertools
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats

from micro_schema_registry import EmbeddedRegistry

CALLERS = 16
ROUNDS = 5


def schema(number: int) -> dict[str, Any]:
    """Return a small Avro record that is compatible with every other one."""
    return {
        "type": "record",
        "name": "Event",
        "doc": f"number {number}",
        "fields": [{"name": "id", "type": "string"}, {"name": "at", "type": "long"}],
    }


async def rate(
    call: Callable[[int], Awaitable[object]], seconds: float, numbers: Any, callers: int
) -> float:
    """Return calls per second with that many callers at once."""
    done = 0
    end = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call(next(numbers))
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return done / (time.perf_counter() - began)


async def measure(url: str, seconds: float) -> dict[str, list[float]]:
    """Return the rates of every round, interleaved."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    await js.add_stream(name="bare", subjects=["bare.>"])
    free = EmbeddedRegistry(nc, "bench")
    ruled = EmbeddedRegistry(nc, "ruled")
    await ruled.set_rule("COMPATIBILITY", "BACKWARD")
    known = await free.register_schema("known", schema(0))
    await ruled.register_schema("known", schema(0))
    numbers = itertools.count(1)
    run = uuid.uuid4().hex[:8]
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        "bare JetStream publish": lambda n: js.publish(f"bare.{n}", b"x" * 200),
        "new artifact": lambda n: free.register_schema(f"{run}-{n}", schema(n)),
        "new artifact, BACKWARD set": lambda n: ruled.register_schema(f"{run}-{n}", schema(n)),
        "new version (100 artifacts), BACKWARD": lambda n: ruled.register_schema(
            f"v{n % 100}", schema(n)
        ),
        "same content again": lambda n: free.register_schema("known", schema(0)),
        "get newest": lambda n: free.get_schema("known"),
        "get by global id": lambda n: free.get_schema_by_global_id(known.global_id),
        "get by content id (kept)": lambda n: free.get_schema_by_content_id(known.content_id),
        "check compatibility": lambda n: ruled.check_compatibility("known", schema(n % 50)),
    }
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rates[name].append(await rate(call, seconds, numbers, CALLERS))
        alone = rates.setdefault("new artifact, one caller", [])
        alone.append(await rate(calls["new artifact"], seconds, numbers, 1))
    await nc.close()
    return rates


def main(seconds: float = 1.0) -> None:
    """Start a server in a temporary folder, measure, and print a table of medians."""
    binary = Path(sysconfig.get_path("scripts")) / "nats-server"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(binary), "-js", "-sd", folder, "-a", "127.0.0.1", "-p", "-1"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
            try:
                rates = asyncio.run(measure(_address(server), seconds))
            finally:
                server.kill()
    print(f"{CALLERS} callers, one connection, {ROUNDS} rounds of {seconds} s, medians per second")
    for name, values in rates.items():
        print(f"{name:<40} {statistics.median(values):>9,.0f}")


def _address(server: subprocess.Popen[bytes]) -> str:
    """Return the address in the log of a server."""
    assert server.stderr is not None
    address = ""
    for line in server.stderr:
        if b"Listening for client connections on " in line:
            address = "nats://" + line.rsplit(b" on ", 1)[1].strip().decode()
        if b"Server is ready" in line:
            break
    return address


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:]))
