"""natsio's micro, which needs Python 3.13. usage: natsio_echo.py URL SUBJECT [echo|sleep]"""

import asyncio
import sys
from typing import Any

import natsio
from natsio.micro import add_service


async def echo(request: Any) -> None:
    await request.respond(request.data)


async def sleep(request: Any) -> None:
    await asyncio.sleep(0.01)
    await request.respond(request.data)


async def main(url: str, subject: str, kind: str = "echo") -> None:
    nc = await natsio.connect(url)
    service = add_service(nc, name="bench", version="1.0.0")
    service.add_endpoint("bench", {"echo": echo, "sleep": sleep}[kind], subject=subject)
    async with service:
        await service.stopped


asyncio.run(main(*sys.argv[1:]))
