"""A service that does not stop: `stuck_program.py URL [grace=SECONDS] [exit=hang|swallow]`."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import micro
from micro import options

settings = dict(argument.split("=", 1) for argument in sys.argv[2:])


async def setup(ctx: micro.Context) -> None:
    if "exit" in settings:
        await ctx.enter(slow_exit())
    service = await ctx.add_service("stuck", "1.0.0", metadata={"text": "x" * 60_000})
    for handler in (echo, waiting, swallowing, blocking):
        await service.add_endpoint(handler.__name__, handler)
    print("ready", flush=True)


@asynccontextmanager
async def slow_exit() -> AsyncIterator[None]:
    yield
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            if settings["exit"] == "hang":
                raise


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def waiting(request: micro.Request) -> None:
    await asyncio.sleep(600)


async def swallowing(request: micro.Request) -> None:
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("swallowed", flush=True)


def blocking(request: micro.Request) -> None:
    time.sleep(600)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    grace = float(settings["grace"]) if "grace" in settings else None
    micro.run(setup, options.servers(sys.argv[1]), trap_signals=True, grace=grace)
