"""Requests through one inbox and one timer, on both paths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request
from micro._client.requester import Requester, requester_of
from micro.testing import NatsServer

from ..path_kit import PATHS, Connect, connections


@pytest.fixture(params=PATHS)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    async with connections(request.param) as found:
        yield found


@pytest.fixture
async def nc(connect: Connect, server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect, and serve an endpoint that echoes and one that never answers."""

    async def echo(request: Request) -> None:
        await request.respond(request.data())

    async def hang(request: Request) -> None:
        await asyncio.sleep(60)

    client = await connect(server.url)
    service = micro.add_service(client, "asked", "1.0.0")
    await service.start()
    await service.add_endpoint("echo", echo, subject="asked.echo")
    await service.add_endpoint("hang", hang, subject="asked.hang")
    yield client
    if not client.is_closed:
        await service.stop(timeout=0)


def waiting(requester: Requester) -> int:
    return requester.outstanding


async def test_first_requests_at_the_same_time_share_one_inbox(nc: NatsClient) -> None:
    before = len(nc._subs)
    one, other = micro.Client(nc), micro.Client(nc)
    answers = await asyncio.gather(
        *(client.request("asked.echo", b"%d" % i) for i in range(20) for client in (one, other))
    )

    assert sorted({answer.data for answer in answers}) == sorted(b"%d" % i for i in range(20))
    assert len(nc._subs) == before + 1


async def test_each_request_times_out_at_its_own_time(nc: NatsClient) -> None:
    order: list[float] = []
    client = micro.Client(nc)

    async def ask(timeout: float) -> None:
        with pytest.raises(nats.errors.TimeoutError):
            await client.request("asked.hang", timeout=timeout)
        order.append(timeout)

    await asyncio.gather(*(ask(timeout) for timeout in (0.6, 0.1, 0.35)))

    assert order == [0.1, 0.35, 0.6]
    assert waiting(requester_of(nc)) == 0


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0\r\n", "a\tb"])
async def test_subject_that_is_none_is_refused(nc: NatsClient, subject: str) -> None:
    with pytest.raises(nats.errors.BadSubjectError):
        await micro.Client(nc).request(subject)
    assert waiting(requester_of(nc)) == 0


async def test_cancelled_request_leaves_nothing(nc: NatsClient) -> None:
    asked = [asyncio.create_task(micro.Client(nc).request("asked.hang")) for _ in range(9)]
    async with asyncio.timeout(10):
        while waiting(requester_of(nc)) < 9:
            await asyncio.sleep(0.001)
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)

    assert waiting(requester_of(nc)) == 0
    assert (await micro.Client(nc).request("asked.echo", b"x")).data == b"x"


async def test_late_answer_is_dropped(nc: NatsClient) -> None:
    go = asyncio.Event()

    async def late(request: Request) -> None:
        await go.wait()
        await request.respond(b"late")

    async with micro.add_service(nc, "late", "1.0.0") as service:
        await service.add_endpoint("late", late, subject="asked.late")
        # nc.request tells no time-out, so that the handler is not cancelled with its caller.
        requester = requester_of(nc)
        with pytest.raises(nats.errors.TimeoutError):
            await requester.request("asked.late", b"", None, 0.05)
        go.set()
    assert (await micro.Client(nc).request("asked.echo", b"x")).data == b"x"


async def test_closed_connection_refuses_and_leaves_nothing(nc: NatsClient) -> None:
    client = micro.Client(nc)
    await client.request("asked.echo")
    await nc.close()
    for _ in range(2):
        with pytest.raises(nats.errors.ConnectionClosedError):
            await client.request("asked.echo")
    assert waiting(requester_of(nc)) == 0


async def test_client_that_connects_again_has_a_new_inbox(
    connect: Connect, server: NatsServer
) -> None:
    nc = await connect(server.url)
    client = micro.Client(nc)
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request("asked.nobody")
    await nc.close()
    await nc.connect(server.url)
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request("asked.nobody", timeout=10)


async def test_handler_marked_as_cheap_must_not_return_an_awaitable(nc: NatsClient) -> None:
    @micro.cheap
    def handler(request: Request) -> None:
        return asyncio.sleep(0)  # type: ignore[return-value]  # wrong on purpose

    async with micro.add_service(nc, "cheap", "1.0.0") as service:
        await service.add_endpoint("cheap", handler, subject="asked.cheap")
        with pytest.raises(micro.ServiceError, match="internal error"):
            await micro.Client(nc).request("asked.cheap")
