"""A cancelled request never costs a connection of the pool, at any turn of the event loop."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from tests.micro_http.conftest import serving

from micro_http import AsyncResilientClient, AsyncRetryTransport, RetryPolicy

SIZE = 4  # connections of a pool
LIMITS = httpx.Limits(max_connections=SIZE)
TIMEOUT = httpx.Timeout(10, pool=5)
Get = Callable[[str], Awaitable[httpx.Response]]


class Site:
    """Answers of an HTTP server: `/` at once, `/meet` when SIZE requests are there together."""

    def __init__(self) -> None:
        self.met = asyncio.Event()
        self.standing = asyncio.Event()
        self.standing.set()
        self.inside = self.most = 0
        self.url = ""
        self.versions: dict[str, Any] = {}

    async def answer(self, path: str) -> bytes:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.standing.wait()
            if path == "/meet":
                if self.inside >= SIZE:
                    self.met.set()
                await self.met.wait()
            return b"x" * 1000
        finally:
            self.inside -= 1

    async def http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await self.answer(head.split(b" ")[1].decode())
            # In two parts, so that a client can be cancelled between head and body.
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            await asyncio.sleep(0)
            writer.write(body)
            await writer.drain()

    async def http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())

        async def respond(stream: int, path: str) -> None:
            body = await self.answer(path)
            connection.send_headers(stream, [(":status", "200")])
            connection.send_data(stream, body, end_stream=True)
            writer.write(connection.data_to_send())

        async with asyncio.TaskGroup() as answers:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        path = dict(event.headers or ())[b":path"].decode()
                        assert event.stream_id is not None
                        answers.create_task(respond(event.stream_id, path))
                writer.write(connection.data_to_send())


@pytest.fixture(params=["http1", "http2"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site()
    site.versions = {"http1": request.param == "http1", "http2": request.param == "http2"}
    async with serving(getattr(site, request.param)) as site.url:
        yield site
        site.standing.set()
        site.met.set()


@asynccontextmanager
async def resilient(site: Site, policy: RetryPolicy) -> AsyncIterator[Get]:
    client = AsyncResilientClient(policy, limits=LIMITS, timeout=TIMEOUT, **site.versions)

    async def get(path: str) -> httpx.Response:
        return await (await client.get(site.url + path))

    async with client:
        yield get


@asynccontextmanager
async def transport(site: Site, policy: RetryPolicy) -> AsyncIterator[Get]:
    inner = httpx.AsyncHTTPTransport(limits=LIMITS, **site.versions)
    outer = AsyncRetryTransport(policy, transport=inner)
    async with httpx.AsyncClient(transport=outer, timeout=TIMEOUT) as client:
        yield lambda path: client.get(site.url + path)


@asynccontextmanager
async def transport_with_body(site: Site, policy: RetryPolicy) -> AsyncIterator[Get]:
    inner = httpx.AsyncHTTPTransport(limits=LIMITS, **site.versions)
    outer = AsyncRetryTransport(policy, transport=inner, read_body=True)
    async with httpx.AsyncClient(transport=outer, timeout=TIMEOUT) as client:
        yield lambda path: client.get(site.url + path)


class Through(httpx.AsyncBaseTransport):
    """A transport that sends through a client, as the registry clients do."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.client.send(request)


@asynccontextmanager
async def injected(site: Site, policy: RetryPolicy) -> AsyncIterator[Get]:
    async with httpx.AsyncClient(limits=LIMITS, timeout=TIMEOUT, **site.versions) as client:
        outer = AsyncRetryTransport(policy, transport=Through(client))

        async def get(path: str) -> httpx.Response:
            return await outer.handle_async_request(client.build_request("GET", site.url + path))

        yield get


KINDS = [resilient, transport, transport_with_body, injected]
Kind = Callable[[Site, RetryPolicy], contextlib.AbstractAsyncContextManager[Get]]


async def all_places(site: Site, get: Get) -> Counter[str]:
    """Use all connections of the pool at the same time, and report the outcomes.

    A busy machine may need more time than the policy allows, so there are several rounds; a lost
    connection stays lost in all of them.
    """
    outcomes: Counter[str] = Counter()
    for _ in range(5):
        site.met.set()
        while site.inside:  # requests that nobody waits for
            await asyncio.sleep(0.01)
        site.met.clear()
        responses = await asyncio.gather(
            *(get("/meet") for _ in range(SIZE)), return_exceptions=True
        )
        outcomes = Counter(
            repr(response) if isinstance(response, BaseException) else str(response.status_code)
            for response in responses
        )
        if outcomes["200"] == SIZE:
            break
    return outcomes


async def cancel_at(get: Get, turn: int) -> bool:
    """Cancel a request after so many turns of the loop, twice; return whether it was done."""
    task = asyncio.ensure_future(get("/"))
    for _ in range(turn):
        await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return done


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_cancellation_at_any_turn_costs_no_connection(site: Site, kind: Kind) -> None:
    async with kind(site, RetryPolicy(max_retries=0)) as get:
        cancelled = turn = 0
        while cancelled < 1000:
            batch = [cancel_at(get, turn + shift) for shift in range(SIZE)]
            done = await asyncio.gather(*batch)
            cancelled += len(batch)
            turn = 0 if all(done) else turn + 1

        assert await all_places(site, get) == {"200": SIZE}


@pytest.mark.parametrize("limits", [{"deadline": 0.4}, {"hedge_after": 0.05}, {}], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_server_that_stands_still_costs_no_connection(
    site: Site, kind: Kind, limits: dict[str, Any]
) -> None:
    policy = RetryPolicy(max_retries=0, max_concurrency=SIZE, **limits)
    async with kind(site, policy) as get:
        site.standing.clear()

        async def patient() -> None:
            async with asyncio.timeout(0.8):
                await get("/")

        outcomes = await asyncio.gather(*(patient() for _ in range(100)), return_exceptions=True)
        site.standing.set()

        assert all(isinstance(outcome, Exception) for outcome in outcomes)

        assert await all_places(site, get) == {"200": SIZE}
