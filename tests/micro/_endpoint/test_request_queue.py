"""The queue before the slots of an endpoint, and what becomes of those that wait too long."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, ServiceError
from micro._endpoint.options import EndpointOptions
from micro._endpoint.request_queue import RequestQueue
from micro._handlers.nats_request import NatsRequest


def request(data: bytes) -> NatsRequest:
    return NatsRequest(b"subject", b"reply", data, None)


def none(request: NatsRequest) -> None:
    raise AssertionError("nothing is late here")


async def test_order_of_arrival_and_bounds() -> None:
    waiting = RequestQueue(EndpointOptions(pending_msgs_limit=2, pending_bytes_limit=5), none)
    first, second = request(b"123"), request(b"45")

    assert not waiting
    assert waiting.keep(first)
    assert not waiting.keep(request(b"456"))
    assert waiting.keep(second)
    assert not waiting.keep(request(b""))
    assert [waiting.take(), waiting.take()] == [first, second]
    assert waiting.keep(request(b"12345"))
    assert len(waiting) == 1


async def test_late_ones_are_handed_out_in_order_and_once() -> None:
    late: asyncio.Queue[NatsRequest] = asyncio.Queue()
    waiting = RequestQueue(EndpointOptions(timeout=0.05), late.put_nowait)
    served, *others = [request(b"x") for _ in range(4)]
    for each in (served, *others):
        waiting.keep(each)
    assert waiting.take() is served

    async with asyncio.timeout(20):
        assert [await late.get() for _ in others] == others
        again = request(b"y")
        waiting.keep(again)
        assert await late.get() is again
    assert not waiting
    assert late.empty()


async def test_request_that_waits_longer_than_the_time_limit_is_refused_unrun(
    nc: NatsClient, caller: NatsClient
) -> None:
    """Requests to a handler that hangs do not wait one for the other."""
    ran = 0

    async def hanging(request: Request) -> None:
        nonlocal ran
        ran += 1
        await asyncio.Event().wait()

    codes: Counter[int] = Counter()

    async def ask() -> None:
        with pytest.raises(ServiceError) as caught:
            await micro.Client(caller).request("late.e", timeout=30)
        codes[caught.value.code] += 1

    async with micro.add_service(nc, "late", "1.0.0") as service:
        await service.add_endpoint("e", hanging, subject="late.e", max_in_flight=1, timeout=0.5)
        await asyncio.gather(*(ask() for _ in range(20)))
        (stats,) = service.stats().endpoints

    assert ran == codes[504]
    assert 1 <= ran <= 3
    assert codes[503] == 20 - ran
    assert (stats.num_requests, stats.num_errors) == (20, 20)
    assert stats.data["micro"]["in_flight"] == 0
    assert stats.data["micro"]["rejected"] == 20 - ran
