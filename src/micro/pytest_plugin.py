"""Fixtures for the tests of services; pytest finds them once natsmicro is installed.

    async def test_add(micro_app):
        async with micro_app(setup) as app:
            answer = await app.client.request("math.add", b'{"a": 1, "b": 2}')
        assert answer.data == b"3"

The fixtures are plain functions, so that they work with pytest-asyncio, anyio and `asyncio.run`.
Servers run for a whole session, and start when the first test needs them.

    nats_server    a nats-server with JetStream (`micro.testing.NatsServer`)
    micro_app      runs a setup function on it, with a client
    etcd_server    an etcd (`micro_etcd.testing.EtcdServer`)
    registry       runs a schema registry on the nats-server, empty each time
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import pytest

from micro import options, testing
from micro._client.client import Client
from micro._connection.settings import ConnectOption
from micro._program.context import Context
from micro.testing import NatsServer

__all__ = ["MicroApp", "RunningApp", "etcd_server", "micro_app", "nats_server", "registry"]


@dataclass(frozen=True)
class RunningApp:
    """A program that is set up, and a caller of it.

    Attributes:
        context: The context of the program; `context.services` are its services.
        client: A client with a connection of its own.
        url: The URL of the nats-server.
    """

    context: Context
    client: Client
    url: str


class MicroApp(Protocol):
    """The type of the fixture `micro_app`."""

    def __call__(
        self,
        setup: Callable[..., Coroutine[Any, Any, None]],
        /,
        *connect_options: ConnectOption,
        **resources: Any,
    ) -> AbstractAsyncContextManager[RunningApp]:
        """Run a setup function, and stop everything at the end of the `async with` block.

        Args:
            setup: The async setup function of a program.
            connect_options: Values from `micro.options`, for both connections.
            resources: Keyword arguments of the setup function, such as a database of the test in
                place of the real one.
        """


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """Run a nats-server with JetStream on a free port for the whole session."""
    with testing.nats_server(jetstream=True) as server:
        yield server


@pytest.fixture
def micro_app(nats_server: NatsServer) -> MicroApp:
    """Return a function that runs a setup function; see `MicroApp`."""

    @asynccontextmanager
    async def run(
        setup: Callable[..., Coroutine[Any, Any, None]],
        /,
        *connect_options: ConnectOption,
        **resources: Any,
    ) -> AsyncIterator[RunningApp]:
        to = (options.servers(nats_server.url), *connect_options)
        async with Context() as context, Context() as caller:
            await context.connect(*to)
            await caller.connect(*to)
            await setup(context, **resources)
            yield RunningApp(context, Client(caller), nats_server.url)

    return run


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[Any]:
    """Run an etcd for the whole session (extra `etcd`, and an etcd program)."""
    with import_module("micro_etcd.testing").EtcdServer() as server:
        yield server


@pytest.fixture
def registry(micro_app: MicroApp) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Return a function that runs an empty schema registry and yields a client of it.

    `async with registry() as client`: a `micro_schema_registry.NatsRegistryClient` (extra
    `schema-registry`). Clients of the program under test find the registry at its usual subjects.
    """
    package = import_module("micro_schema_registry")

    @asynccontextmanager
    async def run(group_id: str = "default") -> AsyncIterator[Any]:
        bucket = f"test-{secrets.token_hex(8)}"
        config = package.ServiceConfig(bucket=bucket)
        async with micro_app(package.setup, config=config) as app:
            nc = app.context.client
            try:
                yield package.NatsRegistryClient(nc, group_id)
            finally:
                await nc.jetstream().delete_key_value(bucket)

    return run
