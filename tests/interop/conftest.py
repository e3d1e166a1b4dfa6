"""Peers in other languages: processes, built once into a cache outside the repository.

A peer is a program with two commands. ``serve URL`` offers the service ``interop`` until standard
input ends, after it has printed ``{"id": ...}``. ``call URL NAME`` finds the service of that name,
calls its endpoints and prints what it saw as one JSON object.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient

from micro.testing import nats_server

HERE = Path(__file__).parent
BUILD_SECONDS = 900
ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Peer:
    """A program that speaks ADR-32 without our code."""

    name: str
    command: tuple[str, ...]

    @asynccontextmanager
    async def serving(self, url: str) -> AsyncIterator[str]:
        """Run its service and yield the id of the instance."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            "serve",
            url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await process.stdout.readline()
            yield json.loads(line)["id"]
            process.stdin.close()
            async with asyncio.timeout(ANSWER_SECONDS):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def call(self, url: str, name: str) -> dict[str, Any]:
        """Run its client and return its observations."""
        answer = json.loads(await run(*self.command, "call", url, name))
        assert isinstance(answer, dict)
        return answer


async def run(*command: str, env: dict[str, str] | None = None) -> bytes:
    """Run a program and return its output."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=env
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, printed
    return printed


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("INTEROP_REQUIRED") == "1":
        pytest.fail(f"INTEROP_REQUIRED=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def built(sources: Path, *command: str) -> Path:
    """Return a folder with the built sources, made on first use."""
    if shutil.which(command[0]) is None:
        unavailable(f"{command[0]!r} is not on the PATH")
    files = sorted(path for path in sources.iterdir() if path.is_file())
    digest = hashlib.sha256(repr(command).encode())
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = Path(cache, "natsmicro", "interop", f"{sources.name}-{digest.hexdigest()[:16]}")
    with locked(target.with_suffix(".lock")):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as name:
                staging = Path(name, "build")
                staging.mkdir()
                for path in files:
                    shutil.copy(path, staging)
                build(staging, command)
                staging.rename(target)
    return target


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock against the other test processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(folder: Path, command: tuple[str, ...]) -> None:
    shown = " ".join(command)
    output = folder / "build.log"
    with output.open("wb") as log:
        # A new session, since only a process group can be ended with all its compilers.
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            process.wait(BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            unavailable(f"'{shown}' took more than {BUILD_SECONDS} seconds")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        unavailable(f"'{shown}' failed: {output.read_text(errors='replace').strip()[-800:]}")


@functools.cache
def make_peer(name: str) -> Peer:
    if name == "go":
        folder = built(HERE / "go", "go", "build", "-o", "peer", ".")
        return Peer(name, (str(folder / "peer"),))
    if name == "js":
        folder = built(HERE / "js", "npm", "ci", "--no-audit", "--no-fund")
        return Peer(name, ("node", str(folder / "peer.mjs")))
    return Peer(name, (sys.executable, str(HERE / "nats_py" / "peer.py")))


@pytest.fixture
def rust_reader() -> Callable[..., Awaitable[bytes]]:
    """Return the program that reads a service with the types of async-nats: `URL NAME`."""
    folder = built(HERE / "rust", "cargo", "build", "--quiet", "--locked")
    return functools.partial(run, str(folder / "target" / "debug" / "peer"), "call")


PEERS = [
    pytest.param("go", marks=pytest.mark.interop),
    pytest.param("js", marks=pytest.mark.interop),
    "nats-py",
]


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    """Return each peer in turn, or those of an indirect parametrisation."""
    return make_peer(request.param)


@pytest.fixture
def all_peers() -> list[Peer]:
    """Return all peers."""
    return [make_peer(name) for name in ("go", "js", "nats-py")]


@pytest.fixture
def nats_cli(url: str, tmp_path: Path) -> Callable[..., Awaitable[bytes]]:
    """Return the `nats` command on the server, without the contexts of the user."""
    folder = built(HERE / "natscli", "go", "build", "-o", "nats", "github.com/nats-io/natscli/nats")
    env = {key: value for key, value in os.environ.items() if not key.startswith("NATS_")}
    env.update(XDG_CONFIG_HOME=str(tmp_path), NATS_URL=url)
    return functools.partial(run, str(folder / "nats"), env=env)


@pytest.fixture
def url() -> Iterator[str]:
    """Run a nats-server for one test."""
    with nats_server() as server:
        yield server.url


@pytest_asyncio.fixture
async def nc(url: str) -> AsyncIterator[NatsClient]:
    """Connect to it."""
    client = await nats.connect(url)
    yield client
    await client.close()
