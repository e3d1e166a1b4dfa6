"""One TCP or TLS connection to a server: lines while it is set up, frames from then on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from micro._wire.frames import FrameSplitter, Sink

CLOSE_TIMEOUT = 1.0
"""Seconds to send buffered bytes before a connection is cut; a dead peer never takes them."""

READ_SIZE = 256 * 1024
"""Bytes of the read buffer; memory is only committed for bytes actually received."""

WRITE_LIMIT = 1024 * 1024
"""Unsent bytes above which reading pauses, so that a stuck connection fills no memory."""


class StreamOwner(NamedTuple):
    """The callbacks of the owner of a stream.

    Attributes:
        batch_begins: Called before messages are passed to sinks.
        batch_ends: Called after that with the number of messages and payload bytes.
        writable: Called when the stream takes data, or takes it again.
    """

    batch_begins: Callable[[], None]
    batch_ends: Callable[[int, int], None]
    writable: Callable[[], None]


class Stream(asyncio.BufferedProtocol):
    """One connection from its start to its end; a reconnect makes a new one.

    The stream brings its own read buffer. asyncio would allocate and free 256 KiB for each read,
    which is a third of the work when requests come one at a time.

    Args:
        routes: Sinks of messages by subscription id.
        owner: The callbacks of the owner.

    Attributes:
        live: Whether messages go to their sinks and answers may be written.
    """

    def __init__(self, routes: Mapping[bytes, Sink], owner: StreamOwner) -> None:
        self.live = False
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._splitter = FrameSplitter(routes)
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._early = b""  # received before the reader asked for frames
        self._handed_over = False
        self._paused = False
        self._lost = False
        self._reason: Exception | None = None
        self._changed: asyncio.Future[None] | None = None
        self._unpaused: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def writable(self) -> bool:
        """Whether the stream is live and takes more data now."""
        return self.live and not self._paused

    @property
    def ended(self) -> bool:
        """Whether the connection has ended and everything has been read."""
        return self._lost and not self._early and not self._splitter.others

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(cast(asyncio.Transport, transport))  # uvloop's is of no such class

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self.live:
            self._early += self._buffer[:nbytes]
            self._wake()
            return
        self._pass_on(self._buffer, nbytes)

    def _pass_on(self, buffer: memoryview, size: int) -> None:
        owner, splitter = self._owner, self._splitter
        owner.batch_begins()
        splitter.feed_from(buffer, size)
        owner.batch_ends(splitter.messages, splitter.payload_bytes)
        splitter.messages = splitter.payload_bytes = 0
        if splitter.others:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._reason = exc
        self.live = False
        if not self._closed.done():
            self._closed.set_result(None)
        self._wake()
        self._unpause()

    def pause_writing(self) -> None:
        self._paused = True
        if self.live:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._unpause()
        if self.live:
            self._transport.resume_reading()
            self._owner.writable()

    # -- called by the owner

    async def start_tls(self, context: ssl.SSLContext, hostname: str | None) -> None:
        """Encrypt the connection from now on."""
        transport = await self._loop.start_tls(
            self._transport, self, context, server_hostname=hostname
        )
        if transport is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        self._use(transport)

    async def read_line(self) -> bytes:
        """Return the next line while the connection is set up.

        Raises:
            OSError: The connection ended before; an `ssl.SSLError` for a refusal by TLS.
        """
        while b"\n" not in self._early:
            if self._lost:
                # nats-py would take an empty line for the server's consent.
                raise self._reason or ConnectionResetError("the server closed the connection")
            await self._change()
        line, separator, self._early = self._early.partition(b"\n")
        return line + separator

    async def read_others(self) -> bytes:
        """Wait for frames without a sink and return them; empty when the connection has ended.

        The first call ends the setup: from then on messages go to their sinks.
        """
        if not self._handed_over:
            self._handed_over = True
            # Not from here: sinks must be called by the event loop, not inside a task.
            self._loop.call_soon(self._go_live)
        others = self._splitter.others
        while not others and not (self._lost and not self._early):
            await self._change()
        frames = b"".join(others)
        others.clear()
        return frames

    def write(self, data: bytes) -> None:
        """Send bytes; drop them when the connection has ended."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the connection takes more data, or has ended."""
        while self._paused and not self._lost:
            if self._unpaused is None:
                self._unpaused = self._loop.create_future()
            await asyncio.wait({self._unpaused})

    def close(self) -> None:
        """Stop reading, send the buffered bytes, then close."""
        self.live = False
        self._transport.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, and cut it when that takes too long."""
        await asyncio.wait({self._closed}, timeout=CLOSE_TIMEOUT)
        if not self._closed.done():
            self._transport.abort()

    def _use(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_LIMIT)

    def _go_live(self) -> None:
        early, self._early = self._early, b""
        if self._lost or self._transport.is_closing():
            self._splitter.others.append(early)  # the server's last words
            self._wake()
            return
        self.live = True
        self._owner.writable()
        if early:
            self._pass_on(memoryview(early), len(early))

    async def _change(self) -> None:
        self._changed = self._loop.create_future()
        try:
            await self._changed
        finally:
            self._changed = None

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _unpause(self) -> None:
        self._paused = False
        if self._unpaused is not None:
            self._unpaused.set_result(None)
            self._unpaused = None
