"""Items of a caller, answered by one value or item by item: `python examples/uploads.py`."""

from collections.abc import AsyncIterator

from pydantic import BaseModel

import micro


class Reading(BaseModel):
    celsius: float


async def mean(readings: AsyncIterator[Reading]) -> float:
    values = [reading.celsius async for reading in readings]
    return sum(values) / len(values)


async def alarms(limit: Reading, readings: AsyncIterator[Reading]) -> AsyncIterator[Reading]:
    async for reading in readings:
        if reading.celsius > limit.celsius:
            yield reading


async def measured() -> AsyncIterator[Reading]:
    for celsius in (19.5, 20.5, 30.0, 22.0):
        yield Reading(celsius=celsius)


async def mean_of_all(client: micro.Client) -> float:
    return await client.call("weather.mean", send=measured(), returns=float)


async def first_alarm(client: micro.Client) -> Reading | None:
    limit = Reading(celsius=25)
    async with client.stream("weather.alarms", limit, of=Reading, send=measured()) as alarms:
        return await anext(alarms, None)


async def setup(ctx: micro.Context) -> None:
    weather = (await ctx.add_service("weather", "1.0.0")).add_group("weather")
    await weather.add_endpoint("mean", mean)
    await weather.add_endpoint("alarms", alarms)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
