"""Background work of a context: without a deadline, ended with it, its failures logged."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator

import pytest

import micro
from micro import Request, StoppedError, options
from micro.testing import NatsServer

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("v", default="")


@pytest.fixture
async def ctx(server: NatsServer) -> AsyncIterator[micro.Context]:
    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        yield context


async def test_work_that_a_handler_spawns_has_no_deadline(ctx: micro.Context) -> None:
    client = micro.Client(ctx.client)
    spawned: list[asyncio.Task[bytes]] = []

    async def inner(request: Request) -> None:
        left = request.remaining()
        await request.respond(b"%d" % (left is not None and left > 30))

    async def work() -> bytes:
        return (await client.request("inner", timeout=60)).data

    async def outer(request: Request) -> None:
        VARIABLE.set("of the handler")
        spawned.append(ctx.spawn(work()))
        await spawned[0]  # while the deadline of this request holds
        await request.respond(b"")

    service = await ctx.add_service("background", "1.0.0")
    await service.add_endpoint("inner", inner)
    await service.add_endpoint("outer", outer)
    await client.request("outer", timeout=5)

    assert spawned[0].result() == b"1"


async def test_work_keeps_the_other_context_variables(ctx: micro.Context) -> None:
    VARIABLE.set("kept")

    async def read() -> str:
        return VARIABLE.get()

    assert await ctx.spawn(read()) == "kept"


async def test_work_is_cancelled_at_the_end_and_drained_if_asked_for(server: NatsServer) -> None:
    ends: list[str] = []
    go = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")

    async def short() -> None:
        await go.wait()
        ends.append("drained")

    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        context.spawn(forever())
        context.spawn(short(), drain=True)
        await asyncio.sleep(0)
        context.push(lambda: ends.append("left"))
        asyncio.get_running_loop().call_later(0.05, go.set)

    assert sorted(ends[:2]) == ["cancelled", "drained"]
    assert ends[2:] == ["left"]


async def test_failure_is_logged_once(ctx: micro.Context, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("of the work")

    task = ctx.spawn(fail())
    task.set_name("refresh")
    await asyncio.wait({task})

    (record,) = caplog.records
    assert record.getMessage() == "background work 'refresh' failed"
    assert "of the work" in caplog.text


async def test_nothing_is_spawned_after_the_end() -> None:
    async with micro.Context() as context:
        pass

    async def work() -> None:
        """Never runs."""

    with pytest.raises(StoppedError) as caught:
        context.spawn(work())
    assert str(caught.value) == "cannot start background work: the context has ended"
