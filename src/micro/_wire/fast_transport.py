"""A transport for nats-py that keeps the messages of our subscriptions to itself.

nats-py connects, authenticates, pings, reconnects and resubscribes as ever, and gets every frame that is
not ours verbatim.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Iterable
from functools import partial
from urllib.parse import ParseResult

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import Transport

from micro._errors import ConfigError, PayloadTooLargeError
from micro._protocol.headers import decode_headers, encode_headers
from micro._wire import nats_py
from micro._wire.frames import Sink
from micro._wire.stream import Stream, StreamOwner

logger = logging.getLogger("micro.transport")

VARIABLE = "MICRO_TRANSPORT"

MANY = 128
"""Messages that leave before the turn of the event loop is over: the server may begin with them."""


def install(nc: NatsClient, servers: Iterable[str]) -> None:
    """Give a client that has not connected yet the fast transport, where that is possible.

    It is not for WebSocket servers. ``MICRO_TRANSPORT=public`` prevents it, ``MICRO_TRANSPORT=fast``
    makes it an error that this release of nats-py cannot have it.

    Raises:
        ConfigError: The variable has another value, or what it asks for cannot be done.
    """
    wanted = os.environ.get(VARIABLE, "auto")
    if wanted not in ("auto", "fast", "public"):
        raise ConfigError(f"invalid {VARIABLE} {wanted!r}: expected 'auto', 'fast' or 'public'")
    nats_py.guard(nc)
    websocket = any(server.startswith(("ws://", "wss://")) for server in servers)
    if wanted == "public" or websocket or fast(nc) is not None:
        return
    changed = nats_py.unusable(nc)
    if changed is None:
        nats_py.put_transport(nc, FastTransport(nc))
    elif wanted == "fast":
        raise ConfigError(f"{VARIABLE}=fast is impossible: nats-py has another {changed}")
    else:
        logger.warning("nats-py has another %s: taking the slower public path", changed)


def fast(nc: NatsClient) -> FastTransport | None:
    """Return the fast transport of a client, None for one that goes the public path."""
    found = nats_py.transport_of(nc)
    return found if isinstance(found, FastTransport) else None


class FastTransport(Transport):
    """Connects for nats-py, and demultiplexes what comes in.

    What is published through it in one turn of the event loop, or while one batch of messages is dealt
    with, leaves in one write (in some more if it is much), after whatever nats-py has in its own buffer.
    While there is no connection it waits for the next one, up to the pending size of nats-py.

    Args:
        nc: The client that this is the transport of.

    Attributes:
        frames: What leaves with the next write; always the same list.
        payload_bytes: The size of its payloads, for nats-py's statistics.
        room: How large a payload may be whose frame is put into `frames` without `publish`; -1 when
            that must not be, as nobody would write it.
    """

    def __init__(self, nc: NatsClient) -> None:
        self.frames: list[bytes] = []
        self.payload_bytes = 0
        self.room = -1
        self._nc = nc
        self._routes: dict[bytes, Sink] = {}
        self._owner = StreamOwner(self._batch_begins, self._batch_ends, self._writable)
        self._stream: Stream | None = None
        self._waiting_bytes = 0  # of frames that came while there was no connection
        self._flush_due = False
        self._max_payload = nc.max_payload  # of the server connected to last

    # -- what the framework uses

    async def subscribe(self, subject: str, queue: str, sink: Sink) -> Subscription:
        """Subscribe, and have the messages handed to a sink; a fence must follow."""
        subscription = await nats_py.subscribe(self._nc, subject, queue, partial(_too_early, sink))
        self._routes[_route(subscription)] = sink
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; messages under way are dropped."""
        self._routes.pop(_route(subscription), None)
        await subscription.unsubscribe()

    def publish(
        self, subject: bytes, data: bytes, headers: bytes = b"", reply: bytes = b""
    ) -> None:
        """Send a message with the others of this batch.

        Args:
            subject: Where to, without white space.
            data: The payload.
            headers: The header block, empty for none.
            reply: Where answers go to.

        Raises:
            PayloadTooLargeError: It exceeds the server's ``max_payload``.
            nats.errors.ConnectionClosedError: The connection is closed.
            nats.errors.OutboundBufferLimitError: There is no connection, and no room to wait for one.
        """
        size = len(headers) + len(data)
        if size > self._max_payload:
            raise PayloadTooLargeError(size, self._max_payload)
        if reply:
            subject = b"%b %b" % (subject, reply)
        if headers:
            frame = b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, len(headers), size, headers, data)
        else:
            frame = b"PUB %b %d\r\n%b\r\n" % (subject, size, data)
        stream = self._stream
        if stream is None or not stream.live:
            self._reserve(len(frame))
        self.frames.append(frame)
        self.payload_bytes += len(data)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        elif len(self.frames) % MANY == 0 and self.room < 0:
            self._flush()
            self._flush_due = True  # it still is

    # -- what nats-py uses

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        if self._stream is not None:
            self._stream.close()  # nats-py leaves one open that failed to authenticate
        stream = Stream(self._routes, self._owner)
        async with asyncio.timeout(connect_timeout):
            await asyncio.get_running_loop().create_connection(
                lambda: stream, uri.hostname or "", uri.port or 0
            )
        self._stream = stream

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        hostname = uri if isinstance(uri, str) else uri.hostname
        async with asyncio.timeout(connect_timeout):
            await self._connected().start_tls(ssl_context, hostname)

    def write(self, payload: bytes) -> None:
        self._flush()  # a PING must not overtake the answers before it
        self._connected().write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._connected().write(b"".join(payload))

    async def read(self, buffer_size: int) -> bytes:
        return await self._connected().read_others()

    async def readline(self) -> bytes:
        return await self._connected().read_line()

    async def drain(self) -> None:
        await self._connected().drain()

    async def wait_closed(self) -> None:
        if self._stream is not None:
            await self._stream.wait_closed()

    def close(self) -> None:
        stream = self._stream
        if stream is None:
            return
        if self._nc.is_closed:  # for good: there is no next connection to wait for
            if self.frames and stream.live:
                self._write(stream)
            elif self.frames:
                logger.error("%d messages are lost with the connection", len(self.frames))
                self.frames.clear()
            self._routes.clear()
        stream.close()

    def at_eof(self) -> bool:
        return self._stream is None or self._stream.ended

    def __bool__(self) -> bool:
        return True  # also before the first connection, else nats-py would make its own transport

    def _connected(self) -> Stream:
        if self._stream is None:
            raise ConnectionResetError("there is no connection")
        return self._stream

    def _writable(self) -> None:
        self._max_payload = self._nc.max_payload
        self._flush()

    def _batch_begins(self) -> None:
        self._flush_due = True
        self.room = self._max_payload

    def _batch_ends(self, messages: int, payload_bytes: int) -> None:
        self.room = -1
        stats = self._nc.stats
        stats["in_msgs"] += messages
        stats["in_bytes"] += payload_bytes
        self._flush()

    def _reserve(self, size: int) -> None:
        nc = self._nc
        if nc.is_closed:
            raise nats.errors.ConnectionClosedError
        waiting = self._waiting_bytes + nc.pending_data_size + size
        if waiting > nats_py.max_pending_size(nc):
            raise nats.errors.OutboundBufferLimitError
        self._waiting_bytes += size

    def _flush(self) -> None:
        self._flush_due = False
        stream = self._stream
        # nats-py gives a connection up before it closes it: then its buffer is for the next one.
        if self.frames and stream is not None and stream.writable and self._nc.is_connected:
            self._write(stream)

    def _write(self, stream: Stream) -> None:
        nc, frames = self._nc, self.frames
        nc.stats["out_msgs"] += len(frames)
        nc.stats["out_bytes"] += self.payload_bytes
        self.payload_bytes = self._waiting_bytes = 0
        frames[:0] = nats_py.take_pending(nc)  # published before the answers, so sent before them
        stream.write(b"".join(frames))
        frames.clear()


def _too_early(sink: Sink, msg: Msg) -> None:
    """Hand over what nats-py has received before the route was known, but not where nats-py reads."""
    asyncio.get_running_loop().call_soon(_hand_over, sink, msg)


def _hand_over(sink: Sink, msg: Msg) -> None:
    headers = encode_headers(msg.headers) if msg.headers else None
    sink([(msg.subject.encode(), msg.reply.encode(), msg.data, headers)])


def message(
    nc: NatsClient, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
) -> Msg:
    """Return what a sink was given as a message of nats-py, headers read by our own rules."""
    further = reply.decode(errors="replace") if reply else ""
    found = decode_headers(headers) if headers else None
    return Msg(nc, subject.decode(), further, data, found or None)


def _route(subscription: Subscription) -> bytes:
    return str(nats_py.sid(subscription)).encode()
