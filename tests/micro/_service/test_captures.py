"""Streams that capture the subjects of endpoints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, StreamCaptureError
from micro.testing import NatsServer, nats_server


@pytest.fixture(scope="module")
def jetstream() -> Iterator[NatsServer]:
    with nats_server(jetstream=True) as running:
        yield running


@pytest.fixture
async def nc(jetstream: NatsServer) -> AsyncIterator[NatsClient]:
    client = await nats.connect(jetstream.url)
    await client.jetstream().add_stream(name="AUDIT", subjects=["orders.>"])
    yield client
    await client.jetstream().delete_stream("AUDIT")
    await client.close()


async def echo(request: Request) -> None:
    await asyncio.sleep(0.05)  # JetStream answers before
    await request.respond(request.data())


async def test_an_acknowledgement_in_place_of_an_answer_is_an_error(nc: NatsClient) -> None:
    async with micro.add_service(nc, "orders", "1.0.0") as service:
        await service.add_endpoint("add", echo, "orders.add")
        with pytest.raises(StreamCaptureError) as caught:
            await micro.Client(nc).request("orders.add", b"x", timeout=2)
    assert (caught.value.subject, caught.value.stream) == ("orders.add", "AUDIT")


async def test_an_answer_that_only_looks_like_one_is_an_answer(nc: NatsClient) -> None:
    async def answer(request: Request) -> None:
        await request.respond(request.data())

    async with micro.add_service(nc, "others", "1.0.0") as service:
        await service.add_endpoint("free", answer, "free")
        for data in (b'{"stream": "x"}', b'{"stream":"x","seq":1,"more":2}', b'{"stream":'):
            assert (await micro.Client(nc).request("free", data, timeout=2)).data == data


async def test_a_captured_endpoint_is_named_in_the_log(
    nc: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "micro.service")
    async with micro.add_service(nc, "orders", "1.0.0") as service:
        await service.add_endpoint("free", echo, "free")
        await service.add_endpoint("add", echo, "orders.add")
        async with asyncio.timeout(10):
            while not caplog.messages:
                await asyncio.sleep(0.01)
    assert caplog.messages == [
        "endpoint 'add' of service 'orders': stream 'AUDIT' captures 'orders.add', so callers get "
        "its acknowledgement instead of an answer; exclude the subject, or set no_ack"
    ]
