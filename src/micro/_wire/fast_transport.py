"""The fast path: a transport for nats-py that passes the messages of our subscriptions to sinks.

nats-py still connects, authenticates, pings, reconnects and resubscribes. It receives every other
frame unchanged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from urllib.parse import ParseResult

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription
from nats.aio.transport import Transport

from micro import _native
from micro._errors import ConfigError, PayloadTooLargeError
from micro._protocol.headers import header_block
from micro._wire import nats_py
from micro._wire.congestion import MAX_UNSENT, PORTION, SMALL, CongestedError, Congestion
from micro._wire.frames import Message, Sink
from micro._wire.outbox import MAX_TARGET, LongSubjectError, Outbox
from micro._wire.stream import Stream, StreamOwner

logger = logging.getLogger("micro.transport")

VARIABLE = "MICRO_TRANSPORT"

MAX_FRAMES = 16 * 1024
"""Unsent messages above which the path is congested, however small they are."""

MANY = 128
"""Messages after which a write does not wait for the end of the turn: the server can begin."""


FRAME = 24
"""Bytes of a frame at most, beside its subjects, headers and payload."""

_WHITE_SPACE = re.compile(r"[ \t\r\n]")


def install(
    nc: NatsClient,
    servers: Iterable[str],
    make: Callable[[NatsClient], FastTransport] | None = None,
) -> None:
    """Give a client the fast transport before it connects, where that is possible.

    WebSocket servers need the public path. `MICRO_TRANSPORT=public` forces it;
    `MICRO_TRANSPORT=fast` forbids it when this release of nats-py does not support the fast path.

    Raises:
        ConfigError: The variable has another value, or the fast path is forced and impossible; or
            the same holds for `MICRO_NATIVE`.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in ("auto", "fast", "public"):
        raise ConfigError(f"invalid {VARIABLE} {choice!r}: expected 'auto', 'fast' or 'public'")
    _native.check()
    nats_py.guard(nc)
    websocket = any(server.startswith(("ws://", "wss://")) for server in servers)
    if choice == "public" or websocket or fast(nc) is not None:
        return
    changed = nats_py.unusable(nc)
    if changed is None:
        nats_py.put_transport(nc, FastTransport(nc) if make is None else make(nc))
    elif choice == "fast":
        raise ConfigError(f"{VARIABLE}=fast is impossible: nats-py has another {changed}")
    else:
        logger.warning("nats-py has another %s: taking the slower public path", changed)


def fast(nc: NatsClient) -> FastTransport | None:
    """Return the fast transport of a client, None for a client on the public path."""
    transport = nats_py.transport_of(nc)
    return transport if isinstance(transport, FastTransport) else None


class FastTransport(Transport):
    """A transport for nats-py, and the fast path: messages of sinks never pass through nats-py.

    Messages published in one turn of the event loop, or during one batch of received messages,
    leave in one write, many of them in several; nats-py's own buffer goes first. Without a
    connection they wait for the next one, up to the buffer size of nats-py.

    Args:
        nc: The client of this transport.
    """

    def __init__(self, nc: NatsClient) -> None:
        self.nc = nc
        self.congestion = Congestion()
        self._outbox = Outbox(self._send, self._relieve)
        self.reply = self._outbox.reply
        self._routes: dict[bytes, Sink] = {}
        self._owner = StreamOwner(self._batch_begins, self._batch_ends, self._writable)
        self._stream: Stream | None = None
        self._waiting_bytes = 0  # of frames that came while there was no connection
        self._flush_due = False
        self._sent = 0  # messages since the last write, without answers of a batch
        self._max_payload = nc.max_payload  # of the server connected to last

    # -- the fast path, see `Path`

    async def subscribe(self, subject: str, queue: str, sink: Sink) -> Subscription:
        subscription = await nats_py.subscribe(self.nc, subject, queue, partial(_too_early, sink))
        self._routes[_route(subscription)] = sink
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        self._routes.pop(_route(subscription), None)
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("%s: unsubscribe: %s", subscription.subject, error)

    def publish(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        reply: bytes = b"",
        block: bytes = b"",
    ) -> None:
        if self.nc.is_draining_pubs:
            raise nats.errors.ConnectionDrainingError
        target = _encode_subject(subject)
        self._send(target + b" " + reply if reply else target, data, headers, block)

    def open_outbox(self) -> None:
        """Let the outbox take messages by itself in this turn, if nothing is unusual."""
        stream = self._stream
        if stream is None or not stream.live or self.congestion.on or self.nc.is_draining_pubs:
            return
        self._outbox.turn = self._max_payload
        self._flush_soon()

    def send(self, subject: bytes, data: bytes, reply: bytes = b"", block: bytes = b"") -> None:
        self._send(b"%b %b" % (subject, reply) if reply else subject, data, None, block)

    def _send(
        self, target: bytes, data: bytes, headers: Mapping[str, str] | None, block: bytes = b""
    ) -> None:
        if len(target) > MAX_TARGET:
            raise LongSubjectError(len(target))
        if headers and not block:
            block = header_block(headers)
        size = len(block) + len(data)
        if size > self._max_payload:
            raise PayloadTooLargeError(size, self._max_payload)
        outbox, stream = self._outbox, self._stream
        unsent = outbox.payload_bytes + size
        if unsent > MAX_UNSENT and size > SMALL:
            raise CongestedError("too much is waiting to be sent")
        if stream is None or not stream.live:
            self._reserve(len(target) + size + FRAME)
        outbox.add(target, block, data)
        if unsent > PORTION:
            self._relieve()
        self._sent += 1
        if not self._flush_due:
            self._flush_soon()
        elif outbox.room < 0 and self._sent % MANY == 0:
            self._relieve()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _relieve(self) -> None:
        """Write a part of a batch, or stop it while the stream takes no more."""
        due = self._flush_due
        self._flush()
        self._flush_due = due  # the end of the batch or turn flushes the rest
        stream = self._stream
        outbox = self._outbox
        much = outbox.payload_bytes > PORTION or len(outbox) > MAX_FRAMES
        if much and stream is not None and stream.live:
            self.congestion.on = True
            outbox.room = -1

    # -- the transport of nats-py

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
        self._outbox.turn = -1
        if self.nc.is_closed:  # for good: there is no next connection to wait for
            while self._outbox and stream.live:
                self._write(stream)
            if self._outbox:
                logger.error("%d messages are lost with the connection", len(self._outbox))
                self._outbox.clear()
            self._routes.clear()
            self.congestion.end()
        stream.close()

    def abandon(self) -> None:
        """Send and receive nothing any more, and leave the connection as it is."""
        self._stream = None
        self._outbox.turn = -1

    def at_eof(self) -> bool:
        return self._stream is None or self._stream.ended

    def __bool__(self) -> bool:
        return True  # also before the first connection, else nats-py would make its own transport

    def _connected(self) -> Stream:
        if self._stream is None:
            raise ConnectionResetError("there is no connection")
        return self._stream

    def _writable(self) -> None:
        self._max_payload = self.nc.max_payload
        self._flush()

    def _batch_begins(self) -> None:
        self._flush_due = True
        self._outbox.room = self._max_payload

    def _batch_ends(self, messages: int, payload_bytes: int) -> None:
        self._outbox.room = -1
        stats = self.nc.stats
        stats["in_msgs"] += messages
        stats["in_bytes"] += payload_bytes
        self._flush()

    def _reserve(self, size: int) -> None:
        nc = self.nc
        if nc.is_closed:
            raise nats.errors.ConnectionClosedError
        waiting = self._waiting_bytes + nc.pending_data_size + size
        if waiting > nats_py.max_pending_size(nc):
            raise nats.errors.OutboundBufferLimitError
        self._waiting_bytes += size

    def _flush(self) -> None:
        self._flush_due = False
        self._outbox.turn = -1
        stream = self._stream
        # nats-py gives a connection up before it closes it: then its buffer is for the next one.
        if stream is None or not self.nc.is_connected:
            return
        while self._outbox and stream.writable:
            self._write(stream)
        if self.congestion.on and self._outbox.payload_bytes <= PORTION:
            self.congestion.end()

    def _write(self, stream: Stream) -> None:
        # What nats-py has published before the answers is sent before them.
        frames, count, payload_bytes = self._outbox.take(nats_py.take_pending(self.nc))
        stats = self.nc.stats
        stats["out_msgs"] += count
        stats["out_bytes"] += payload_bytes
        self._waiting_bytes = self._sent = 0
        stream.write(frames)


def _too_early(sink: Sink, message: Message) -> None:
    """Pass on a message that nats-py received before the route was known.

    The sink is called by the event loop, since nats-py reads inside a task.
    """
    asyncio.get_running_loop().call_soon(sink, [message])


@lru_cache(maxsize=4096)
def _encode_subject(subject: str) -> bytes:
    if not subject or _WHITE_SPACE.search(subject):
        raise nats.errors.BadSubjectError
    return subject.encode()


def _route(subscription: Subscription) -> bytes:
    return str(nats_py.sid(subscription)).encode()
