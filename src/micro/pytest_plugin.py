"""Fixtures for the tests of services; switch them on in ``conftest.py``.

pytest_plugins = ["micro.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from micro import testing
from micro.testing import NatsServer

__all__ = ["nats_server"]


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """Run a real nats-server on a free port, with JetStream, for all tests of the session."""
    with testing.nats_server(jetstream=True) as server:
        yield server
