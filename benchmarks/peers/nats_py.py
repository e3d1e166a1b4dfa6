"""nats-py: a plain subscription, or its own micro.

usage: nats_py.py URL SUBJECT raw|micro [echo|sleep|uneven]
"""

import asyncio
import sys
from itertools import count
from typing import Any

import nats
import nats.micro

numbers = count(1)


async def main(url: str, subject: str, kind: str, work: str = "echo") -> None:
    async def wait() -> None:
        if work == "sleep":
            await asyncio.sleep(0.01)
        elif work == "uneven" and next(numbers) % 100 == 0:
            await asyncio.sleep(0.1)

    async def plain(msg: Any) -> None:
        await msg.respond(msg.data)

    async def handler(request: Any) -> None:
        if work != "echo":
            await wait()
        await request.respond(request.data)

    nc = await nats.connect(url)
    if kind == "raw":
        await nc.subscribe(subject, queue="q", cb=plain)
    else:
        service = await nats.micro.add_service(nc, name="bench", version="1.0.0")
        await service.add_endpoint(name="bench", subject=subject, handler=handler)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
