"""The cost of a resilient client beside httpx: construction, CPU per request, many at once.

Run: python benchmarks/http_client.py [--rounds 7] [--requests 1000] [--at-once 1000]
     [--beside PATH]   PATH: a checkout of another build, which gets the same requests at once
Goals: construction is at least 100 times faster than `httpx.AsyncClient()`, which loads its own
TLS context. Of the requests at once, to a server that needs a second for each, all are answered,
and the event loop is blocked for at most 0.3 s. The other requests use no network.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
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


async def serve_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def request_at_once(url: str, count: int) -> None:
    """Send the requests and print outcomes, seconds and the longest block of the loop as JSON."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - started - 0.01)

    async with AsyncResilientClient() as client:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        started, cpu = time.monotonic(), time.process_time()
        tasks = [await client.get(url) for _ in range(count)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        elapsed, cpu = time.monotonic() - started, time.process_time() - cpu
        watching.cancel()
    answered = sum(isinstance(outcome, httpx.Response) for outcome in outcomes)
    print(json.dumps([answered, elapsed, longest, cpu]))


async def compare_at_once(count: int, beside: str | None) -> None:
    """Run the requests in a process for each build, against one server in this process."""
    builds: dict[str, str | None] = {"this build": None}
    if beside is not None:
        builds[beside] = str(Path(beside, "src"))
    print(f"\n{count} requests at once to a server that needs 1 s for each")
    print(f"{'':<34}{'answered':>10}{'s':>8}{'blocked s':>11}{'CPU s':>8}")
    async with await asyncio.start_server(serve_slowly, "127.0.0.1", 0, backlog=1024) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for name, path in builds.items():
            environment = os.environ if path is None else {**os.environ, "PYTHONPATH": path}
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "--at-once", str(count), "--url", url),
                stdout=asyncio.subprocess.PIPE,
                env=environment,
            )
            output, _ = await child.communicate()
            answered, elapsed, longest, cpu = json.loads(output)
            print(f"{name:<34}{answered:>10}{elapsed:>8.1f}{longest:>11.2f}{cpu:>8.1f}")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--beside", help="checkout of another build to compare with")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url is not None:
        await request_at_once(options.url, options.at_once)
        return
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
    await compare_at_once(options.at_once, options.beside)


if __name__ == "__main__":
    asyncio.run(main())
