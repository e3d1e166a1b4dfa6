"""An answer of many messages, and the loop that reads it: `python examples/streams.py`."""

from collections.abc import AsyncIterator

from pydantic import BaseModel

import micro


class Query(BaseModel):
    limit: int


class Row(BaseModel):
    number: int
    square: int


async def rows(query: Query) -> AsyncIterator[Row]:
    for number in range(query.limit):
        yield Row(number=number, square=number * number)


async def first_above(client: micro.Client, least: int) -> Row | None:
    async for row in client.stream("numbers.rows", Query(limit=1_000_000), of=Row):
        if row.square > least:
            return row  # leaving the loop ends the generator at the service
    return None


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("numbers", "1.0.0")
    await service.add_group("numbers").add_endpoint("rows", rows)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
