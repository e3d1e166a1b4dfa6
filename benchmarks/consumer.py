"""JetStream consumers in one process: messages and publishes per second of CPU, beside nats-py.

Every message has 128 bytes and is acknowledged. The peer `loop` is what people write by hand:
`fetch(100)` and `ack()`. FastStream is measured where it is installed.

Run: python benchmarks/consumer.py [--rounds 3] [--messages 20000]
"""

import argparse
import asyncio
import importlib.util
import time
from collections.abc import Awaitable, Callable

import kit
import nats
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro._wire import fast_transport
from micro.testing import nats_server

PAYLOAD = b'{"text": "' + b"x" * 116 + b'"}'
BASE = "nats-py fetch(100) and ack()"


class Event(BaseModel):
    text: str


class Run:
    """One stream with a number of messages, and its count of handled ones."""

    def __init__(self, url: str, count: int) -> None:
        self.url = url
        self.count = count
        self.left = count
        self.done = asyncio.Event()

    def handled(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()

    async def connect(self) -> NatsClient:
        client = NatsClient()
        fast_transport.install(client, [self.url])
        await client.connect(self.url)
        return client


async def ours(run: Run, *, typed: bool = False) -> None:
    async def raw(request: micro.Request) -> None:
        run.handled()

    async def handle(event: Event) -> None:
        run.handled()

    async def pass_on(request: micro.Request, next: micro.NextHandler) -> micro.Response:
        return await next(request)

    client = await run.connect()
    middlewares = [pass_on] * 3 if typed else []
    async with micro.add_service(client, "bench", "1.0.0", middlewares=middlewares) as service:
        await service.add_consumer("work", handle if typed else raw, stream="BENCH")
        await run.done.wait()
    await client.close()


async def typed(run: Run) -> None:
    await ours(run, typed=True)


async def loop(run: Run) -> None:
    client = await nats.connect(run.url)
    subscription = await client.jetstream().pull_subscribe("bench.>", "loop", "BENCH")
    while run.left:
        for message in await subscription.fetch(100):
            await message.ack()
            run.handled()
    await client.close()


async def faststream(run: Run) -> None:
    from faststream.nats import JStream, NatsBroker, PullSub

    broker = NatsBroker(run.url, logger=None)

    @broker.subscriber(
        "bench.>",
        durable="fast",
        stream=JStream("BENCH", declare=False),
        pull_sub=PullSub(batch_size=100),
    )
    async def handle(event: dict[str, str]) -> None:
        run.handled()

    await broker.start()
    await run.done.wait()
    await broker.stop()


async def publish_ours(run: Run) -> None:
    client = await run.connect()
    publisher = micro.Client(client)

    async def work() -> None:
        for _ in range(run.count // 200):
            await publisher.publish("bench.x", PAYLOAD, ack=True)

    await asyncio.gather(*(work() for _ in range(200)))
    await client.close()


async def publish_async(run: Run) -> None:
    client = await nats.connect(run.url)
    js = client.jetstream()
    await asyncio.gather(*[await js.publish_async("bench.x", PAYLOAD) for _ in range(run.count)])
    await client.close()


async def measure(url: str, work: Callable[[Run], Awaitable[None]], count: int) -> float:
    """Return the messages per second of CPU of this process."""
    client = await nats.connect(url)
    js = client.jetstream()
    await js.add_stream(name="BENCH", subjects=["bench.>"])
    if not work.__name__.startswith("publish"):
        for _ in range(count):
            await client.publish("bench.x", PAYLOAD)
        await client.flush()
    began = time.process_time()
    await work(Run(url, count))
    spent = time.process_time() - began
    await js.delete_stream("BENCH")
    await client.close()
    return count / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=20_000)
    given = parser.parse_args()
    consumers: dict[str, Callable[[Run], Awaitable[None]]] = {
        "micro": ours,
        "micro, 3 middlewares, typed": typed,
        BASE: loop,
    }
    if importlib.util.find_spec("faststream") is not None:
        consumers["FastStream pull subscriber"] = faststream
    publishers: dict[str, Callable[[Run], Awaitable[None]]] = {
        "micro, 200 at once": publish_ours,
        "nats-py publish_async": publish_async,
    }
    found: kit.Results = {}
    with nats_server(jetstream=True) as server:
        every = {**consumers, **publishers}
        for number, name in kit.rounds(list(every), given.rounds):
            rate = asyncio.run(measure(server.url, every[name], given.messages))
            found[number, name] = {"rate": rate}
    for title, names, base in (
        ("consumers, messages per second of CPU", consumers, BASE),
        ("publishers with acknowledgement", publishers, "nats-py publish_async"),
    ):
        kit.table(
            title,
            ["what", "messages/s", f"x {base}"],
            [
                [name, int(kit.value(found, name, "rate")), kit.ratio(found, name, base, "rate")]
                for name in names
            ],
        )


if __name__ == "__main__":
    main()
