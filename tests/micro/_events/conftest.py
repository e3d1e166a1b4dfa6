"""A server with JetStream for each worker, and the part under test connected as a context does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import nats
import pytest
from nats.aio.client import Client as NatsClient

from micro._wire import fast_transport
from micro.testing import NatsServer, nats_server


@pytest.fixture(scope="session")
def js_server() -> Iterator[NatsServer]:
    """Run one nats-server with JetStream for this worker process."""
    with nats_server(jetstream=True) as running:
        yield running


@pytest.fixture
async def nc(js_server: NatsServer) -> AsyncIterator[NatsClient]:
    client = NatsClient()
    fast_transport.install(client, [js_server.url])
    await client.connect(js_server.url)
    yield client
    await client.close()


@pytest.fixture
async def caller(js_server: NatsServer) -> AsyncIterator[NatsClient]:
    client = await nats.connect(js_server.url)
    js = client.jetstream()
    yield client
    for stream in await js.streams_info():
        await js.delete_stream(str(stream.config.name))
    await client.close()
