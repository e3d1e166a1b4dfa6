"""A process with many endpoints: endpoints.py URL KIND COUNT, KIND nats-py | confirmed | ours

``confirmed`` is nats-py where each subscription waits for the server, as ours do.

Prints "ready" when the server has all subscriptions.
"""

import asyncio
import sys
from typing import Any


async def plain(url: str, count: int, confirm: bool) -> None:
    import nats

    async def echo(msg: Any) -> None:
        await msg.respond(msg.data)

    nc = await nats.connect(url)

    async def confirmed(subject: str) -> None:
        await nc.subscribe(subject, queue="q", cb=echo)
        await nc.flush()

    if confirm:
        await asyncio.gather(*(confirmed(f"e.{i}") for i in range(count)))
    else:
        for i in range(count):
            await nc.subscribe(f"e.{i}", queue="q", cb=echo)
        await nc.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


def ours(url: str, count: int) -> None:
    import micro
    from micro import options

    async def echo(request: micro.Request) -> None:
        await request.respond(request.data())

    async def setup(ctx: micro.Context) -> None:
        service = await ctx.add_service("bench", "1.0.0")
        await asyncio.gather(
            *(service.add_endpoint(f"e{i}", echo, subject=f"e.{i}") for i in range(count))
        )
        print("ready", flush=True)

    micro.run(setup, options.servers(url), trap_signals=True)


if sys.argv[2] == "ours":
    ours(sys.argv[1], int(sys.argv[3]))
else:
    asyncio.run(plain(sys.argv[1], int(sys.argv[3]), sys.argv[2] == "confirmed"))
