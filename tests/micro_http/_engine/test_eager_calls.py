"""Calls in an event loop whose tasks begin at once (`asyncio.eager_task_factory`)."""

import asyncio
import sys

import httpx

from micro_http._engine.exchange import Calls, Exchange

if sys.version_info >= (3, 12):  # older ones have no eager tasks

    async def test_a_call_that_ends_at_once_gives_its_place_back() -> None:
        async def send(exchange: Exchange) -> httpx.Response:
            return httpx.Response(200)

        calls = Calls(limit=1)
        loop = asyncio.get_running_loop()
        factory = loop.get_task_factory()
        loop.set_task_factory(asyncio.eager_task_factory)
        try:
            await calls.enter()
            response = await calls.send(send).result()
        finally:
            loop.set_task_factory(factory)

        assert response.status_code == 200
        assert not calls.full
