"""FastStream. usage: faststream_echo.py URL SUBJECT [echo|typed|sleep]"""

import asyncio
import sys

from faststream import FastStream
from faststream.nats import NatsBroker
from pydantic import BaseModel


class Order(BaseModel):
    id: int
    name: str
    quantity: int
    price: float
    tags: list[str]
    note: str | None = None


async def echo(body: bytes) -> bytes:
    return body


async def typed(body: Order) -> Order:
    return body


async def sleep(body: bytes) -> bytes:
    await asyncio.sleep(0.01)
    return body


url, subject, kind = [*sys.argv[1:], "echo"][:3]
broker = NatsBroker(url, logger=None)
workers = 1024 if kind == "sleep" else 1
broker.subscriber(subject, queue="q", max_workers=workers)(
    {"echo": echo, "typed": typed, "sleep": sleep}[kind]
)
asyncio.run(FastStream(broker, logger=None).run())
