"""Our service.

usage: ours.py URL SUBJECT [echo|cheap|sleep|uneven|typed] [middlewares] [no-quantiles]
"""

import asyncio
import sys
from collections.abc import Sequence
from itertools import count

from pydantic import BaseModel

import micro
from micro import NextHandler, Request, Response, options
from micro._endpoint.counters import EndpointCounters

numbers = count(1)


class Order(BaseModel):
    id: int
    name: str
    quantity: int
    price: float
    tags: list[str]
    note: str | None = None


async def echo(request: Request) -> None:
    await request.respond(request.data())


@micro.cheap
def cheap(request: Request) -> None:
    request.respond(request.data())


async def sleep(request: Request) -> None:
    await asyncio.sleep(0.01)
    await request.respond(request.data())


async def uneven(request: Request) -> None:
    if next(numbers) % 100 == 0:
        await asyncio.sleep(0.1)
    await request.respond(request.data())


async def typed(order: Order) -> Order:
    return order


async def first(request: Request, following: NextHandler) -> Response:
    return await following(request)


async def second(request: Request, following: NextHandler) -> Response:
    response = await following(request)
    return response  # noqa: RET504 - what a middleware that looks at the answer does


async def third(request: Request, following: NextHandler) -> Response:
    try:
        return await following(request)
    except KeyError:
        raise micro.ServiceError(404, "not found") from None


HANDLERS = {"echo": echo, "cheap": cheap, "sleep": sleep, "uneven": uneven, "typed": typed}


def keep_no_times() -> None:
    """Take out of the running program what only quantiles need."""

    def handled(self: EndpointCounters, times: Sequence[int]) -> None:
        self.num_requests += len(times)
        self.processing_time += sum(times)

    EndpointCounters.handled = handled  # type: ignore[method-assign]


async def setup(ctx: micro.Context) -> None:
    _, _, subject, kind, *more = sys.argv
    if "no-quantiles" in more:
        keep_no_times()
    service = await ctx.add_service("bench", "1.0.0")
    await service.add_endpoint(
        "bench",
        HANDLERS[kind],
        subject=subject,
        middlewares=[first, second, third] if "middlewares" in more else None,
        max_in_flight=1024,
    )


micro.run(setup, options.servers(sys.argv[1]), trap_signals=True)
