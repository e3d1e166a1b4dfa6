"""A server that takes data slowly: memory and time stay bounded, on either path."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats.errors
import pytest

import micro
from micro import Request
from micro.testing import NatsServer, nats_server

from ..path_kit import PATHS, Connect, connections

ANSWER = b"x" * 1_000_000
MIB = 1024 * 1024
PAYLOAD = b"x" * 500_000


@pytest.fixture
def slow() -> Iterator[NatsServer]:
    """Run a server that can be stopped for a while."""
    with nats_server(config="max_pending: 2GB") as running:
        yield running


@pytest.fixture(params=PATHS)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    async with connections(request.param) as connecting:
        yield connecting


def memory() -> int:
    """Return the resident memory of this process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Peak:
    """The largest memory seen while a block runs."""

    def __init__(self) -> None:
        gc.collect()
        self.idle = self.most = memory()

    def look(self) -> None:
        self.most = max(self.most, memory())

    @property
    def growth(self) -> int:
        return self.most - self.idle


@pytest.mark.parametrize("suspends", [False, True])
async def test_large_answers_take_bounded_memory_and_all_arrive(
    connect: Connect, slow: NatsServer, suspends: bool
) -> None:
    """Handlers wait while the server does not take their answers."""
    nc = await connect(slow.url, pending_size=2 * MIB)
    peak = Peak()

    async def large(request: Request) -> None:
        peak.look()
        if suspends:
            await asyncio.sleep(0.01)
        await request.respond(ANSWER)

    async with micro.add_service(nc, "large", "1.0.0") as service:
        await service.add_endpoint("large", large, max_in_flight=8, pending_msgs_limit=500)
        count = await _ask_raw(slow, 200)
        peak.look()
        (stats,) = service.stats().endpoints

    assert count == 200
    assert (stats.num_requests, stats.num_errors) == (200, 0)
    assert peak.growth < 64 * MIB


async def _ask_raw(server: NatsServer, count: int) -> int:
    """Send requests in one write, and count the payloads of the right size."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nSUB answers 1\r\n')
    writer.write(b"PUB large answers 0\r\n\r\n" * count + b"PING\r\n")
    complete = 0
    async with asyncio.timeout(60):
        while complete < count and (line := await reader.readline()):
            if line.startswith(b"MSG"):
                size = int(line.split()[-1])
                await reader.readexactly(size + 2)
                complete += size == len(ANSWER)
    writer.close()
    await writer.wait_closed()
    return complete


async def test_answers_beyond_the_bound_become_503(connect: Connect, slow: NatsServer) -> None:
    """Handlers that run already when the server stops taking data all answer at once."""
    nc, caller = await connect(slow.url), await connect(slow.url)
    go, begun = asyncio.Event(), 0
    peak = Peak()

    async def large(request: Request) -> None:
        nonlocal begun
        begun += 1
        await go.wait()
        peak.look()
        await request.respond(ANSWER)

    codes: Counter[int] = Counter()

    async def ask() -> None:
        try:
            await micro.Client(caller).request("large", timeout=60)
            codes[200] += 1
        except micro.ServiceError as error:
            codes[error.code] += 1

    async with micro.add_service(nc, "large", "1.0.0") as service:
        await service.add_endpoint("large", large)
        asked = [asyncio.create_task(ask()) for _ in range(100)]
        async with asyncio.timeout(30):
            while begun < 100:
                await asyncio.sleep(0.01)
        slow.freeze()
        go.set()
        await asyncio.sleep(0.5)  # the time in which the server takes nothing
        peak.look()
        slow.thaw()
        await asyncio.gather(*asked)

    assert codes[200] + codes[503] == 100
    assert codes[200] >= 2
    assert codes[503] >= 10
    assert peak.growth < 64 * MIB


async def test_requests_to_a_stalled_server_are_bounded_and_time_out_in_time(
    connect: Connect, slow: NatsServer
) -> None:
    nc = await connect(slow.url)
    client = micro.Client(nc)
    with contextlib.suppress(nats.errors.NoRespondersError):
        await client.request("nobody")
    peak = Peak()
    slow.freeze()
    longest = 0.0
    try:
        for _ in range(12):
            began = time.monotonic()
            done = await asyncio.gather(
                *(client.request("nobody", PAYLOAD, timeout=0.2) for _ in range(20)),
                return_exceptions=True,
            )
            longest = max(longest, time.monotonic() - began)
            assert {type(error) for error in done} == {nats.errors.TimeoutError}
            peak.look()
    finally:
        slow.thaw()

    assert peak.growth < 48 * MIB
    assert longest < 2

    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(nats.errors.TimeoutError):
                try:
                    await client.request("nobody", timeout=0.5)
                except nats.errors.NoRespondersError:
                    break


async def test_many_replies_to_a_stalled_server_are_bounded_and_end_in_time(
    connect: Connect, slow: NatsServer
) -> None:
    nc = await connect(slow.url)
    client = micro.Client(nc)
    peak = Peak()
    slow.freeze()
    longest = 0.0

    async def ask(data: bytes) -> str | None:
        async with client.request_many("nobody", data, until=micro.Until(max_wait=0.2)) as replies:
            assert [reply async for reply in replies] == []
        peak.look()
        return replies.reason

    try:
        for data in (b"", *[PAYLOAD] * 8):
            began = time.monotonic()
            reasons = await asyncio.gather(*(ask(data) for _ in range(20)))
            longest = max(longest, time.monotonic() - began)
            assert set(reasons) == {"timeout"}
    finally:
        slow.thaw()

    assert peak.growth < 48 * MIB
    assert longest < 2


async def test_small_requests_for_many_replies_never_wait_for_a_stalled_server(
    connect: Connect, slow: NatsServer
) -> None:
    """Each one subscribes, publishes and unsubscribes: nats-py queues no more than 1,024."""
    nc = await connect(slow.url)
    client = micro.Client(nc)
    slow.freeze()
    try:
        while not nc.pending_data_size:  # until the socket takes no more
            await nc.publish("nobody", PAYLOAD[:100_000])
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            for _ in range(4):
                await asyncio.gather(*(client.ping(max_wait=0.05) for _ in range(300)))
    finally:
        slow.thaw()


async def test_requests_go_on_when_the_server_takes_data_again(
    connect: Connect, slow: NatsServer
) -> None:
    nc, caller = await connect(slow.url), await connect(slow.url)

    async def size(request: Request) -> None:
        await request.respond(b"%d" % len(request.data()))

    async with micro.add_service(nc, "size", "1.0.0") as service:
        await service.add_endpoint("size", size)
        client = micro.Client(caller)
        await client.request("size")
        slow.freeze()
        asked = [
            asyncio.create_task(client.request("size", b"x" * 500_000, timeout=60))
            for _ in range(40)
        ]
        await asyncio.sleep(0.3)  # the time in which the server takes nothing
        slow.thaw()
        answers = await asyncio.gather(*asked)

    assert {answer.data for answer in answers} == {b"500000"}
