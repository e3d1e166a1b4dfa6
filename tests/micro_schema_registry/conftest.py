"""Servers for the tests of the schema registry."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.jetstream import JetStreamServer, single

from micro_schema_registry._store import EmbeddedRegistry


@pytest.fixture(scope="session")
def jetstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JetStreamServer]:
    """One server for all tests of a worker."""
    with single(tmp_path_factory.mktemp("jetstream")) as server:
        yield server


@pytest.fixture
async def nc(jetstream: JetStreamServer) -> AsyncIterator[Client]:
    async with jetstream.connect() as connection:
        yield connection


@pytest.fixture
def bucket() -> str:
    """A bucket of the test's own."""
    return f"schemas-{uuid.uuid4().hex}"


@pytest.fixture
async def embedded(nc: Client, bucket: str) -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry(nc, "my-group", bucket=bucket) as registry:
        yield registry
