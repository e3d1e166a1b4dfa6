"""What tests of several packages share: a real server for each worker, and connections to it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator

import hypothesis
import nats
import pytest
from nats.aio.client import Client as NatsClient

from micro._wire import fast_transport
from micro.testing import NatsServer, nats_server

# Examples are not timed: the machine may be busy with other things.
hypothesis.settings.register_profile(
    "shared",
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("shared")

# A shell that starts the tests in the background makes them and their programs ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which versions of etcd were really run."""
    seen = {
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name == "etcd"
    }
    if seen:
        terminalreporter.write_line(f"etcd versions tested: {', '.join(sorted(seen))}")


@pytest.fixture(scope="session")
def server() -> Iterator[NatsServer]:
    """Run one nats-server for this worker process; tests that stop theirs start another."""
    with nats_server() as running:
        yield running


@pytest.fixture
async def nc(server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect the part under test as a context does; see MICRO_TRANSPORT."""
    client = NatsClient()
    fast_transport.install(client, [server.url])
    await client.connect(server.url)
    yield client
    await client.close()


@pytest.fixture
async def caller(server: NatsServer) -> AsyncIterator[NatsClient]:
    """Open a second connection, to ask the part under test from outside."""
    client = await nats.connect(server.url)
    yield client
    await client.close()
