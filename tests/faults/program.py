"""The service under faults, in its own process: `program.py URL[,URL...] [key=value ...]`."""

import asyncio
import json
import logging
import sys
from collections import Counter
from pathlib import Path

import micro
from micro import options

settings = dict(argument.split("=", 1) for argument in sys.argv[2:])


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("faults", "1.0.0", queue_group=settings.get("queue"))
    group = service.add_group(settings.get("prefix", "faults"))
    await group.add_endpoint("echo", echo)
    await group.add_endpoint("short", short)
    await group.add_endpoint("narrow", slow, max_in_flight=1, pending_msgs_limit=8)
    await group.add_endpoint("hanging", hanging, max_in_flight=64, timeout=0.5)
    await group.add_endpoint("failing", failing)
    await group.add_endpoint("add", add)
    await group.add_endpoint("vitals", vitals, subject=f"vitals.{service.id}")
    print("ready", flush=True)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def short(request: micro.Request) -> None:
    await asyncio.sleep(0.02)
    await request.respond(request.data())


async def slow(request: micro.Request) -> None:
    await asyncio.sleep(0.1)
    await request.respond(b"slow")


async def hanging(request: micro.Request) -> None:
    if request.data() == b"hang":
        await asyncio.Event().wait()
    await request.respond(b"well")


async def failing(request: micro.Request) -> None:
    raise RuntimeError("this one always fails")


async def add(numbers: list[int]) -> int:
    return sum(numbers)


async def vitals(request: micro.Request) -> None:
    """Tell what a leak would show in: tasks by what they run, and resident memory in KiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    running = Counter(getattr(t.get_coro(), "__qualname__", "?") for t in asyncio.all_tasks())
    found = {"tasks": running, "rss": pages * 4}
    await request.respond(json.dumps(found).encode())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    chosen = [options.servers(*sys.argv[1].split(",")), options.name("faults")]
    if "access" in settings:  # a folder with certificates and a password
        folder = Path(settings["access"])
        ca, cert, key = (folder / name for name in ("ca.pem", "both.pem", "both.key"))
        chosen.append(options.tls(ca=ca, cert=cert, key=key))
        chosen.append(options.user_password("service", folder / "password"))
    micro.run(setup, *chosen, trap_signals=True)
