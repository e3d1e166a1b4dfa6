"""Servers for the etcd tests: real ones, on free ports, of every version at hand."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from micro_etcd import EtcdClient
from micro_etcd.testing import EtcdServer


@pytest.fixture(scope="session")
def shared_server() -> Iterator[EtcdServer]:
    """One server for all tests that harm nothing; each uses keys of its own."""
    with EtcdServer() as server:
        yield server


@pytest.fixture
def etcd(shared_server: EtcdServer) -> EtcdClient[str]:
    return EtcdClient(shared_server.address)


@pytest.fixture
def prefix() -> str:
    """A key prefix nobody else uses."""
    return f"/{uuid4().hex}/"
