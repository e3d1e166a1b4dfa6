"""Registries for tests: every backend of the contract suite, and a real Apicurio behind one of them."""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.micro_schema_registry.apicurio import ApicurioUnavailable, install, shared_server
from tests.micro_schema_registry.openapi import check_request

from micro_schema_registry import AsyncApicurioRegistryClient, SchemaRegistry

NewRegistry = Callable[[], Awaitable[SchemaRegistry]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test that needs Apicurio the time to download it."""
    for item in items:
        if {"apicurio_home", "new_registry"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def apicurio_home() -> Path:
    """The folder of an Apicurio Registry that can be started."""
    try:
        return install()
    except ApicurioUnavailable as exc:
        if os.environ.get("APICURIO_REQUIRED") == "1":
            pytest.fail(f"APICURIO_REQUIRED=1, but: {exc}")
        pytest.skip(f"no Apicurio Registry: {exc}")


@pytest.fixture(scope="session")
def apicurio_url(apicurio_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a real Apicurio Registry, shared by all workers."""
    base = tmp_path_factory.getbasetemp()
    with shared_server(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as url:
        yield url


@pytest.fixture
def group_id() -> str:
    """A group that no other test uses."""
    return f"group-{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def apicurio_backend(
    request: pytest.FixtureRequest, group_id: str
) -> AsyncIterator[NewRegistry]:
    """Open clients of a real Apicurio, each request checked against the official OpenAPI document."""
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


BACKENDS = {"apicurio": apicurio_backend}
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
    """A client with the patience that a busy machine needs."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A blocking client with the patience that a busy machine needs."""
    with httpx.Client(timeout=60) as client:
        yield client
