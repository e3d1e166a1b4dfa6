"""Fixtures for the tests of services.

`pytest_plugins = ["micro.pytest_plugin"]` in `conftest.py` enables them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from micro import testing
from micro.testing import NatsServer

__all__ = ["nats_server"]


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """Run a nats-server with JetStream on a free port for the whole session."""
    with testing.nats_server(jetstream=True) as server:
        yield server
