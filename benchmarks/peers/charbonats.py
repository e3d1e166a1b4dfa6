"""charbonats' nats-micro. usage: charbonats.py URL SUBJECT [middlewares]"""

import sys
from typing import Any

from nats_contrib import micro
from nats_contrib.connect_opts import option


async def echo(request: Any) -> None:
    await request.respond(request.data())


async def first(request: Any, following: Any) -> Any:
    return await following(request)


async def second(request: Any, following: Any) -> Any:
    response = await following(request)
    return response  # noqa: RET504 - what a middleware that looks at the answer does


async def third(request: Any, following: Any) -> Any:
    try:
        return await following(request)
    except KeyError:
        raise ValueError("not found") from None


async def setup(ctx: Any) -> None:
    service = await ctx.add_service("bench", "1.0.0")
    middlewares = [first, second, third] if "middlewares" in sys.argv else None
    await service.add_endpoint("bench", echo, subject=sys.argv[2], middlewares=middlewares)


micro.run(setup, option.WithServer(sys.argv[1]), trap_signals=True)
