"""Servers for the etcd tests: real ones, on free ports, of every version at hand."""

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client as NatsClient
from tests.micro_etcd import versions
from tests.micro_etcd.versions import Binaries, Missing

from micro.testing import nats_server
from micro_etcd import EtcdClient
from micro_etcd.testing import EtcdServer


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    """Return the etcd of a test: 3.5, or each in turn under `every_version`."""
    version: str = getattr(request, "param", "3.5")
    try:
        return versions.find(version)
    except Missing as error:
        if version == "3.5" or os.environ.get("INTEROP_REQUIRED") == "1":
            pytest.fail(f"etcd {version} is required: {error}")
        pytest.skip(f"NOT RUN on etcd {version}: {error}")


@pytest.fixture(autouse=True)
def note_version(request: pytest.FixtureRequest) -> None:
    """Leave the version in the test's report, for `pytest_terminal_summary`."""
    if "binaries" in request.fixturenames:
        request.node.user_properties.append(("etcd", request.getfixturevalue("binaries").version))


@pytest.fixture(scope="session")
def shared_server(binaries: Binaries) -> Iterator[EtcdServer]:
    """One server for all tests that harm nothing; each uses keys of its own."""
    with EtcdServer(binaries.etcd) as server:
        yield server


@pytest.fixture
def server(binaries: Binaries) -> Iterator[EtcdServer]:
    """Run a server for one test, to be killed, frozen or wiped."""
    with EtcdServer(binaries.etcd) as server:
        yield server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Run a nats-server for this worker; `server` is an etcd here."""
    with nats_server() as running:
        yield running.url


@pytest.fixture
async def caller(server_url: str) -> AsyncIterator[NatsClient]:
    """Connect a caller of the service."""
    client = await nats.connect(server_url)
    yield client
    await client.close()


@pytest.fixture
def etcd(shared_server: EtcdServer) -> EtcdClient[str]:
    return EtcdClient(shared_server.address)


@pytest.fixture
def prefix() -> str:
    """Return a key prefix of this test alone."""
    return f"/{uuid4().hex}/"
