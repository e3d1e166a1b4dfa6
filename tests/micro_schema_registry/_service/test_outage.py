"""Apicurio is killed and started again while callers ask the service."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.apicurio import server_process
from tests.micro_schema_registry.conftest import running
from tests.micro_schema_registry.jetstream import JetStreamServer

from micro.testing import free_port
from micro_schema_registry import (
    CacheOptions,
    NatsRegistryClient,
    RegistryConnectionError,
    SchemaNotFoundError,
    ServiceConfig,
    ServiceOptions,
)

CALLERS = 20
TIMEOUT = 4.0
BACK_WITHIN = 5.0
KEPT = {"type": "fixed", "name": "Kept", "size": 1}


@dataclass
class Proxy:
    """A proxy before Apicurio that counts connections; each attempt during an outage needs one."""

    target: int
    connections: int = 0
    port: int = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.wait(
            {
                asyncio.create_task(_copy(reader, upstream[1])),
                asyncio.create_task(_copy(upstream[0], writer)),
            },
            return_when=asyncio.FIRST_COMPLETED,
        )
        writer.close()
        upstream[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass


@asynccontextmanager
async def apicurio(folder: Path, port: int) -> AsyncIterator[None]:
    """Run a server of one's own, without holding up the event loop."""
    server = server_process(folder, port=port)
    await asyncio.to_thread(server.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def answering(port: int) -> None:
    """Wait until a look-up is answered: a fresh JVM takes seconds for the first."""
    async with httpx.AsyncClient(timeout=60) as client:
        url = f"http://127.0.0.1:{port}/apis/registry/v3/groups/outage/artifacts/user-0/versions"
        response = await client.get(f"{url}/branch=latest/content")
        assert response.status_code in {200, 404}


@dataclass
class Load:
    """Callers that register and look up without pause, and their results."""

    client: NatsRegistryClient
    answered: int = 0
    failures: list[RegistryConnectionError] = field(default_factory=list)
    slowest_failure: float = 0.0
    done: bool = False

    async def call(self, number: int) -> None:
        schema: dict[str, Any] = {"type": "record", "name": f"User{number}", "fields": []}
        while not self.done:
            began = time.monotonic()
            try:
                await self.client.get_schema(f"user-{number}")
                self.answered += 1
            except SchemaNotFoundError:  # what was in memory is gone after the restart
                await self._register(number, schema)
            except RegistryConnectionError as error:
                self.failures.append(error)
                self.slowest_failure = max(self.slowest_failure, time.monotonic() - began)

    async def _register(self, number: int, schema: dict[str, Any]) -> None:
        try:
            await self.client.register_schema(f"user-{number}", schema)
        except RegistryConnectionError as error:
            self.failures.append(error)

    @asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """End the callers with the block, whatever ends it."""
        try:
            yield
        finally:
            self.done = True

    async def until(self, condition: str, count: int, limit: float) -> None:
        """Wait until so many more calls have been answered, or have failed."""
        async with asyncio.timeout(limit):
            start = self._count(condition)
            while self._count(condition) < start + count:
                await asyncio.sleep(0.01)

    def _count(self, condition: str) -> int:
        return self.answered if condition == "answered" else len(self.failures)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_apicurio_dies_and_comes_back_under_load(
    apicurio_url: str, jetstream: JetStreamServer, nc: Client, tmp_path: Path
) -> None:
    proxy = Proxy(free_port())
    async with proxy.run():
        url = f"http://127.0.0.1:{proxy.port}/apis/registry/v3"
        plain = ServiceOptions(
            group="outage.plain", cache=CacheOptions(latest_ttl=0, negative_ttl=0)
        )
        stale = ServiceOptions(
            group="outage.stale", cache=CacheOptions(latest_ttl=0, serve_stale=True)
        )
        async with (
            running(jetstream, ServiceConfig(backend="apicurio", url=url, options=plain)),
            running(jetstream, ServiceConfig(backend="apicurio", url=url, options=stale)),
        ):
            load = Load(NatsRegistryClient(nc, "outage", prefix="outage.plain", timeout=TIMEOUT))
            forgiving = NatsRegistryClient(nc, "outage", prefix="outage.stale", timeout=30)
            # Ended by a flag: before Python 3.12 a cancellation can be lost in wait_for.
            async with asyncio.TaskGroup() as group, load.ending():
                async with apicurio(tmp_path, proxy.target):
                    for number in range(CALLERS):
                        group.create_task(load.call(number))
                    await load.until("answered", 10 * CALLERS, 60)
                    known = await forgiving.register_schema("kept", KEPT)
                    assert await forgiving.get_schema("kept") == known

                # Those in flight fail first; then nothing but the outage is seen.
                await load.until("failed", 2 * CALLERS, 30)
                load.failures.clear()
                load.slowest_failure = 0.0
                began, before = time.monotonic(), proxy.connections
                await load.until("failed", 50 * CALLERS, 30)
                tries, lasted = proxy.connections - before, time.monotonic() - began
                failures, slowest = list(load.failures), load.slowest_failure
                assert await forgiving.get_schema("kept") == known

                async with apicurio(tmp_path, proxy.target):
                    await answering(proxy.target)
                    ready = time.monotonic()
                    await load.until("answered", 1, 60)
                    back = time.monotonic() - ready
                    await load.until("answered", 10 * CALLERS, 60)
                    load.done = True

    print(
        f"{len(failures)} failures, slowest after {slowest:.2f} s; "
        f"{tries} tries in {lasted:.2f} s; back after {back:.2f} s"
    )
    assert {error.status for error in failures} == {503}
    assert all("http://127.0.0.1" in str(error) for error in failures)
    assert slowest < TIMEOUT
    assert tries <= 5 + 5 * lasted, "one probe per second, and what two services retry of it"
    assert back < BACK_WITHIN
