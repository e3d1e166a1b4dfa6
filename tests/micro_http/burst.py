"""Send 20,000 requests through one client and print the memory left in use, as JSON."""

import asyncio
import gc
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import httpx

from micro_http import AsyncEvent, AsyncResilientClient, EventType

REQUESTS = 20_000
WAVE = 500
BODY_BYTES = 10_000

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer like a small ASGI application; the body is a new object each time."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytearray(BODY_BYTES)})


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main() -> None:
    counted = early = 0

    def count(event: AsyncEvent) -> None:
        nonlocal counted
        counted += 1

    transport = httpx.ASGITransport(app)
    async with AsyncResilientClient(
        transport=transport, base_url="http://app", max_results=1000
    ) as client:
        client.add_event_callback(EventType.SUCCESS, count)
        for number in range(REQUESTS // WAVE):
            await asyncio.wait([await client.get("/") for _ in range(WAVE)])
            if number == 10:
                early = resident_bytes()
        results = await client.wait_for_all_requests()
        grown = resident_bytes() - early
        responses = sum(isinstance(item, httpx.Response) for item in gc.get_objects())
    print(
        json.dumps(
            {
                "events": counted,
                "results": len(results),
                "responses": responses,
                "grown_bytes": grown,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
