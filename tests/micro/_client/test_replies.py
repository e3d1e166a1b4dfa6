"""Many replies to one request (ADR-47), on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

import micro
from micro import Replies, Until
from micro._wire.fence import fence
from micro.testing import NatsServer

from ..path_kit import PATHS, connections

Script = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


@pytest.fixture(params=PATHS)
async def caller(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect the caller by each path in turn."""
    async with connections(request.param) as connect:
        yield await connect(server.url)


@pytest.fixture
def ask(nc: NatsClient, caller: NatsClient) -> Callable[..., Awaitable[Replies]]:
    """Give the replies to a request whose responder follows a script of `await say(data)`."""

    async def begin(script: Script, until: Until) -> Replies:
        async def answer(message: Msg) -> None:
            await script(lambda data: nc.publish(message.reply, data))

        subject = nc.new_inbox()
        await nc.subscribe(subject, cb=answer)
        await fence(nc)
        return micro.Client(caller).request_many(subject, b"ask", until=until)

    return begin


async def collect(replies: Replies) -> list[bytes]:
    async with replies:
        return [message.data async for message in replies]


async def two(say: Callable[[bytes], Awaitable[None]]) -> None:
    await say(b"1")
    await say(b"2")


async def test_total_time_ends_the_replies(ask: Callable[..., Awaitable[Replies]]) -> None:
    replies = await ask(two, Until(max_wait=1))
    assert await collect(replies) == [b"1", b"2"]
    assert replies.reason == "timeout"


async def test_count_ends_the_replies(ask: Callable[..., Awaitable[Replies]]) -> None:
    replies = await ask(two, Until(max_wait=30, max_count=1))
    assert await collect(replies) == [b"1"]
    assert replies.reason == "count"


async def test_silence_after_the_first_reply_ends_the_replies(
    ask: Callable[..., Awaitable[Replies]],
) -> None:
    replies = await ask(two, Until(max_wait=30, max_interval=0.5))
    assert await collect(replies) == [b"1", b"2"]
    assert replies.reason == "stall"


async def test_interval_does_not_run_before_the_first_reply(
    ask: Callable[..., Awaitable[Replies]],
) -> None:
    async def never(say: object) -> None:
        return

    replies = await ask(never, Until(max_wait=0.3, max_interval=0.01))
    assert await collect(replies) == []
    assert replies.reason == "timeout"


async def test_interval_beyond_the_total_is_ignored(
    ask: Callable[..., Awaitable[Replies]],
) -> None:
    replies = await ask(two, Until(max_wait=1, max_interval=5))
    assert await collect(replies) == [b"1", b"2"]
    assert replies.reason == "timeout"


async def test_sentinel_ends_the_replies_and_is_none_itself(
    ask: Callable[..., Awaitable[Replies]],
) -> None:
    async def with_end(say: Callable[[bytes], Awaitable[None]]) -> None:
        for data in (b"1", b"2", b"", b"after the end"):
            await say(data)

    until = Until(max_wait=30, sentinel=lambda message: bool(message.data))
    replies = await ask(with_end, until)
    assert await collect(replies) == [b"1", b"2"]
    assert replies.reason == "sentinel"


async def test_empty_reply_is_a_reply(ask: Callable[..., Awaitable[Replies]]) -> None:
    async def empty(say: Callable[[bytes], Awaitable[None]]) -> None:
        await say(b"")

    replies = await ask(empty, Until(max_wait=30, max_count=1))
    assert await collect(replies) == [b""]


async def test_without_responders_it_ends_at_once(nc: NatsClient) -> None:
    replies = micro.Client(nc).request_many(nc.new_inbox(), until=Until(max_wait=600))
    assert await asyncio.wait_for(collect(replies), 60) == []
    assert replies.reason == "no responders"


async def test_time_of_the_consumer_is_not_charged(
    ask: Callable[..., Awaitable[Replies]],
) -> None:
    """The consumer takes longer than the total, and gets what arrived meanwhile."""
    replies = await ask(two, Until(max_wait=1, max_interval=0.8))
    found = []
    async with replies:
        async for message in replies:
            found.append(message.data)
            await asyncio.sleep(1.1)  # the consumer's own time, not synchronisation
    assert found == [b"1", b"2"]


async def test_default_is_the_total_of_the_client(nc: NatsClient) -> None:
    subject = nc.new_inbox()
    await nc.subscribe(subject)
    await fence(nc)
    replies = micro.Client(nc, default_max_wait=0.05).request_many(subject)
    assert await collect(replies) == []
    assert replies.reason == "timeout"


async def test_leaving_early_unsubscribes(nc: NatsClient, caller: NatsClient) -> None:
    """The second reply comes after the consumer has left: nobody receives it."""
    asked: asyncio.Queue[Msg] = asyncio.Queue()
    subject = nc.new_inbox()
    await nc.subscribe(subject, cb=asked.put)
    await fence(nc)
    replies = micro.Client(caller).request_many(subject, until=Until(max_wait=30))
    async with replies:
        request = await asked.get()
        await nc.publish(request.reply, b"1")
        async for message in replies:
            assert message.data == b"1"
            break
    await fence(caller)
    received = caller.stats["in_msgs"]
    await nc.publish(request.reply, b"2")
    await fence(nc)
    await fence(caller)
    assert caller.stats["in_msgs"] == received


async def test_ended_replies_stay_ended(ask: Callable[..., Awaitable[Replies]]) -> None:
    replies = await ask(two, Until(max_wait=30, max_count=1))
    assert await collect(replies) == [b"1"]
    with pytest.raises(StopAsyncIteration):
        await anext(replies)


async def test_flood_of_replies_ends_all_the_same(
    ask: Callable[..., Awaitable[Replies]],
) -> None:
    ended = asyncio.Event()

    async def flood(say: Callable[[bytes], Awaitable[None]]) -> None:
        while not ended.is_set():
            await say(b"again")
            await asyncio.sleep(0)

    replies = await ask(flood, Until(max_wait=0.3))
    async with asyncio.timeout(60):
        assert len(await collect(replies)) > 1
    ended.set()
    assert replies.reason == "timeout"


async def test_request_that_cannot_be_sent_leaves_nothing_behind(nc: NatsClient) -> None:
    replies = micro.Client(nc).request_many("a", b"x" * (nc.max_payload + 1))
    with pytest.raises(nats.errors.MaxPayloadError):
        await collect(replies)


async def test_closed_connection_ends_the_replies(
    ask: Callable[..., Awaitable[Replies]], caller: NatsClient
) -> None:
    replies = await ask(two, Until(max_wait=0.5, max_count=3))
    found = []
    async with replies:
        async for message in replies:
            found.append(message.data)
            await caller.close()
    assert found[0] == b"1"


async def test_request_carries_data_and_headers(nc: NatsClient, caller: NatsClient) -> None:
    async def echo(message: Msg) -> None:
        assert message.headers is not None
        await nc.publish(message.reply, message.data + message.headers["X"].encode())

    subject = nc.new_inbox()
    await nc.subscribe(subject, cb=echo)
    await fence(nc)
    until = Until(max_wait=30, max_count=1)
    replies = micro.Client(caller).request_many(subject, b"a", {"X": "b"}, until=until)
    assert await collect(replies) == [b"ab"]
