"""A service with a raw and a typed endpoint: `python examples/echo.py`."""

from pydantic import BaseModel

import micro


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("echo", "1.0.0", description="Echoes requests")
    await service.add_endpoint("echo", echo)
    group = service.add_group("math")
    await group.add_endpoint("add", add)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), headers=request.headers())


class Pair(BaseModel):
    a: int
    b: int


async def add(pair: Pair) -> int:
    return pair.a + pair.b


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
