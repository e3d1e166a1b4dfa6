"""Departures under a load of events: every message is handled, and few twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client as NatsClient
from tests.runtime.conftest import Instance

import micro
from micro.testing import NatsServer, free_port, nats_server

from .consuming import PLACES

PROGRAM = Path(__file__).with_name("consuming.py")
LONG = 120.0
HELD = 2 * PLACES
"""Messages that one instance holds: those that run, and those that wait."""

NODE = """
server_name: {name}
jetstream {{ store_dir: "{store}" }}
cluster {{ name: "{cluster}", listen: "127.0.0.1:{port}", routes: [{routes}] }}
"""


@dataclass
class Handled:
    """The messages that were stored, and how often each was handled.

    Attributes:
        stored: The number of messages.
        counts: How often each was handled.
        held: The number of messages that the instances may have held when something was killed.
    """

    stored: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    held: int = 0

    @property
    def lost(self) -> int:
        """The number of messages that no handler has finished."""
        return len(self.failures)

    @property
    def failures(self) -> list[str]:
        """The messages that were lost."""
        return [f"message {n}" for n in range(self.stored) if n not in self.counts]

    @property
    def repeated(self) -> int:
        """The number of runs beyond one for each message."""
        return self.counts.total() - len(self.counts)

    def __str__(self) -> str:
        return f"{self.lost} of {self.stored} lost, {self.repeated} repeated (bar {self.held})"


class Workers:
    """Instances of the consumer, each a process, and what they have handled."""

    def __init__(self, urls: list[str], file: Path) -> None:
        self._arguments = (sys.executable, str(PROGRAM), ",".join(urls), str(file))
        self._file = file
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Start one more instance."""
        process = await asyncio.create_subprocess_exec(
            *self._arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        self.processes.append(process)
        await Instance(process).ready()

    async def replace(self) -> None:
        """Kill the oldest instance and start another."""
        oldest = self.processes.pop(0)
        oldest.kill()
        await oldest.communicate()
        await self.start()

    def counts(self) -> Counter[int]:
        """Return how often each number was handled."""
        return Counter(map(int, self._file.read_bytes().split()))


@contextlib.asynccontextmanager
async def working(urls: list[str], count: int) -> AsyncIterator[Workers]:
    """Run some instances while the block runs."""
    with tempfile.NamedTemporaryFile() as file:
        workers = Workers(urls, Path(file.name))
        try:
            await asyncio.gather(*(workers.start() for _ in range(count)))
            yield workers
        finally:
            for process in workers.processes:
                process.kill()
                await process.communicate()


class Publisher:
    """Stores numbers at a steady rate, each until a stream has it."""

    def __init__(self, nc: NatsClient, rate: float) -> None:
        self.stored = 0
        self._client = micro.Client(nc)
        self._rate = rate

    @contextlib.asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publish while the block runs, then wait until everything is stored."""
        ended = asyncio.Event()
        task = asyncio.create_task(self._publish(ended))
        try:
            yield
        finally:
            ended.set()
            await task

    async def until(self, count: int) -> None:
        """Wait until so many are stored."""
        async with asyncio.timeout(LONG):
            while self.stored < count:
                await asyncio.sleep(0.01)

    async def _publish(self, ended: asyncio.Event) -> None:
        began, numbers = time.monotonic(), itertools.count()
        sent = 0
        async with asyncio.TaskGroup() as tasks:
            while not ended.is_set():
                due = int((time.monotonic() - began) * self._rate)
                for number in itertools.islice(numbers, min(due - sent, 100)):
                    tasks.create_task(self._store(number))
                    sent += 1
                await asyncio.sleep(0.005)

    async def _store(self, number: int) -> None:
        async with asyncio.timeout(LONG):
            while True:
                try:
                    await self._client.publish(
                        "work.x", number, id=f"n{number}", ack=True, timeout=3
                    )
                except (nats.errors.Error, micro.MicroError, OSError):
                    await asyncio.sleep(0.1)
                else:
                    self.stored += 1
                    return


async def everything(nc: NatsClient, workers: Workers, publisher: Publisher) -> Handled:
    """Wait until all is handled and the server knows; return what was."""
    js = nc.jetstream()
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        with contextlib.suppress(nats.errors.Error, OSError):
            info = await js.consumer_info("WORK", "work-handle")
            if not info.num_pending and not info.num_ack_pending:
                break
        await asyncio.sleep(0.1)
    else:
        raise TimeoutError("messages are stuck")
    return Handled(publisher.stored, workers.counts())


@contextlib.asynccontextmanager
async def connected(urls: list[str], replicas: int = 1) -> AsyncIterator[NatsClient]:
    """Connect, and make the stream as soon as the servers can keep it."""

    async def ignore(error: Exception) -> None: ...

    nc = await nats.connect(
        urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=ignore
    )
    try:
        js = nc.jetstream()

        async def make() -> str:
            await js.add_stream(
                name="WORK", subjects=["work.>"], num_replicas=replicas, duplicate_window=600
            )
            return "made"

        await answered(make)
        yield nc
    finally:
        await nc.close()


async def killed_instances(kills: int = 10, rate: float = 1000) -> Handled:
    """Kill instances and replace them, one after the other."""
    with nats_server(jetstream=True) as server:
        urls = [server.url]
        async with connected(urls) as nc, working(urls, 2) as workers:
            publisher = Publisher(nc, rate)
            async with publisher.publishing():
                for number in range(kills):
                    await publisher.until((number + 1) * 300)
                    await workers.replace()
            handled = await everything(nc, workers, publisher)
    handled.held = kills * HELD
    return handled


async def restarts_of_the_server(
    restarts: int = 5, rate: float = 1000, *, killed: bool = False
) -> Handled:
    """Stop the server and start it again on its store, one time after the other.

    A server that is killed has not written the last acknowledgements.
    """
    port, instances = free_port(), 2
    with tempfile.TemporaryDirectory() as store, contextlib.ExitStack() as stack:

        def start() -> NatsServer:
            config = f'jetstream {{ store_dir: "{store}" }}'
            return stack.enter_context(nats_server(port=port, config=config))

        server = start()
        urls = [server.url]
        async with connected(urls) as nc, working(urls, instances) as workers:
            publisher = Publisher(nc, rate)
            async with publisher.publishing():
                for number in range(restarts):
                    await publisher.until((number + 1) * 500)
                    server.process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
                    await asyncio.to_thread(server.process.wait)
                    server = await asyncio.to_thread(start)
            handled = await everything(nc, workers, publisher)
    handled.held = restarts * instances * HELD
    return handled


@contextlib.contextmanager
def replicas(folder: str, size: int = 3) -> Iterator[dict[str, NatsServer]]:
    """Run a cluster with JetStream; yield the servers by their names."""
    ports = [free_port() for _ in range(size)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    with contextlib.ExitStack() as stack:
        yield {
            f"n{port}": stack.enter_context(
                nats_server(
                    config=NODE.format(
                        name=f"n{port}",
                        store=Path(folder, str(port)),
                        cluster=f"c{ports[0]}",
                        port=port,
                        routes=routes,
                    )
                )
            )
            for port in ports
        }


async def answered(ask: Callable[[], Awaitable[str]]) -> str:
    """Return the name of a leader once there is one."""
    async with asyncio.timeout(LONG):
        while True:
            with contextlib.suppress(nats.errors.Error, OSError):
                if name := await ask():
                    return name
            await asyncio.sleep(0.05)


async def loss_of_a_leader(of: str, rate: float = 1000, messages: int = 1500) -> Handled:
    """Kill the leader of the stream, or of the consumer, of three nodes."""
    instances = 2
    with tempfile.TemporaryDirectory() as folder, replicas(folder) as nodes:
        urls = [node.url for node in nodes.values()]
        async with connected(urls, replicas=3) as nc, working(urls, instances) as workers:
            js = nc.jetstream()

            async def leader() -> str:
                info = (
                    await js.stream_info("WORK")
                    if of == "stream"
                    else await js.consumer_info("WORK", "work-handle")
                )
                return (info.cluster and info.cluster.leader) or ""

            publisher = Publisher(nc, rate)
            async with publisher.publishing():
                await publisher.until(messages // 3)
                process = nodes[await answered(leader)].process
                process.kill()
                await asyncio.to_thread(process.wait)
                await publisher.until(messages)
            handled = await everything(nc, workers, publisher)
    handled.held = instances * HELD
    return handled


ROWS: dict[str, Callable[[], Coroutine[Any, Any, Handled]]] = {
    "consumer: 10 instances killed and replaced, 1,000/s": killed_instances,
    "consumer: server restarted 5 times": restarts_of_the_server,
    "consumer: server killed 5 times": lambda: restarts_of_the_server(killed=True),
    "consumer: leader of the stream killed, R3": lambda: loss_of_a_leader("stream"),
    "consumer: leader of the consumer killed, R3": lambda: loss_of_a_leader("consumer"),
}
