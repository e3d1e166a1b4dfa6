"""Processes and load for the runtime tests."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

from micro.testing import NatsServer, nats_server

PROGRAM = Path(__file__).with_name("program.py")


class Instance:
    """The program in a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, expected: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while True:
                line = await self.process.stdout.readline()
                assert line, f"ended before it printed {expected!r}"
                if line.decode().strip() == expected:
                    return

    async def ready(self) -> Instance:
        await self.line("ready")
        return self

    def signal(self, number: int = signal.SIGTERM) -> float:
        self.process.send_signal(number)
        return time.monotonic()

    async def exit_code(self, within: float = 20) -> int:
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


Start = Callable[..., Coroutine[Any, Any, Instance]]


@asynccontextmanager
async def starting() -> AsyncIterator[Start]:
    """Start the program with ``start(url, key="value")``; it is ended with the block."""
    started: list[asyncio.subprocess.Process] = []

    async def run(url: str, *, program: Path = PROGRAM, **settings: str) -> Instance:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            url,
            *(f"{key}={value}" for key, value in settings.items()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        started.append(process)
        return Instance(process)

    try:
        yield run
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start the program with ``start(url, key="value")``."""
    async with starting() as run:
        yield run


@pytest.fixture
def server() -> Any:
    with nats_server() as found:
        yield found


@pytest.fixture
async def nc(server: NatsServer) -> AsyncIterator[NatsClient]:
    client = await nats.connect(server.url)
    yield client
    await client.close()


class Load:
    """Requests at a steady rate, without retries; every failure is kept."""

    def __init__(self, nc: NatsClient, timeout: float = 2.0) -> None:
        self.sent = 0
        self.failures: list[str] = []
        self._nc = nc
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def steady(self, subject: str, rate: float) -> AsyncIterator[None]:
        """Send ``rate`` requests per second while the block runs, then wait for the answers."""
        pump = asyncio.create_task(self._pump(subject, rate))
        try:
            yield
        finally:
            pump.cancel()
            await asyncio.wait({pump})
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _pump(self, subject: str, rate: float) -> None:
        began, count = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate)
            for _ in range(due - count):
                task = asyncio.create_task(self.one(subject))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            count = due
            await asyncio.sleep(0.002)

    async def one(self, subject: str) -> None:
        self.sent += 1
        try:
            answer = await self._nc.request(subject, b"x" * 64, timeout=self._timeout)
            if answer.headers:
                self.failures.append(f"{subject}: {answer.headers}")
        except (nats.errors.Error, OSError) as error:
            self.failures.append(f"{subject}: {error!r}")
