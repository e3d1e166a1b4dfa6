"""A service that refuses to start with a change that breaks its callers.

`NATS_URL=nats://127.0.0.1:4222 python examples/contracts.py` (the server needs JetStream) prints:

    version 1 serves orders
    version 2 serves orders with an optional note
    version 3 does not start: 'place.request' of service 'shop' breaks its contract
"""

import asyncio
import os

from pydantic import BaseModel

import micro
from micro_schema_registry import EmbeddedRegistry


class Order(BaseModel):
    item: str


class OrderWithNote(Order):
    note: str = ""


class OrderWithCustomer(OrderWithNote):
    customer: str


async def place(order: Order) -> bool:
    return bool(order.item)


async def place_with_note(order: OrderWithNote) -> bool:
    return bool(order.item)


async def place_with_customer(order: OrderWithCustomer) -> bool:
    return bool(order.customer)


async def main() -> None:
    async with micro.Context() as ctx:
        await ctx.connect(
            micro.options.servers(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
        )
        registry = EmbeddedRegistry(ctx.client, "default")

        first = await ctx.add_service("shop", "1.0.0", contracts=registry)
        await first.add_endpoint("place", place)
        print("version 1 serves orders")

        second = await ctx.add_service("shop", "1.1.0", contracts=registry)
        await second.add_endpoint("place", place_with_note)
        print("version 2 serves orders with an optional note")

        third = await ctx.add_service("shop", "2.0.0", contracts=registry)
        try:
            await third.add_endpoint("place", place_with_customer)
        except micro.IncompatibleContractError as error:
            print(f"version 3 does not start: {str(error).partition(': ')[0]}")


if __name__ == "__main__":
    asyncio.run(main())
