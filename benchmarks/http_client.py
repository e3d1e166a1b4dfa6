"""The cost of a resilient client beside httpx: construction, and CPU per request.

Run: python benchmarks/http_client.py [--rounds 7] [--requests 1000]
Goal: construction is at least 100 times faster than `httpx.AsyncClient()`, which loads its own
TLS context. The requests use no network.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

import httpx

from micro_http import AsyncResilientClient, AsyncRetryTransport, RetryPolicy, shared_ssl_context

Measure = Callable[[int], Awaitable[float]]


async def construct_httpx(count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        await httpx.AsyncClient().aclose()
    return (time.process_time() - started) / count


async def construct_shared(count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        await httpx.AsyncClient(verify=shared_ssl_context()).aclose()
    return (time.process_time() - started) / count


async def construct_resilient(count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        async with AsyncResilientClient():
            pass
    return (time.process_time() - started) / count


async def construct_transport(count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        await httpx.AsyncClient(transport=AsyncRetryTransport()).aclose()
    return (time.process_time() - started) / count


def answering() -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(200))


async def request_httpx(count: int) -> float:
    async with httpx.AsyncClient(transport=answering()) as client:
        started = time.process_time()
        for _ in range(count):
            await client.get("http://a.test/")
        return (time.process_time() - started) / count


async def request_transport(count: int) -> float:
    transport = AsyncRetryTransport(RetryPolicy.for_registry(), transport=answering())
    async with httpx.AsyncClient(transport=transport) as client:
        started = time.process_time()
        for _ in range(count):
            await client.get("http://a.test/")
        return (time.process_time() - started) / count


async def request_resilient(count: int) -> float:
    async with AsyncResilientClient(transport=answering()) as client:
        started = time.process_time()
        for _ in range(count):
            await (await client.get("http://a.test/"))
        return (time.process_time() - started) / count


async def compare(title: str, rows: dict[str, tuple[Measure, int]], rounds: int) -> None:
    """Print the medians of interleaved rounds, relative to the first row."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (measure, count) in rows.items():
            seconds[name].append(await measure(count))
    yardstick = median(next(iter(seconds.values())))
    print(f"\n{title} (median of {rounds} interleaved rounds)")
    print(f"{'':<34}{'CPU us':>10}{'times as fast':>16}")
    for name, values in seconds.items():
        print(f"{name:<34}{median(values) * 1e6:>10.1f}{yardstick / median(values):>16.2f}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    shared_ssl_context()  # made once per process, and not measured
    many = options.requests
    await compare(
        "open and close a client",
        {
            "httpx.AsyncClient()": (construct_httpx, 5),
            "httpx with the shared context": (construct_shared, 200),
            "AsyncResilientClient()": (construct_resilient, 200),
            "httpx with AsyncRetryTransport()": (construct_transport, 200),
        },
        options.rounds,
    )
    await compare(
        "one request to a transport that answers at once",
        {
            "httpx.AsyncClient": (request_httpx, many),
            "with AsyncRetryTransport": (request_transport, many),
            "AsyncResilientClient": (request_resilient, many),
        },
        options.rounds,
    )


if __name__ == "__main__":
    asyncio.run(main())
