"""What a client keeps of its requests, however they end: nothing.

Prints its growth after each stage: python -m tests.faults.growth URL [requests a stage]
The program of these tests must be running there.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats
import nats.errors
from nats.aio.msg import Msg

import micro
from micro import options

CONCURRENCY = 500
WARMING = 2000
"""Requests of each stage that come first: memory that is used again and again counts once."""

Ask = Callable[[], Awaitable[object]]


def resident() -> int:
    """Return the resident memory of this process in KiB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def stages(client: micro.Client) -> dict[str, tuple[Ask, tuple[type[Exception], ...]]]:
    """Return for each stage a request, and how it ends."""
    large = b"x" * (client.nc.max_payload + 1)

    async def cancelled() -> None:
        task = asyncio.create_task(client.request("mute", b"x", timeout=30))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    return {
        "answered": (lambda: client.request("faults.echo", b"x", timeout=30), ()),
        "error": (lambda: client.request("faults.failing", timeout=30), (micro.ServiceError,)),
        "no responders": (lambda: client.request("nobody"), (nats.errors.NoRespondersError,)),
        "time-out": (lambda: client.request("mute", timeout=0.02), (nats.errors.TimeoutError,)),
        "cancelled": (cancelled, ()),
        "too large": (lambda: client.request("mute", large), (micro.PayloadTooLargeError,)),
    }


async def repeat(ask: Ask, errors: tuple[type[Exception], ...], count: int) -> None:
    """Ask so many times, and see that it always ends as it should."""

    async def some() -> None:
        for _ in range(count // CONCURRENCY):
            try:
                await ask()
            except errors:
                continue
            assert not errors

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONCURRENCY):
            tasks.create_task(some())


async def grown(url: str, count: int) -> dict[str, int]:
    """Return by how many KiB this process has grown in each stage."""

    async def ignore(message: Msg) -> None:
        return

    other = await nats.connect(url)
    await other.subscribe("mute", cb=ignore)
    await other.flush()
    found: dict[str, int] = {}
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(url))
        everything = stages(micro.Client(ctx.client))
        for ask, errors in everything.values():
            await repeat(ask, errors, WARMING)
        for name, (ask, errors) in everything.items():
            before = resident()
            await repeat(ask, errors, count)
            found[name] = resident() - before
    await other.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(grown(sys.argv[1], int(sys.argv[2])))))
