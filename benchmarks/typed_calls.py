"""`Client.call` and a bound client with models, against `Client.request` plus pydantic's own work.

Run: python benchmarks/typed_calls.py [--rounds 7] [--count 3000]

The CPU time of one call, with a responder in C that returns the payload. "apart" is the time of
`Client.request` with bytes, plus the time of dumping and validating the same model by pydantic.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import kit
from pydantic import BaseModel

import micro

SUBJECT = "bench.typed"
WORKERS = 64


class Item(BaseModel):
    name: str
    price: float
    tags: list[str]


class Order(BaseModel):
    number: int
    customer: str
    items: list[Item]


class Api:
    @micro.endpoint(subject=SUBJECT)
    async def echo(self, order: Order) -> Order: ...


ORDER = Order(
    number=1,
    customer="Ada",
    items=[Item(name=f"item {each}", price=1.5, tags=["a", "b"]) for each in range(4)],
)
PAYLOAD = ORDER.model_dump_json().encode()


async def cpu_us(call: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the CPU time of one call in microseconds, with many calls at once."""

    async def work() -> None:
        for _ in range(count // WORKERS):
            await call()

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return (time.process_time() - began) / (count // WORKERS * WORKERS) * 1e6


def pydantic_us(count: int) -> float:
    """Return the CPU time of one dump and one validation in microseconds."""
    began = time.process_time()
    for _ in range(count):
        Order.model_validate_json(ORDER.model_dump_json().encode())
    return (time.process_time() - began) / count * 1e6


async def measure(url: str, rounds: int, count: int) -> None:
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(url))
        client = micro.Client(ctx)
        bound = client.bind(Api)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "request": lambda: client.request(SUBJECT, PAYLOAD, timeout=10),
            "call": lambda: client.call(SUBJECT, ORDER, returns=Order, timeout=10),
            "bound": lambda: bound.echo(ORDER),
        }
        found: dict[str, list[float]] = {name: [] for name in (*calls, "pydantic")}
        for _ in range(rounds + 1):  # the first round warms up
            for name, call in calls.items():
                found[name].append(await cpu_us(call, count))
            found["pydantic"].append(pydantic_us(count))
    apart = [one + other for one, other in zip(found["request"], found["pydantic"], strict=True)]
    rows = []
    for name, values in {**found, "request and pydantic apart": apart}.items():
        ratios = [value / base for value, base in zip(values[1:], apart[1:], strict=True)]
        rows.append(
            [name, round(statistics.median(values[1:]), 1), round(statistics.median(ratios), 2)]
        )
    kit.table("typed calls, a model of 330 B", ["what", "CPU us", "x apart"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=3000)
    given = parser.parse_args()
    with (
        kit.server() as server,
        kit.process([kit.compiled("respond"), str(server.port), SUBJECT], core=kit.LOAD_CORE),
    ):
        kit.wait_for_answer(server.port, SUBJECT)
        asyncio.run(measure(server.url, given.rounds, given.count))


if __name__ == "__main__":
    main()
