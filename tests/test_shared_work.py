"""Work that several requests share has no deadline of the one that started it."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, ServiceError
from micro._protocol import deadline
from micro_schema_registry._caching.single_flight import AsyncFlights

LONG = 60.0
SHORT = 0.3


async def test_a_single_flight_outlives_the_deadline_of_its_first_caller(
    nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(nc)
    flights = AsyncFlights()
    fetching, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> None:
        fetching.set()
        await release.wait()
        await request.respond(b"fetched")

    async def fetch() -> bytes:
        return (await client.request("shared.slow", timeout=LONG)).data

    async def get(request: Request) -> None:
        await request.respond(await flights.share("key", fetch))

    async with micro.add_service(nc, "shared", "1.0.0") as service:
        await service.add_endpoint("slow", slow, "shared.slow")
        await service.add_endpoint("get", get, "shared.get")
        asking = micro.Client(caller)
        hasty = asyncio.create_task(asking.request("shared.get", timeout=SHORT))
        async with asyncio.timeout(LONG):
            await fetching.wait()
        patient = asyncio.create_task(asking.request("shared.get", timeout=LONG))
        with pytest.raises((ServiceError, TimeoutError)):
            await hasty
        await asyncio.sleep(SHORT)  # then a request with that deadline would have ended
        assert not patient.done()
        release.set()
        assert (await patient).data == b"fetched"


async def test_the_context_without_deadline_keeps_everything_else() -> None:
    class Work:
        deadline: float | None = 5.0

    token = deadline.current.set(Work())
    try:
        assert deadline.inherited() == 5.0
        assert micro.unbound_context().run(deadline.inherited) is None
        assert deadline.inherited() == 5.0
    finally:
        deadline.current.reset(token)
