"""Work that goes on after the answer: `python examples/background.py`, then Ctrl-C."""

import micro

done: list[bytes] = []


async def setup(ctx: micro.Context) -> None:
    client = micro.Client(ctx)

    async def prices(request: micro.Request) -> None:
        await request.respond(b"new prices of " + request.data())

    async def recalculate(customer: bytes) -> None:
        answer = await client.request("prices", customer, timeout=60)
        done.append(answer.data)
        print(answer.data.decode())

    async def order(request: micro.Request) -> None:
        ctx.spawn(recalculate(request.data()), drain=True)
        await request.respond(b"accepted")

    service = await ctx.add_service("orders", "1.0.0")
    await service.add_endpoint("prices", prices)
    await service.add_endpoint("order", order)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
