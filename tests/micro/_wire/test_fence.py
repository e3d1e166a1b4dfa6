"""Knowing that the server has seen what was sent."""

from __future__ import annotations

import asyncio

import nats
import pytest
from nats.aio.client import Client as NatsClient

from micro import ConnectError
from micro._wire.fence import fence
from micro.testing import free_port, nats_server


async def test_server_knows_the_subscriptions_behind_a_fence(
    nc: NatsClient, caller: NatsClient
) -> None:
    for _ in range(50):
        subject = nc.new_inbox()
        received: asyncio.Queue[object] = asyncio.Queue()
        await nc.subscribe(subject, cb=received.put)
        await fence(nc)
        await caller.publish(subject)
        await caller.flush()
        async with asyncio.timeout(30):
            await received.get()


async def test_messages_sent_before_are_handed_over(nc: NatsClient, caller: NatsClient) -> None:
    subject = nc.new_inbox()
    subscription = await nc.subscribe(subject)
    await fence(nc)
    for _ in range(500):
        await caller.publish(subject, b"x" * 1000)
    await fence(caller)
    await fence(nc)
    assert subscription.pending_msgs == 500


async def test_cancelled_fence_does_no_harm(nc: NatsClient) -> None:
    for _ in range(20):
        task = asyncio.create_task(fence(nc))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    await fence(nc)
    assert nc.is_connected


async def test_those_who_wait_at_the_same_time_share_one_ping(nc: NatsClient) -> None:
    """Not those who come when it has been sent: their commands may be behind it."""
    first = [asyncio.create_task(fence(nc)) for _ in range(100)]
    while not (sent := [task for task in asyncio.all_tasks() if is_ping(task)]):
        await asyncio.sleep(0)
    later = asyncio.create_task(fence(nc))
    while len(sent) < 2 and not later.done():
        await asyncio.sleep(0)
        sent += [task for task in asyncio.all_tasks() if is_ping(task) and task not in sent]
    await asyncio.gather(*first, later)
    assert len(sent) == 2


async def test_those_who_share_a_ping_have_limits_of_their_own() -> None:
    with nats_server() as server:
        client = await nats.connect(server.url)
        server.freeze()
        try:
            patient = asyncio.create_task(fence(client, timeout=60))
            cancelled = asyncio.create_task(fence(client, timeout=60))
            with pytest.raises(ConnectError, match=r"did not answer within 0\.1 s"):
                await fence(client, timeout=0.1)
            cancelled.cancel()
            await asyncio.wait({cancelled})
            assert not patient.done()
        finally:
            server.thaw()
        await patient
        await client.close()


async def test_wait_that_is_broken_off_before_it_begins_is_told(nc: NatsClient) -> None:
    """As at the end of an event loop, which cancels whatever is left."""
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(fence(nc))
    await asyncio.sleep(0)
    (of_the_round,) = asyncio.all_tasks() - before - {waiting}
    of_the_round.cancel()
    with pytest.raises(ConnectError) as caught:
        await waiting
    assert str(caught.value) == "waiting for the server was broken off"
    await fence(nc)


async def test_closed_connection_is_told(nc: NatsClient) -> None:
    await nc.close()
    with pytest.raises(ConnectError) as caught:
        await fence(nc)
    assert str(caught.value) == "the connection is closed"


async def test_connection_that_is_closed_as_the_ping_goes_out_is_told(nc: NatsClient) -> None:
    async def close() -> None:
        await asyncio.sleep(0)
        await nc.close()

    waiting, closing = asyncio.create_task(fence(nc)), asyncio.create_task(close())
    with pytest.raises(ConnectError) as caught:
        await waiting
    assert str(caught.value) == "the connection is closed"
    await closing


async def test_silent_server_is_told_and_the_connection_survives() -> None:
    with nats_server() as server:
        client = await nats.connect(server.url)
        server.freeze()
        try:
            with pytest.raises(ConnectError) as caught:
                await fence(client, timeout=0.2)
            assert str(caught.value) == "the server did not answer within 0.2 s"
        finally:
            server.thaw()
        await fence(client, timeout=60)
        await client.close()


async def test_fence_waits_for_a_reconnect_when_told_to() -> None:
    port = free_port()
    lost = asyncio.Event()

    async def on_lost() -> None:
        lost.set()

    with nats_server(port=port) as server:
        client = await nats.connect(
            server.url, disconnected_cb=on_lost, reconnect_time_wait=0.05, error_cb=ignore
        )
    async with asyncio.timeout(60):
        await lost.wait()
    with pytest.raises(ConnectError):
        await fence(client, reconnects=False)
    waiting = asyncio.create_task(fence(client, timeout=60))
    with nats_server(port=port):
        await waiting
        await client.close()


@pytest.mark.parametrize("closed", [False, True])
async def test_round_trips_of_a_lost_connection_leave_no_task(closed: bool) -> None:
    """nats-py forgets the PINGs under way when it reconnects, and when it closes."""
    with nats_server() as server, nats_server() as other:
        client = await nats.connect(
            [server.url, other.url], reconnect_time_wait=0.05, dont_randomize=True, error_cb=ignore
        )
        caller = await nats.connect(other.url)
        tasks = asyncio.all_tasks()
        server.freeze()
        for _ in range(3):
            with pytest.raises(ConnectError):
                await fence(client, timeout=0.1)
        assert len([task for task in asyncio.all_tasks() - tasks if is_ping(task)]) == 3
        if closed:
            await client.close()
        else:
            server.process.kill()
            await fence(client, timeout=60)
        await fence(caller, timeout=60)  # on whatever connection: it looks after all of them
        await asyncio.sleep(0)
        assert not any(is_ping(task) for task in asyncio.all_tasks())
        await client.close()
        await caller.close()


def is_ping(task: asyncio.Task[object]) -> bool:
    return "rtt" in repr(task.get_coro())


async def ignore(error: Exception) -> None:
    return
