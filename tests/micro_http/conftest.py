"""A real HTTP server on a free port whose answers a test scripts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from micro.testing import free_port
from micro_http import AsyncEvent, AsyncResilientClient, EventType


@dataclass(frozen=True)
class Seen:
    """A request, as read by the server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A response; `cut` ends the connection within the body, `hang` waits until the test ends."""

    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: bool = False


class Server:
    """Answer each request with the next reply of the script, and with 200 when it has run out."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.script: list[Reply] = []
        self.answer: Callable[[Seen], Reply] | None = None
        self.arrived = asyncio.Event()
        self.port = 0
        self._hung = asyncio.Event()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._hung.set()
        self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections[connection] = writer
        connection.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(method, path, headers, body)
        self.seen.append(seen)
        self.arrived.set()
        if self.script:
            reply = self.script.pop(0)
        else:
            reply = Reply() if self.answer is None else self.answer(seen)
        if reply.hang:
            await self._hung.wait()
            return False
        length = len(reply.body) + (10 if reply.cut else 0)
        lines = [f"HTTP/1.1 {reply.status} Status", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write(
            "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else reply.body)
        )
        await writer.drain()
        return not reply.cut


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxies of the environment: the test servers are on this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Start a server."""
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def refused_port() -> int:
    """Return a port on which nothing listens."""
    return free_port()


class Log:
    """The events of a client, in order of delivery."""

    def __init__(self, client: AsyncResilientClient) -> None:
        self.events: list[AsyncEvent] = []
        for event_type in EventType:
            client.add_event_callback(event_type, self.events.append)

    @property
    def types(self) -> list[str]:
        return [str(event.event_type) for event in self.events]


def failing(error: Exception, times: int) -> httpx.MockTransport:
    """Fail this often at the transport seam, then answer."""
    left = times

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return httpx.Response(200)

    return httpx.MockTransport(handler)


Protocol = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def serving(protocol: Protocol) -> AsyncIterator[str]:
    """Run the protocol on each connection; end after the last connection is closed."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await protocol(reader, writer)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(serve(reader, writer))
        connections.add(connection)
        connection.add_done_callback(connections.discard)

    async with await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()  # no connection comes whose handler would not begin
        if connections:
            await asyncio.wait(connections, timeout=10)
