"""Registries for tests: every backend, over a real Apicurio and a real nats-server."""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.apicurio import ApicurioUnavailable, install, shared_server
from tests.micro_schema_registry.jetstream import JetStreamServer, single
from tests.micro_schema_registry.openapi import check_request

import micro
from micro_schema_registry import (
    AsyncApicurioRegistryClient,
    EmbeddedRegistry,
    NatsRegistryClient,
    SchemaRegistry,
    ServiceConfig,
    ServiceOptions,
    setup,
)

NewRegistry = Callable[[], Awaitable[SchemaRegistry]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test that needs Apicurio the time to download it."""
    for item in items:
        if {"apicurio_home", "new_registry"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def apicurio_home() -> Path:
    """Install an Apicurio Registry and return its folder."""
    try:
        return install()
    except ApicurioUnavailable as exc:
        if os.environ.get("APICURIO_REQUIRED") == "1":
            pytest.fail(f"APICURIO_REQUIRED=1, but: {exc}")
        pytest.skip(f"no Apicurio Registry: {exc}")


@pytest.fixture(scope="session")
def apicurio_url(apicurio_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a real Apicurio Registry, which all workers share."""
    base = tmp_path_factory.getbasetemp()
    with shared_server(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as url:
        yield url


@pytest.fixture
def group_id() -> str:
    """Return the id of a group that no other test uses."""
    return f"group-{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def apicurio_backend(
    request: pytest.FixtureRequest, group_id: str
) -> AsyncIterator[NewRegistry]:
    """Open clients of a real Apicurio that check each request against its OpenAPI document."""
    url = request.getfixturevalue("apicurio_url")

    async def check(sent: httpx.Request) -> None:
        check_request(sent)

    async with AsyncExitStack() as stack:

        async def new() -> SchemaRegistry:
            http = httpx.AsyncClient(event_hooks={"request": [check]}, timeout=30)
            client = AsyncApicurioRegistryClient(url, group_id, http_client=http)
            await stack.enter_async_context(http)
            return await stack.enter_async_context(client)

        yield new


@pytest.fixture(scope="session")
def jetstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JetStreamServer]:
    """One nats-server for all tests of a worker."""
    with single(tmp_path_factory.mktemp("jetstream")) as server:
        yield server


@pytest.fixture
def new_jetstream(tmp_path: Path) -> Iterator[JetStreamServer]:
    """Start a nats-server for one test, which may kill it."""
    with single(tmp_path) as server:
        yield server


@pytest.fixture
async def nc(jetstream: JetStreamServer) -> AsyncIterator[Client]:
    async with jetstream.connect() as connection:
        yield connection


@pytest.fixture
def bucket() -> str:
    """Return the name of a bucket for one test."""
    return f"schemas-{uuid.uuid4().hex}"


@pytest.fixture
async def embedded(nc: Client, bucket: str) -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry(nc, "my-group", bucket=bucket) as registry:
        yield registry


@asynccontextmanager
async def embedded_backend(
    request: pytest.FixtureRequest, group_id: str
) -> AsyncIterator[NewRegistry]:
    """Open embedded registries of one bucket, each over a connection of its own."""
    server: JetStreamServer = request.getfixturevalue("jetstream")
    bucket: str = request.getfixturevalue("bucket")

    async with AsyncExitStack() as stack:

        async def new() -> SchemaRegistry:
            connection = await stack.enter_async_context(server.connect())
            registry = EmbeddedRegistry(connection, group_id, bucket=bucket)
            return await stack.enter_async_context(registry)

        yield new


@asynccontextmanager
async def running(server: JetStreamServer, config: ServiceConfig) -> AsyncIterator[micro.Context]:
    """Run the registry service over a connection of its own."""
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(server.url))
        await setup(ctx, config)
        yield ctx


@asynccontextmanager
async def service_backend(
    request: pytest.FixtureRequest, group_id: str, url: str | None = None
) -> AsyncIterator[NewRegistry]:
    """Run two instances of the service, and open clients with a connection each."""
    server: JetStreamServer = request.getfixturevalue("jetstream")
    prefix = f"registry-{uuid.uuid4().hex}"
    config = ServiceConfig(
        backend="embedded" if url is None else "apicurio",
        url=url,
        bucket=request.getfixturevalue("bucket"),
        options=ServiceOptions(group=prefix, allow_delete=True),
    )
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(running(server, config))

        async def new() -> SchemaRegistry:
            connection = await stack.enter_async_context(server.connect())
            client = NatsRegistryClient(connection, group_id, prefix=prefix, timeout=30)
            return await stack.enter_async_context(client)

        yield new


@asynccontextmanager
async def apicurio_service(
    request: pytest.FixtureRequest, group_id: str
) -> AsyncIterator[NewRegistry]:
    """Put the service in front of a real Apicurio."""
    url = request.getfixturevalue("apicurio_url")
    async with service_backend(request, group_id, url) as new:
        yield new


BACKENDS = {
    "apicurio": apicurio_backend,
    "embedded": embedded_backend,
    "service-embedded": service_backend,
    "service-apicurio": apicurio_service,
}
"""Every implementation of SchemaRegistry: opens clients of one group that share one store."""


@pytest.fixture(params=BACKENDS)
async def new_registry(request: pytest.FixtureRequest, group_id: str) -> AsyncIterator[NewRegistry]:
    """Open any number of clients of one registry and group."""
    async with BACKENDS[request.param](request, group_id) as new:
        yield new


@pytest.fixture
async def registry(new_registry: NewRegistry) -> SchemaRegistry:
    """One client of each backend."""
    return await new_registry()


@pytest.fixture
async def async_http() -> AsyncIterator[httpx.AsyncClient]:
    """Open a client with the time-outs that a busy machine needs."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """Open a blocking client with the time-outs that a busy machine needs."""
    with httpx.Client(timeout=60) as client:
        yield client
