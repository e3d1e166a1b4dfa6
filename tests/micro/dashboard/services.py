"""Services for the page, each a process: `services.py shop URL [VERSION]` or `hostile URL`."""

import asyncio
import json
import sys
from typing import Literal

import nats
from nats.aio.msg import Msg
from pydantic import BaseModel, Field

import micro

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Item(BaseModel):
    sku: str = Field(description=MARKUP)
    quantity: int = 1


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: int


class Invoice(BaseModel):
    kind: Literal["invoice"] = "invoice"
    days: int = Field(examples=[30])


class Address(BaseModel):
    city: str


class Order(BaseModel):
    customer: str
    items: list[Item]
    payment: Card | Invoice | None = Field(default=None, discriminator="kind")
    billing: Address | None = None
    shipping: Literal["standard", "express"] = "standard"
    gift: bool = False
    note: str | None = None


async def place(order: Order) -> Order:
    if order.customer == "mallory":
        raise micro.ServiceError(402, "card declined", headers={"Retry-After": "7"})
    return order


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), headers=request.headers())


async def shop(url: str, version: str = "1.2.3") -> None:
    about = {"team": "blue"}
    async with (
        await nats.connect(url) as nc,
        micro.add_service(nc, "shop", version, metadata=about) as service,
    ):
        await service.add_endpoint("place", place)
        await service.add_endpoint("echo", echo, metadata={"owner": "ada"})
        print("ready", flush=True)
        await asyncio.Event().wait()


async def hostile(url: str) -> None:
    """Answer with markup in every text."""
    texts = {"name": MARKUP, "id": MARKUP, "version": MARKUP, "metadata": {MARKUP: MARKUP}}
    endpoint = {"name": MARKUP, "subject": MARKUP, "metadata": {"micro.request.schema": MARKUP}}
    counters = {"last_error": MARKUP, "data": {"micro": {"errors": {MARKUP: 1}, "p99_ns": "1"}}}
    info = {**texts, "description": MARKUP, "endpoints": [endpoint]}
    stats = {**texts, "started": "2026-01-01T00:00:00Z", "endpoints": [{**endpoint, **counters}]}
    replies = {"$SRV.PING": texts, "$SRV.INFO": info, "$SRV.STATS": stats}

    async def answer(msg: Msg) -> None:
        await msg.respond(json.dumps(replies[msg.subject]).encode())

    async with await nats.connect(url) as nc:
        for subject in replies:
            await nc.subscribe(subject, cb=answer)
        await nc.flush()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run({"shop": shop, "hostile": hostile}[sys.argv[1]](*sys.argv[2:]))
