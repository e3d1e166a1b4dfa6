"""What a server that stands still costs the clients before it: no connection of their pools.

Run: python benchmarks/http_standing_still.py [--seconds 8] [--patience 1] [--callers 400] [KIND..]
Goal: afterwards each of the 100 connections of a pool can be used at the same time, and every
caller is answered.

Each caller sends a request, gives up when its patience ends, and sends the next until the server
goes on. Kinds: the resilient client, both transports, both registry clients, and the registry
service over NATS.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import httpx
import nats

import micro
from micro.testing import nats_server
from micro_http import (
    AsyncResilientClient,
    AsyncRetryTransport,
    RetryPolicy,
    RetryTransport,
    TryTimeoutError,
)
from micro_schema_registry import (
    ApicurioRegistryClient,
    AsyncApicurioRegistryClient,
    NatsRegistryClient,
    ServiceConfig,
    ServiceOptions,
    setup,
)

POOL = 100
LAST = httpx.Timeout(60)
"""Time-outs of a busy machine, for the requests afterwards."""

Get = Callable[[str], Awaitable[object]]
"""Sends one request for an artifact."""


class Site:
    """A registry that stands still while told to; artifacts named `meet` wait for each other."""

    def __init__(self) -> None:
        self.going = asyncio.Event()
        self.met = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()
        self.inside = self.most = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._wait(meet=b"/meet" in head.split(b"\r\n", 1)[0])
                body = b'{"type": "string"}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nX-Registry-GlobalId: 1\r\nX-Registry-ContentId: 1\r\n"
                    b"X-Registry-ArtifactType: AVRO\r\nContent-Length: %d\r\n\r\n"
                    % len(body)
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _wait(self, *, meet: bool) -> None:
        self.inside += 1
        self.empty.clear()
        self.most = max(self.most, self.inside)
        try:
            await self.going.wait()
            if meet:
                if self.inside >= POOL:
                    self.met.set()
                await self.met.wait()
        finally:
            self.inside -= 1
            if not self.inside:
                self.empty.set()


def restless(seconds: float) -> RetryPolicy:
    """Return a policy that ends a try after some seconds, and begins the next."""
    ends = (TryTimeoutError, httpx.TransportError)
    return RetryPolicy(
        max_retries=100, base_delay=0, jitter="none", retry_on=ends, try_timeout=seconds
    )


@asynccontextmanager
async def resilient(site: Site, patience: float) -> AsyncIterator[Get]:
    async with AsyncResilientClient(RetryPolicy(max_retries=0), timeout=LAST) as client:

        async def get(name: str) -> object:
            return await (await client.get(f"{site.url}/{name}"))

        yield get


@asynccontextmanager
async def resilient_with_try_timeout(site: Site, patience: float) -> AsyncIterator[Get]:
    async with AsyncResilientClient(restless(patience / 2), timeout=LAST) as client:

        async def get(name: str) -> object:
            return await (await client.get(f"{site.url}/{name}"))

        yield get


@asynccontextmanager
async def transport(site: Site, patience: float) -> AsyncIterator[Get]:
    async with httpx.AsyncClient(
        transport=AsyncRetryTransport(RetryPolicy(max_retries=0)), timeout=LAST
    ) as client:
        yield lambda name: client.get(f"{site.url}/{name}")


@asynccontextmanager
async def blocking_transport(site: Site, patience: float) -> AsyncIterator[Get]:
    with httpx.Client(transport=RetryTransport(restless(patience / 2))) as client:
        async with in_threads(lambda name: client.get(f"{site.url}/{name}")) as get:
            yield get


@asynccontextmanager
async def registry(site: Site, patience: float) -> AsyncIterator[Get]:
    async with AsyncApicurioRegistryClient(site.url, "g", max_retries=0) as client:
        yield client.get_schema


@asynccontextmanager
async def blocking_registry(site: Site, patience: float) -> AsyncIterator[Get]:
    with httpx.Client(timeout=patience) as http:
        client = ApicurioRegistryClient(site.url, "g", http_client=http, max_retries=0)
        async with in_threads(client.get_schema) as get:
            yield get


@asynccontextmanager
async def service(site: Site, patience: float) -> AsyncIterator[Get]:
    options = ServiceOptions(timeout=60)
    config = ServiceConfig(backend="apicurio", url=site.url, options=options)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(nats_server())
        ctx = await stack.enter_async_context(micro.Context())
        await ctx.connect(micro.options.servers(server.url))
        await setup(ctx, config)
        connection = await nats.connect(server.url)
        stack.push_async_callback(connection.close)

        async def get(name: str) -> object:
            seconds = patience if not site.going.is_set() else 60
            return await NatsRegistryClient(connection, "g", timeout=seconds).get_schema(name)

        yield get


@asynccontextmanager
async def in_threads(call: Callable[[str], object]) -> AsyncIterator[Get]:
    with ThreadPoolExecutor(1000) as threads:
        loop = asyncio.get_running_loop()
        yield lambda name: loop.run_in_executor(threads, partial(call, name))


KINDS = [
    resilient,
    resilient_with_try_timeout,
    transport,
    blocking_transport,
    registry,
    blocking_registry,
    service,
]
BLOCKING = {blocking_transport, blocking_registry}
"""Kinds whose callers nothing can interrupt: their own time-outs end a try."""
ROUNDS = 10
"""Trials afterwards: a busy machine may exceed a time-out, a lost connection stays lost."""


async def measure(
    kind: Callable[[Site, float], AbstractAsyncContextManager[Get]],
    seconds: float,
    patience: float,
    callers: int,
) -> dict[str, int]:
    """Return the tries that failed meanwhile, and what is answered afterwards."""
    site = Site()
    failed = 0
    async with await asyncio.start_server(site.serve, "127.0.0.1", 0, backlog=1024) as server:
        site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with kind(site, patience) as get:

            async def call(number: int) -> None:
                nonlocal failed
                for again in range(10**6):
                    if site.going.is_set():
                        return
                    try:
                        async with asyncio.timeout(None if kind in BLOCKING else patience):
                            await get(f"still-{number}-{again}")
                    except Exception:  # noqa: BLE001 - of any kind: the server stands still
                        failed += 1

            calls = asyncio.gather(*(call(number) for number in range(callers)))
            await asyncio.sleep(seconds)
            site.going.set()
            await calls
            await site.empty.wait()  # of requests that nobody waits for
            site.most = 0
            return {
                "failed": failed,
                "answered": await answered(get, site, "meet", POOL)
                + await answered(get, site, "after", callers),
                "at once": site.most,
                "of": POOL + callers,
            }


async def answered(get: Get, site: Site, name: str, count: int) -> int:
    """Return how many of so many requests at once are answered, in the best of the rounds."""
    best = 0
    for again in range(ROUNDS):
        calls = [asyncio.ensure_future(get(f"{name}-{again}-{number}")) for number in range(count)]
        done, late = await asyncio.wait(calls, timeout=60)
        for call in late:
            call.cancel()
        best = max(best, sum(call.exception() is None for call in done))
        if best == count:
            break
        site.met.set()  # those who wait for callers that gave up
        await site.empty.wait()
        site.met.clear()
    return best


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--patience", type=float, default=1)
    parser.add_argument("--callers", type=int, default=400)
    parser.add_argument("kinds", nargs="*", choices=[[], *(each.__name__ for each in KINDS)])
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"{options.callers} callers, a server that stands still for {options.seconds:g} s")
    print(f"{'':<30}{'gave up':>10}{'at once':>10}{'answered':>15}")
    lost = False
    for kind in KINDS:
        if options.kinds and kind.__name__ not in options.kinds:
            continue
        found = await measure(kind, options.seconds, options.patience, options.callers)
        share = f"{found['answered']} of {found['of']}"
        print(f"{kind.__name__:<30}{found['failed']:>10}{found['at once']:>10}{share:>15}")
        lost = lost or found["at once"] != POOL or found["answered"] != found["of"]
    sys.exit(lost)


if __name__ == "__main__":
    asyncio.run(main())
