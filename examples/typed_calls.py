"""Calls with values: by subject, by the name of an endpoint, and bound to a declaration.

`micro run typed_calls:setup` serves the shop; `python typed_calls.py` calls it.
"""

import asyncio
import os

from declared import Order, Receipt, Shop, ShopApi, desk

import micro
from micro.adapters import msgpack

packed = micro.service("packed", "1.0.0", codec=msgpack.codec)


@packed.endpoint(subject="packed.count")
async def count(order: Order) -> int:
    return order.count


async def setup(ctx: micro.Context) -> None:
    for service in (desk, Shop, packed):
        await ctx.add(service)


async def calls(client: micro.Client) -> None:
    order = Order(item="tea", count=2)

    # By subject, and by the name of an endpoint of a service.
    print(await client.call("orders.find", "tea", returns=Order))
    print(await client.service("shop").call("place", order, returns=Receipt))

    # In the form of a codec.
    print(await client.call("packed.count", order, returns=int, codec=msgpack.codec))

    # With the types of a declaration: mypy and pyright check these calls.
    shop = client.bind(ShopApi, service="shop")
    print((await shop.place(order)).number)

    # Errors of the service, with the invalid members of a request.
    try:
        await client.call("place", {"count": "many"}, returns=Receipt)
    except micro.ServiceError as error:
        print(error.code, [each["loc"] for each in error.errors])
    try:
        await client.call("orders.find", "milk", returns=Order)
    except micro.ServiceError as error:
        print(error.code, error.description)


async def main() -> None:
    async with micro.Context() as ctx:
        await ctx.connect(
            micro.options.servers(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
        )
        await calls(micro.Client(ctx))


if __name__ == "__main__":
    asyncio.run(main())
