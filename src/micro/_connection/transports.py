"""Transports for nats-py whose connections are set up by a `Handshake`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from functools import partial
from typing import Any
from urllib.parse import ParseResult

from nats.aio.client import Client as NatsClient
from nats.aio.transport import TcpTransport, Transport

from micro._connection.handshake import MIN_ATTEMPT, AttemptError, Handshake, addresses
from micro._connection.settings import Settings
from micro._errors import ConfigError
from micro._wire import fast_transport, nats_py
from micro._wire.fast_transport import FastTransport

CLOSE_TIMEOUT = 1.0
"""Seconds for unsent data; a dead peer would never take it."""

ALERT_TIMEOUT = 0.25
"""Seconds that a repeated attempt waits for an alert after the TLS handshake. With TLS 1.3 a server
refuses a client after the handshake of the client; data sent then could discard its reason."""

REPEATED = 2.0
"""Seconds after one TLS handshake within which another one is a repeated attempt."""


def install(nc: NatsClient, settings: Settings) -> None:
    """Give a client that is not connected a transport, the fast one where possible.

    Raises:
        ConfigError: `MICRO_TRANSPORT` has another value, or this nats-py takes no transport.
    """
    handshake = Handshake(settings)
    nats_py.follow_cluster(nc)
    nats_py.keep_open(nc)
    fast_transport.install(nc, settings.servers, make=partial(FastConnection, handshake))
    if fast_transport.fast(nc) is not None:
        return
    if not nats_py.takes_transport(nc):
        raise ConfigError("this release of nats-py takes no transport: expected nats-py 2.16")
    websocket = settings.servers[0].startswith("ws")
    nats_py.put_transport(
        nc, WebSocketConnection(handshake) if websocket else TcpConnection(handshake)
    )


class _SetUp(Transport):
    """The part of a TCP transport that calls the handshake; a base class beside the transport.

    Attributes:
        encrypted: Whether the connection uses TLS.
    """

    _handshake: Handshake
    _server = ""
    _last_tls = -REPEATED
    encrypted = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        self._server, self.encrypted = uri.netloc, False
        failure: BaseException = AttemptError(f"the host of {uri.netloc!r} has no address")
        async with asyncio.timeout(connect_timeout):
            targets = await addresses(uri)
        share = max(MIN_ATTEMPT, connect_timeout / max(1, len(targets)))
        for target in targets:
            try:
                async with asyncio.timeout(share):
                    await super().connect(target, buffer_size, connect_timeout)  # type: ignore[safe-super]  # of the transport beside it
                return
            except TimeoutError:
                failure = TimeoutError(f"no answer within {share:g} s")
            except OSError as error:
                failure = error
        raise failure

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        host = uri if isinstance(uri, str) else uri.hostname
        name = self._handshake.tls_name(host) or ""
        context = self._handshake.ssl_context()
        await super().connect_tls(name, context, buffer_size, connect_timeout)  # type: ignore[safe-super]  # of the transport beside it
        self.encrypted = True
        now = asyncio.get_running_loop().time()
        if now - self._last_tls < REPEATED:
            await asyncio.sleep(ALERT_TIMEOUT)
        self._last_tls = now

    async def readline(self) -> bytes:
        line: bytes = await super().readline()  # type: ignore[safe-super]  # of the transport beside it
        if not line:
            raise ConnectionResetError("the server closed the connection")
        return await self._handshake.greeted(line, self._server, encrypted=self.encrypted)

    def write(self, payload: bytes) -> None:
        if payload.startswith(b"CONNECT "):
            payload = self._handshake.connect_command(payload)
        super().write(payload)  # type: ignore[safe-super]  # of the transport beside it


class FastConnection(_SetUp, FastTransport):
    """The fast transport."""

    def __init__(self, handshake: Handshake, nc: NatsClient) -> None:
        super().__init__(nc)
        self._handshake = handshake


class TcpConnection(_SetUp, TcpTransport):
    """The transport of nats-py itself."""

    def __init__(self, handshake: Handshake) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # it has no annotations
        self._handshake = handshake

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        # nats-py leaves one open whose attempt has failed.
        self.close()  # type: ignore[no-untyped-call]  # it has no annotations
        await super().connect(uri, buffer_size, connect_timeout)

    async def wait_closed(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await super().wait_closed()  # type: ignore[no-untyped-call]  # it has no annotations

    def __bool__(self) -> bool:
        return True  # else nats-py would make its own transport


class WebSocketConnection(Transport):
    """A WebSocket of aiohttp, used again and again by the attempts of a client.

    Attributes:
        encrypted: Whether the connection uses TLS.
    """

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._session: Any = None
        self._socket: Any = None
        self._unsent: list[bytes] = []
        self._server = ""
        self.encrypted = False

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        if not isinstance(uri, str):  # else nats-py would encrypt a wss:// connection once more
            await self.connect(uri, buffer_size, connect_timeout)

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        import aiohttp

        await self._drop()
        self._unsent.clear()
        target = self._handshake.target(uri)
        self._server, self.encrypted = uri.netloc, target.scheme == "wss"
        more: dict[str, Any] = {}
        if self.encrypted:
            more["ssl"] = self._handshake.ssl_context()
            more["server_hostname"] = self._handshake.tls_name(target.hostname)
        self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(connect_timeout):
                self._socket = await self._session.ws_connect(
                    target.geturl(), max_msg_size=0, autoping=True, **more
                )
        except aiohttp.WSServerHandshakeError as error:
            await self._drop()
            raise AttemptError(f"no WebSocket, but HTTP status {error.status}") from None
        except (aiohttp.ClientError, ValueError) as error:
            await self._drop()
            if isinstance(error, OSError):
                raise
            raise AttemptError(f"no WebSocket: {error}") from error
        except BaseException:
            await self._drop()
            raise

    async def _drop(self) -> None:
        session, self._session, self._socket = self._session, None, None
        if session is not None:
            await session.close()

    def write(self, payload: bytes) -> None:
        if payload.startswith(b"CONNECT "):
            payload = self._handshake.connect_command(payload)
        self._unsent.append(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._unsent += payload

    async def read(self, buffer_size: int) -> bytes:
        import aiohttp

        if self._socket is None:
            return b""
        message = await self._socket.receive()
        if message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            data = message.data
            return data if isinstance(data, bytes) else data.encode()
        if message.type == aiohttp.WSMsgType.ERROR:
            raise ConnectionResetError(f"WebSocket: {message.data}")
        return b""

    async def readline(self) -> bytes:
        line = await self.read(0)
        if not line:
            raise ConnectionResetError("the server closed the connection")
        return await self._handshake.greeted(line, self._server, encrypted=self.encrypted)

    async def drain(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not unsent:
            return
        if self._socket is None or self._socket.closed:
            raise ConnectionResetError("the WebSocket is closed")
        await self._socket.send_bytes(b"".join(unsent))

    async def wait_closed(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if self._socket is not None:
                    await self._socket.close()
        except TimeoutError:
            pass
        finally:
            await self._drop()

    def close(self) -> None:
        """Do nothing yet: nats-py calls `wait_closed` next."""

    def at_eof(self) -> bool:
        return self._socket is None or self._socket.closed

    def __bool__(self) -> bool:
        return True  # also before the first connection, else nats-py would make its own transport
