"""The command in a process, a server, and a program to run."""

from __future__ import annotations

import inspect
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from micro.cli._app import app
from micro.testing import NatsServer, nats_server

PROGRAM = """
import asyncio
import os

import micro
from pydantic import BaseModel


class Pair(BaseModel):
    a: int
    b: int


async def add(pair: Pair) -> int:
    return pair.a + pair.b


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), headers=request.headers())


async def pid(request: micro.Request) -> None:
    await request.respond(str(os.getpid()).encode())


async def slow(request: micro.Request) -> None:
    print("slow began", flush=True)
    await asyncio.sleep(60)
    await request.respond(b"late")


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("echo", "1.2.3", "Echoes requests", {"team": "blue"})
    await service.add_endpoint("echo", echo)
    await service.add_endpoint("pid", pid)
    await service.add_endpoint("slow", slow)
    math = service.add_group("math")
    await math.add_endpoint("add", add)
    await ctx.client.subscribe("silent")  # an endpoint would answer 504 at the deadline
"""


def make_runner() -> CliRunner:
    """Return a runner that keeps the two outputs apart, which click below 8.2 must be told."""
    told = "mix_stderr" in inspect.signature(CliRunner.__init__).parameters
    options: dict[str, Any] = {"mix_stderr": False} if told else {}
    return CliRunner(**options)


@dataclass(frozen=True)
class Done:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A command that runs until it is stopped."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, part: str, *, within: float = 30) -> str:
        """Wait for a line that contains `part`."""
        while True:
            line = self._lines.get(timeout=within)
            assert line is not None, f"ended before {part!r}:\n" + "\n".join(self.seen)
            self.seen.append(line)
            if part in line:
                return line

    def stop(self, number: int = signal.SIGTERM, *, within: float = 60) -> int:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(within=within)

    def wait(self, *, within: float = 60) -> int:
        """Wait for the end."""
        code = self.process.wait(within)
        self._reader.join(within)
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Cli:
    """The command `micro` with a working folder and an environment."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = environ
        self.running: list[Running] = []

    def __call__(self, *arguments: str, stdin: bytes = b"", **environ: str) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "micro.cli", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
            cwd=self.folder,
            env=self.environ | environ,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def quick(self, *arguments: str) -> Done:
        """Run a command in this process, which saves the imports."""
        removed: dict[str, str | None] = {
            name: None for name in os.environ if name.startswith(("NATS_", "XDG_"))
        }
        done = make_runner().invoke(app, arguments, env={**removed, **self.environ})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    def start(self, *arguments: str, **environ: str) -> Running:
        """Start a command whose output (both streams) is read line by line."""
        process = subprocess.Popen(
            [sys.executable, "-m", "micro.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            cwd=self.folder,
            env=self.environ | environ,
        )
        running = Running(process)
        self.running.append(running)
        return running


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


def clean_environment(home: Path) -> dict[str, str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "XDG_"))}
    return environ | {"HOME": str(home), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def make_cli() -> Iterator[Callable[[Path, dict[str, str]], Cli]]:
    made: list[Cli] = []

    def make(folder: Path, environ: dict[str, str]) -> Cli:
        (folder / "app.py").write_text(PROGRAM)
        cli = Cli(folder, clean_environment(folder) | environ)
        made.append(cli)
        return cli

    yield make
    for cli in made:
        for running in cli.running:
            running.kill()


@pytest.fixture
def cli(
    tmp_path: Path, server: NatsServer, make_cli: Callable[[Path, dict[str, str]], Cli]
) -> Iterator[Cli]:
    cli = make_cli(tmp_path, {"NATS_URL": server.url})
    yield cli
    for running in cli.running:
        running.kill()


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
    server: NatsServer,
    make_cli: Callable[[Path, dict[str, str]], Cli],
) -> Running:
    """Run the program for all tests of a module, with `micro run`."""
    cli = make_cli(tmp_path_factory.mktemp("service"), {"NATS_URL": server.url})
    running = cli.start("run", "app:setup")
    running.line("app:setup is set up")
    return running
