"""What the benchmarks share: processes on their cores, CPU time, rounds, and one table.

Everything that is compared is alive at the same time, and measured in turn within each round, in
rotating order: the services on one core, nats-server and the load on the other. Read the ratios; a
busy machine moves the absolute
numbers, and above some 300,000 requests per second it is nats-server that is measured.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from micro.testing import NatsServer, nats_server

HERE = Path(__file__).parent
PEERS = HERE / "peers"
BUILD = HERE / ".build"
OWN = sys.executable
PEER_PYTHON = BUILD / "venv" / "bin" / "python"

SERVICE_CORE, LOAD_CORE = "1", "0"


def pinned(core: str, command: Sequence[str]) -> list[str]:
    """Return the command bound to a core, where there are several and taskset."""
    several = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ["taskset", "-c", core, *command] if several else list(command)


def compiled(name: str) -> str:
    """Return a program of this folder, built from C."""
    BUILD.mkdir(exist_ok=True)
    source, target = HERE / f"{name}.c", BUILD / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", str(target), str(source)], check=True)
    return str(target)


def go_peer() -> str | None:
    """Return the peer written in Go, None where there is no Go."""
    if shutil.which("go") is None:
        return None
    target = BUILD / "go-peer"
    changed = max(source.stat().st_mtime for source in (PEERS / "go").iterdir())
    if not target.exists() or target.stat().st_mtime < changed:
        BUILD.mkdir(exist_ok=True)
        subprocess.run(
            ["go", "build", "-o", str(target.resolve()), "."], cwd=PEERS / "go", check=True
        )
    return str(target)


def node_peer() -> list[str] | None:
    """Return the command of the peer written in JavaScript, None where there is no Node."""
    if shutil.which("npm") is None:
        return None
    if not (PEERS / "node_modules").exists():
        subprocess.run(["npm", "install", "--silent", "--no-fund"], cwd=PEERS, check=True)
    return ["node", str(PEERS / "service.mjs")]


def natsio_peer() -> list[str] | None:
    """Return the command of natsio's micro, None where there is no Python 3.13 for it."""
    folder = BUILD / "venv-3.13"
    if not (folder / "done").exists():
        installed = Path.home().glob(".pyenv/versions/3.13.*/bin/python")
        found = next(map(str, installed), None) or shutil.which("python3.13")
        if found is None:
            return None
        subprocess.run([found, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "natsio"]
        subprocess.run(pip, check=True)
        (folder / "done").touch()
    return [str(folder / "bin" / "python"), str(PEERS / "natsio_echo.py")]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that all threads of a process have used (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def memory_kib(pid: int) -> int:
    """Return the resident memory of a process (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


@contextmanager
def server(config: str | None = None) -> Iterator[NatsServer]:
    """Run a nats-server on the core of the load."""
    with nats_server(config=config) as found:
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            for task in Path(f"/proc/{found.process.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {int(LOAD_CORE)})
        yield found


@contextmanager
def process(
    command: Sequence[str],
    *,
    core: str = SERVICE_CORE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the block runs."""
    started = subprocess.Popen(
        pinned(core, command), env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_for_answer(port: int, subject: str, payload: bytes = b"", timeout: float = 20.0) -> None:
    """Return when somebody answers on a subject."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with socket.create_connection(("127.0.0.1", port)) as link:
            link.settimeout(1)
            link.sendall(
                b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB a 1\r\n'
                b"PUB %b a %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)
            )
            received = b""
            with suppress(TimeoutError):
                while b"MSG a 1 " not in received or not received.endswith(b"\r\n"):
                    received += link.recv(65536)
                if b"NATS/1.0 503" not in received:
                    return
        time.sleep(0.05)
    raise SystemExit(f"nobody answers on {subject}")


PATHS = ("native", "fast", "public")


def paths() -> tuple[str, ...]:
    """Return the paths that can be measured; "native" only where the accelerator is installed."""
    return PATHS if find_spec("natsmicro_native") is not None else PATHS[1:]


def environment(path: str) -> dict[str, str]:
    """Return the variables that choose a path: "native", "fast" and "public", or "auto"."""
    transport = "fast" if path == "native" else path
    return {"MICRO_TRANSPORT": transport, "MICRO_NATIVE": str(int(path == "native"))}


class Services:
    """Services to compare: name -> command, with the URL and the subject of each added to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pids: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(
        self,
        name: str,
        script: Sequence[str],
        *arguments: str,
        path: str = "auto",
        payload: bytes = b"",
    ) -> None:
        """Start a service; ``arguments`` follow its URL and its subject."""
        command = [*script, f"nats://127.0.0.1:{self.port}", subject(name), *arguments]
        started = process(command, environment=environment(path))
        self.pids[name] = self._stack.enter_context(started).pid
        wait_for_answer(self.port, subject(name), payload)

    def measure(
        self,
        name: str,
        *,
        seconds: float,
        window: int,
        size: int = 64,
        headers: bool | str = False,
        text: str | None = None, settle: float = 0.03,
    ) -> dict[str, float]:  # fmt: skip
        """Load one service, and return what `load` reports, ``rate`` and ``cpu_us`` per request.

        ``headers`` is whether requests have the usual two, or the one line that they have.
        """
        command = [compiled("load"), str(self.port), subject(name), str(seconds), str(window)]
        command += [
            str(size),
            headers if isinstance(headers, str) else str(int(headers)),
            *([text] if text is not None else []),
        ]
        before = cpu_seconds(self.pids[name])
        done = subprocess.run(
            pinned(LOAD_CORE, command), capture_output=True, text=True, check=True
        )
        time.sleep(settle)
        found: dict[str, float] = json.loads(done.stdout)
        found["rate"] = found["answers"] / found["seconds"]
        used = cpu_seconds(self.pids[name]) - before
        found["cpu_us"] = used / max(found["all_answers"], 1) * 1e6
        return found


def subject(name: str) -> str:
    return "bench." + name.replace(" ", "-").replace(",", "")


def rounds(names: Sequence[str], count: int) -> Iterator[tuple[int, str]]:
    """Yield round and name, every name once in each round, in rotating order."""
    for number in range(count):
        shift = number % len(names)
        for name in [*names[shift:], *names[:shift]]:
            yield number, name


Results = dict[tuple[int, str], dict[str, float]]


def value(results: Results, name: str, key: str) -> float:
    """Return the median over the rounds."""
    return median(found[key] for (_, who), found in results.items() if who == name)


def ratio(results: Results, name: str, base: str, key: str) -> float:
    """Return the median of the ratios to another one in the same round."""
    return median(
        found[key] / results[number, base][key]
        for (number, who), found in results.items()
        if who == name and (number, base) in results
    )


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table in Markdown."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header), flush=True)
    for row in rows:
        print(
            "| "
            + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row)
            + " |"
        )
    sys.stdout.flush()
