"""The seam to gRPC: one connection to one endpoint that carries bytes, unary or as a stream."""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio

from micro_etcd._cluster.fork import note_closed, note_open
from micro_etcd._model.values import EtcdTLS, HostPortPair

Metadata = tuple[tuple[str, str], ...]
UNAVAILABLE = 14
UNKNOWN = 2
UNLIMITED = -1
READY = grpc.ChannelConnectivity.READY
_CUT = ("Stream removed", "No status received")  # gRPC's words for a call that was cut off
_HEALTH = "/grpc.health.v1.Health/Check"
_LONGEST_REASON = 300  # characters
_PLACE = re.compile(r"^[A-Z_]+: ipv[46]:\S+ ")  # gRPC's status and the address, before the reason
logger = logging.getLogger("micro.etcd.connection")
CONNECT_TIMEOUT = 2.0  # seconds; with several endpoints a dead first one costs this once


class StatusError(Exception):
    """The failure of a call, before it becomes the error of a caller.

    Attributes:
        code: gRPC status number.
        text: The text of the server or of the transport.
        sent: False only when the server surely has not seen the call.
    """

    def __init__(self, code: int, text: str, *, sent: bool) -> None:
        super().__init__(f"status {code}: {text}")
        self.code = code
        self.text = text
        self.sent = sent


class ByteStream(Protocol):
    """One open call that carries messages both ways."""

    async def write(self, body: bytes) -> None: ...
    async def done_writing(self) -> None: ...
    async def read(self) -> bytes | None: ...
    def cancel(self) -> None: ...


class Channel(Protocol):
    """One connection to one endpoint; every failure is a StatusError."""

    endpoint: str

    async def connect(self, timeout: float) -> None: ...
    async def unary(
        self, method: str, body: bytes, *, timeout: float, metadata: Metadata
    ) -> bytes: ...
    async def stream(self, method: str, *, timeout: float, metadata: Metadata) -> ByteStream: ...
    async def close(self) -> None: ...


class ChannelFactory(Protocol):
    """Opener of channels; an answer of more than `max_answer_bytes` is refused unread."""

    def __call__(self, address: HostPortPair, *, max_answer_bytes: int = ...) -> Channel: ...


_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", -1),
    # An unanswered PING reveals a frozen peer. etcd answers PINGs less than 5 s apart, or without
    # an open stream, with GOAWAY. ping_timeout_ms is the limit; keepalive_timeout_ms alone has no
    # effect.
    ("grpc.keepalive_time_ms", 8_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT * 1000)),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each communicator has its own connection, which is closed with it and slows no other.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)


class Credentials:
    """TLS credentials, read from their files again when these have changed.

    Attributes:
        current: The credentials as gRPC takes them.
        server_name: Name expected in the server's certificate, None for the host.
    """

    def __init__(self, tls: EtcdTLS) -> None:
        self.server_name = tls.server_name
        self._sources = (tls.ca, tls.key, tls.cert)
        self._contents = self._read()
        self.current: Any = grpc.ssl_channel_credentials(*self._contents)

    def refresh(self) -> None:
        """Read the files again; a file that is missing meanwhile changes nothing."""
        try:
            contents = self._read()
        except OSError as error:
            logger.warning("TLS files cannot be read: %s", error)
            return
        if contents != self._contents:
            self._contents = contents
            self.current = grpc.ssl_channel_credentials(*contents)

    def _read(self) -> tuple[bytes | None, ...]:
        return tuple(_pem(source) for source in self._sources)


class GrpcChannel:
    """A Channel on grpc.aio."""

    def __init__(
        self, address: HostPortPair, credentials: Credentials | None, max_answer_bytes: int
    ) -> None:
        self.endpoint = str(address)
        self._closed = False
        self._known_metadata: dict[Metadata, Any] = {}
        self._credentials = credentials
        self._max_answer_bytes = max_answer_bytes
        note_open(self)
        self._open()

    def _open(self) -> None:
        self._unary: dict[str, Any] = {}
        options: list[tuple[str, int | str]] = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", self._max_answer_bytes),
        ]
        if self._credentials is None:
            self._used: Any = None
            self._channel = grpc.aio.insecure_channel(self.endpoint, options=options)
            return
        if self._credentials.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self._credentials.server_name))
        self._used = self._credentials.current
        self._channel = grpc.aio.secure_channel(self.endpoint, self._used, options=options)

    async def connect(self, timeout: float) -> None:
        """Return once the connection is ready to carry calls."""
        await self._renew_credentials()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = 0.001
        while not self._closed:
            state = self._channel.get_state(try_to_connect=True)
            if state is READY:
                return
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                reason = await self._reason()
                if reason:
                    text = f"cannot connect to {self.endpoint}: {reason}"
                    raise StatusError(UNAVAILABLE, text, sent=False)
            if loop.time() >= deadline:
                break
            # Polled, because a cancelled wait_for_state_change leaves its watch behind in gRPC.
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
        reason = "connection closed" if self._closed else f"no connection within {timeout:.3g} s"
        raise StatusError(UNAVAILABLE, f"{reason}: {self.endpoint}", sent=False)

    async def unary(self, method: str, body: bytes, *, timeout: float, metadata: Metadata) -> bytes:
        """Send one message and return the answer."""
        if self._channel.get_state() is not READY:
            await self._ready(timeout)
        call = self._unary.get(method)
        if call is None:
            call = self._unary[method] = self._channel.unary_unary(method)
        try:
            answer: bytes = await call(body, timeout=timeout, metadata=self._metadata(metadata))
        except grpc.aio.AioRpcError as error:
            raise _status(error) from error
        except asyncio.CancelledError:
            self._check_own_cancellation()
            raise
        return answer

    async def stream(self, method: str, *, timeout: float, metadata: Metadata) -> ByteStream:
        """Open a call that stays open; `timeout` bounds the connecting only."""
        await self._ready(timeout)
        return GrpcStream(self._channel.stream_stream(method)(metadata=metadata))

    async def close(self) -> None:
        """Close the connection; its calls fail."""
        self._closed = True
        note_closed(self)
        await self._channel.close()

    async def _renew_credentials(self) -> None:
        """Open the channel anew if its certificates were renewed on disk since."""
        if self._credentials is None or self._closed:
            return
        self._credentials.refresh()
        if self._credentials.current is not self._used:
            stale = self._channel
            self._open()
            await stale.close()

    async def _reason(self) -> str:
        """Return why there is no connection: only a call that fails on it says so."""
        try:
            await self._channel.unary_unary(_HEALTH)(b"", timeout=1.0)
        except grpc.aio.AioRpcError as error:
            text = " ".join((error.details() or "").split()).rpartition("last error: ")[2]
            return _PLACE.sub("", text)[:_LONGEST_REASON]
        except asyncio.CancelledError:
            self._check_own_cancellation()
            raise
        return ""  # it was made meanwhile

    async def _ready(self, timeout: float) -> None:
        # Calls are made on a ready connection only, so that a failed call is known to be sent.
        if self._closed:
            raise StatusError(UNAVAILABLE, f"connection closed: {self.endpoint}", sent=False)
        if self._channel.get_state() is not READY:
            await self.connect(min(timeout, CONNECT_TIMEOUT))

    def _metadata(self, metadata: Metadata) -> Any:
        # grpc.aio would convert the tuple at every call; there are few, so each is converted once.
        known = self._known_metadata.get(metadata)
        if known is None:
            if len(self._known_metadata) > 8:  # tokens come and go
                self._known_metadata.clear()
            known = self._known_metadata[metadata] = grpc.aio.Metadata(*metadata)
        return known

    def _check_own_cancellation(self) -> None:
        # grpc.aio cancels the calls of a closed channel; the task of the caller is not cancelled.
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            raise StatusError(UNAVAILABLE, f"connection closed: {self.endpoint}", sent=True)


class GrpcStream:
    """A ByteStream on grpc.aio; flow control stops the sender while the reader is idle."""

    def __init__(self, call: Any) -> None:
        self._call: Any = call  # None once cancelled

    async def write(self, body: bytes) -> None:
        """Send one message."""
        try:
            await self._open_call().write(body)
        except grpc.aio.AioRpcError as error:
            raise _status(error) from error
        except asyncio.InvalidStateError as error:
            raise StatusError(UNAVAILABLE, "stream is closed", sent=True) from error

    async def done_writing(self) -> None:
        """Say that no message follows."""
        await self._open_call().done_writing()

    async def read(self) -> bytes | None:
        """Return the next message, None at the end."""
        try:
            body = await self._open_call().read()
        except grpc.aio.AioRpcError as error:
            raise _status(error) from error
        except asyncio.CancelledError:
            self._call = None
        else:
            return None if body is grpc.aio.EOF else body
        # Raised anew: the traceback of the first error would keep the call alive, and the call its
        # socket.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise asyncio.CancelledError
        raise StatusError(UNAVAILABLE, "connection closed", sent=True)

    def cancel(self) -> None:
        """End the call now; idempotent."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _open_call(self) -> Any:
        if self._call is None:
            raise StatusError(UNAVAILABLE, "stream is closed", sent=True)
        return self._call


def _status(exc: Any) -> StatusError:
    text = exc.details() or ""
    # gRPC's words for a call without a connection.
    unsent = text.startswith(("failed to connect to all addresses", "DNS resolution failed"))
    code: int = exc.code().value[0]
    if code == UNKNOWN:  # etcd 3.4 passes Go's own words on
        code = {"context deadline exceeded": 4, "context canceled": 1}.get(text, UNKNOWN)
        if text.startswith(_CUT):
            code = UNAVAILABLE
    return StatusError(code, text, sent=not unsent)


def grpc_channels(tls: EtcdTLS | None) -> ChannelFactory:
    """Return the factory of channels, with TLS if given.

    Raises:
        OSError: A TLS file cannot be read.
    """
    credentials = None if tls is None else Credentials(tls)

    def open_channel(address: HostPortPair, *, max_answer_bytes: int = UNLIMITED) -> Channel:
        return GrpcChannel(address, credentials, max_answer_bytes)

    return open_channel


def _pem(source: Path | str | bytes | None) -> bytes | None:
    return source if source is None or isinstance(source, bytes) else Path(source).read_bytes()
