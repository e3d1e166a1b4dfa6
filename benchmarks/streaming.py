"""Streams, both ways: items per second of CPU of both ends, beside the same in plain nats-py.

The peer publishes 128-byte items to an inbox, and waits for a word of the reader after each window
of 256, as its reader counts them. The memory is that of both ends in one process, with a reader
that rests after each 1,000 items.

Run: python benchmarks/streaming.py [--rounds 3] [--items 50000] [--long 1000000]
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import kit
import nats
from nats.aio.client import Client as NatsClient

import micro
from micro._wire import fast_transport
from micro.testing import nats_server

ITEM = b"x" * 128
WINDOW = 256
BASE = "nats-py publish and subscription"


async def connect(url: str) -> NatsClient:
    client = NatsClient()
    fast_transport.install(client, [url])
    await client.connect(url)
    return client


async def ours(url: str, count: int, rest: float = 0) -> None:
    async def rows(request: micro.Request) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield ITEM

    service_side, client_side = await connect(url), await connect(url)
    async with micro.add_service(service_side, "bench", "1.0.0") as service:
        await service.add_endpoint("rows", rows, subject="bench.rows")
        seen = 0
        async for _ in micro.Client(client_side).stream("bench.rows", of=bytes, window=WINDOW):
            seen += 1
            if rest and seen % 1000 == 0:
                await asyncio.sleep(rest)
        assert seen == count
    await service_side.close()
    await client_side.close()


async def items(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield ITEM


async def upload(url: str, count: int, rest: float = 0) -> None:
    async def read(items: AsyncIterator[bytes]) -> bytes:
        seen = 0
        async for _ in items:
            seen += 1
            if rest and seen % 1000 == 0:
                await asyncio.sleep(rest)
        return b"%d" % seen

    service_side, client_side = await connect(url), await connect(url)
    async with micro.add_service(service_side, "bench", "1.0.0") as service:
        await service.add_endpoint("read", read, subject="bench.read")
        answer = await micro.Client(client_side).call(
            "bench.read", returns=bytes, send=items(count), timeout=600
        )
        assert answer == b"%d" % count
    await service_side.close()
    await client_side.close()


async def plain(url: str, count: int) -> None:
    sender, reader = await nats.connect(url), await nats.connect(url)
    subscription = await reader.subscribe("bench.items", pending_msgs_limit=2 * WINDOW)
    words = await sender.subscribe("bench.words")
    await asyncio.gather(reader.flush(), sender.flush())

    async def send() -> None:
        for number in range(1, count + 1):
            await sender.publish("bench.items", ITEM)
            if number % WINDOW == 0 and number > WINDOW:
                await words.next_msg(30)

    sending = asyncio.create_task(send())
    for number in range(1, count + 1):
        await subscription.next_msg(30)
        if number % WINDOW == 0:
            await reader.publish("bench.words", b"")
    await sending
    await sender.close()
    await reader.close()


async def growth(url: str, work: Callable[[str, int, float], Awaitable[None]], count: int) -> float:
    """Return the growth of the memory in MiB over a long stream with a slow reader."""
    await work(url, 20_000, 0.001)
    before = rss()
    await work(url, count, 0.001)
    return rss() - before


def rss() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def measure(url: str, work: Callable[[str, int], Awaitable[None]], count: int) -> float:
    began = time.process_time()
    await work(url, count)
    return count / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--long", type=int, default=1_000_000)
    given = parser.parse_args()
    every: dict[str, Callable[[str, int], Awaitable[None]]] = {
        "micro, answer": ours,
        "micro, upload": upload,
        BASE: plain,
    }
    found: kit.Results = {}
    with nats_server() as server:
        for number, name in kit.rounds(list(every), given.rounds):
            rate = asyncio.run(measure(server.url, every[name], given.items))
            found[number, name] = {"rate": rate}
        grown = [
            [name, f"{asyncio.run(growth(server.url, work, given.long)):.1f}"]
            for name, work in (("micro, answer", ours), ("micro, upload", upload))
        ]
    kit.table(
        "items per second of CPU, both ends in one process",
        ["what", "items/s", f"x {BASE}"],
        [
            [name, int(kit.value(found, name, "rate")), kit.ratio(found, name, BASE, "rate")]
            for name in every
        ],
    )
    kit.table(f"memory over {given.long} items, a slow reader", ["what", "growth, MiB"], grown)


if __name__ == "__main__":
    main()
