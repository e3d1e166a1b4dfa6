"""The service under test, run in a process of its own: ``program.py URL [key=value ...]``."""

import asyncio
import logging
import sys

import micro
from micro import options

settings = dict(argument.split("=", 1) for argument in sys.argv[2:])


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("runtime", "1.0.0")
    await service.add_endpoint("echo", echo)
    await service.add_endpoint("slow", slow)
    await service.add_endpoint("stuck", stuck)
    match settings.get("setup"):
        case "raise":
            raise RuntimeError("setup went wrong")
        case "hang":
            print("in setup", flush=True)
            await asyncio.sleep(60)
    print("ready", flush=True)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def slow(request: micro.Request) -> None:
    await asyncio.sleep(0.05)
    await request.respond(b"slow")


async def stuck(request: micro.Request) -> None:
    await asyncio.sleep(60)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    chosen = [options.servers(sys.argv[1])]
    if "retry" in settings:
        chosen.append(options.retry())
    if "attempts" in settings:
        chosen.append(options.reconnect(max_attempts=int(settings["attempts"])))
    micro.run(setup, *chosen, trap_signals=True)
