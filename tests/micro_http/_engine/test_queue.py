"""The queue of requests before the pool: as many tries at the same time as connections."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import httpx
import pytest
from tests.micro_http.conftest import serving

from micro_http import AsyncResilientClient, AsyncRetryTransport, RetryPolicy, RetryTransport


class Slow:
    """A server that takes a moment for each request and counts those inside."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.inside = self.most = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(self.seconds)
            self.inside -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def longest_block() -> float:
    """Return the longest time that the event loop worked in one go, until cancelled.

    In CPU seconds, as other programs take their share of the machine.
    """
    longest = 0.0
    try:
        while True:
            start = time.process_time()
            await asyncio.sleep(0.01)
            longest = max(longest, time.process_time() - start)
    except asyncio.CancelledError:
        return longest


async def resilient(url: str, stack: AsyncExitStack) -> Callable[[], Awaitable[httpx.Response]]:
    client = await stack.enter_async_context(AsyncResilientClient())

    async def get() -> httpx.Response:
        return await (await client.get(url))

    return get


async def transport(url: str, stack: AsyncExitStack) -> Callable[[], Awaitable[httpx.Response]]:
    client = httpx.AsyncClient(transport=AsyncRetryTransport())
    await stack.enter_async_context(client)
    return lambda: client.get(url)


@pytest.mark.parametrize(("kind", "count"), [(resilient, 1000), (transport, 300)])
async def test_many_requests_at_once_are_all_answered(
    count: int,
    kind: Callable[[str, AsyncExitStack], Awaitable[Callable[[], Awaitable[httpx.Response]]]],
) -> None:
    """A longer wait than any time-out of httpx is no error, and the loop stays free."""
    async with AsyncExitStack() as stack:
        server = Slow(0.6)
        get = await kind(await stack.enter_async_context(serving(server)), stack)
        watch = asyncio.create_task(longest_block())
        await asyncio.sleep(0)
        responses = await asyncio.gather(*(get() for _ in range(count)))
        watch.cancel()

        assert {response.status_code for response in responses} == {200}
        assert server.most == 100
        assert await watch < 1.0  # leaves room for a busy machine


async def test_the_size_of_the_pool_is_the_width_of_the_queue() -> None:
    server = Slow(0.5)
    async with serving(server) as url:
        for limits, policy, count, expected in [
            (httpx.Limits(max_connections=3), RetryPolicy(), 6, 3),
            (httpx.Limits(max_connections=3), RetryPolicy(max_concurrency=2), 6, 2),
            (httpx.Limits(), RetryPolicy(), 150, 150),
        ]:
            server.most = 0
            async with AsyncResilientClient(policy, limits=limits) as client:
                await asyncio.gather(*[await client.get(url) for _ in range(count)])

            assert server.most == expected


async def test_threads_wait_for_a_connection_as_long_as_it_takes() -> None:
    server = Slow(0.2)
    async with serving(server) as url:
        with (
            httpx.Client(transport=RetryTransport(), timeout=1) as client,
            ThreadPoolExecutor(120) as threads,
        ):
            loop = asyncio.get_running_loop()
            started = threading.Barrier(120)

            def get() -> int:
                started.wait()
                return client.get(url).status_code

            codes = await asyncio.gather(*(loop.run_in_executor(threads, get) for _ in range(120)))

    assert set(codes) == {200}
    assert server.most == 100
