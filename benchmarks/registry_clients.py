"""The Apicurio clients beside apicurio-serdes: cached and cold fetches, many schemas, construction.

Run: pip install --group bench && python benchmarks/registry_clients.py [--rounds 15]
Goals, as ratios of the same run: cached at least 2 million a second or half its rate; cold at least
0.9 times its rate, as it has no guard for the pool; ten schemas from a server that takes 0.2 s at
least five times faster; construction 100 times faster than `httpx.AsyncClient()` with a TLS context
of its own.

Cached and cold fetches are counted per CPU second of the client, which a busy machine does not
distort. The server is a process of its own that sends ids in headers, since apicurio-serdes reads
them only there and released versions of Apicurio do not send them.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import apicurio_serdes
import httpx

import micro_schema_registry

SCHEMA = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
CACHED_CALLS = 200_000
COLD_CALLS = 200
SLOW_SECONDS = 0.2

Measure = Callable[[str], Awaitable[float]]


class Server(asyncio.Protocol):
    """A server that answers every request with a schema and its ids; slowly below `/slow`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        body = json.dumps(SCHEMA).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        head += "X-Registry-GlobalId: 17\r\nX-Registry-ContentId: 9\r\n"
        self.answer = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def data_received(self, data: bytes) -> None:
        delay = SLOW_SECONDS if b" /slow/" in data else 0
        asyncio.get_running_loop().call_later(delay, self.transport.write, self.answer)


def serve(address: Connection) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0)
        address.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def server() -> Iterator[str]:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(sender,))
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join()


def cached(library: Any) -> Measure:
    """Measure calls per CPU second of get_schema for a cached schema."""

    async def measure(url: str) -> float:
        async with library.AsyncApicurioRegistryClient(url, "g") as client:
            await client.get_schema("user")
            started = time.process_time()
            for _ in range(CACHED_CALLS):
                await client.get_schema("user")
            return CACHED_CALLS / (time.process_time() - started)

    return measure


def cold(library: Any) -> Measure:
    """Measure calls per CPU second of get_schema, each for another schema, in sequence."""

    async def measure(url: str) -> float:
        async with library.AsyncApicurioRegistryClient(url, "g") as client:
            await client.get_schema("first")
            started = time.process_time()
            for number in range(COLD_CALLS):
                await client.get_schema(f"schema-{number}")
            return COLD_CALLS / (time.process_time() - started)

    return measure


def cold_by_id(library: Any) -> Measure:
    """Measure calls per CPU second of get_schema_by_global_id, each for another id, in sequence."""

    async def measure(url: str) -> float:
        async with library.AsyncApicurioRegistryClient(url, "g") as client:
            await client.get_schema_by_global_id(COLD_CALLS)
            started = time.process_time()
            for number in range(COLD_CALLS):
                await client.get_schema_by_global_id(number)
            return COLD_CALLS / (time.process_time() - started)

    return measure


def slow(library: Any) -> Measure:
    """Measure batches of ten schemas per second from a server that takes 0.2 s for each."""

    async def measure(url: str) -> float:
        async with library.AsyncApicurioRegistryClient(f"{url}/slow", "g") as client:
            started = time.perf_counter()
            await asyncio.gather(*(client.get_schema(f"schema-{n}") for n in range(10)))
            return 1 / (time.perf_counter() - started)

    return measure


def constructing(make: Callable[[str], Any]) -> Measure:
    """Measure clients opened and closed per second."""

    async def measure(url: str) -> float:
        started = time.perf_counter()
        for _ in range(10):
            await make(url).aclose()
        return 10 / (time.perf_counter() - started)

    return measure


def own_client(library: Any) -> Callable[[str], Any]:
    return lambda url: library.AsyncApicurioRegistryClient(url, "g")


async def compare(title: str, ours: Measure, theirs: Measure, url: str, rounds: int) -> None:
    """Print the medians of interleaved rounds, and of the ratio within a round."""
    rates = [(await ours(url), await theirs(url)) for _ in range(rounds)]
    mine, peer = (median(column) for column in zip(*rates, strict=True))
    ratio = median(mine / peer for mine, peer in rates)
    print(f"{title:44}{mine:14,.1f}/s{peer:14,.1f}/s{ratio:10.2f}x")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds: int = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, httpx {httpx.__version__}, {rounds} rounds")
    print(f"{'':44}{'micro':>16}{'apicurio-serdes':>16}{'ratio':>11}")
    mine, peer = micro_schema_registry, apicurio_serdes
    with server() as url:
        await compare("cached get_schema", cached(mine), cached(peer), url, rounds)
        await compare("cold get_schema", cold(mine), cold(peer), url, rounds)
        await compare(
            "cold get_schema_by_global_id", cold_by_id(mine), cold_by_id(peer), url, rounds
        )
        await compare("ten schemas at 0.2 s each, at once", slow(mine), slow(peer), url, rounds)
        new, bare = constructing(own_client(mine)), constructing(lambda _: httpx.AsyncClient())
        await compare("construction (beside httpx.AsyncClient())", new, bare, url, rounds)


if __name__ == "__main__":
    asyncio.run(main())
