"""Services in an event loop whose tasks begin at once (`asyncio.eager_task_factory`)."""

from __future__ import annotations

import asyncio
import sys

import pytest

import micro
from micro import options
from micro.testing import NatsServer

from .test_outages import serves, setup

if sys.version_info >= (3, 12):  # older ones have no eager tasks

    @pytest.mark.parametrize("path", ["fast", "public"])
    async def test_eager_tasks_change_nothing(
        path: str, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MICRO_TRANSPORT", path)
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        told = asyncio.Event()

        async def reconnected() -> None:
            told.set()

        async with asyncio.timeout(60), micro.Context() as ctx:
            ctx.add_reconnected_callback(reconnected)
            await ctx.connect(options.servers(server.url))
            await setup(ctx)
            client = micro.Client(ctx)
            answers = await asyncio.gather(*(client.request("slow", timeout=5) for _ in range(5)))
            assert [answer.data for answer in answers] == [b"slow"] * 5
            for _ in range(3):
                assert len(await client.ping("outage")) == 1
                assert len(await client.stats("outage")) == 1
            await ctx.client.close()
            await told.wait()
            await serves(server.url)
            assert (await client.request("echo", b"x", timeout=2)).data == b"x"
