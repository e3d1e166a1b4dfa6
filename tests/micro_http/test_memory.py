"""Memory stays flat under a burst, because a client keeps results and never responses."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from micro_http import AsyncEvent, AsyncResilientClient, EventType

REQUESTS = 20_000
WAVE = 500
BODY = b"x" * 10_000

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer like a small ASGI application; the body is a new object each time."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytearray(BODY)})


def live_responses() -> int:
    gc.collect()
    return sum(isinstance(item, httpx.Response) for item in gc.get_objects())


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)
async def test_a_burst_of_20_000_requests_keeps_memory_flat() -> None:
    counted = 0

    def count(event: AsyncEvent) -> None:
        nonlocal counted
        counted += 1

    before = live_responses()
    early = 0
    transport = httpx.ASGITransport(app)
    async with AsyncResilientClient(
        transport=transport, base_url="http://app", max_results=1000
    ) as client:
        client.add_event_callback(EventType.SUCCESS, count)
        for number in range(REQUESTS // WAVE):
            await asyncio.wait([await client.get("/") for _ in range(WAVE)])
            if number == 8:
                early = resident_bytes()
        results = await client.wait_for_all_requests()
        grown = resident_bytes() - early

        assert len(results) == 1000
        assert live_responses() - before <= 5

    assert counted == REQUESTS
    assert grown < 15_000_000  # all bodies of the later waves together are ten times that
