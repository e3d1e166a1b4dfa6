"""What the fault tests share: a service in this process, load, and figures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import nats
import nats.errors
from nats.aio.client import Client as NatsClient

import micro
from micro._connection.settings import ConnectOption

Setup = Callable[[micro.Context], Awaitable[None]]


@contextlib.asynccontextmanager
async def running(setup: Setup, *options: ConnectOption) -> AsyncIterator[micro.Context]:
    """Run a program in this process while the block runs."""
    ctx, ready = micro.Context(), asyncio.Event()

    async def begin(context: micro.Context) -> None:
        await setup(context)
        ready.set()

    task = asyncio.create_task(ctx.run_forever(begin, *options))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
    try:
        yield ctx
    finally:
        ctx.cancel()
        await task


@contextlib.asynccontextmanager
async def told(name: str, text: str, *, within: float) -> AsyncIterator[None]:
    """Wait at the end of the block until a logger has said something, in it or then."""
    logger, said = logging.getLogger(name), asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                said.set()

    listener, level = Listener(), logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield
        await asyncio.wait_for(said.wait(), within)
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


async def until_served(url: str, service: str, subject: str, *, within: float) -> float:
    """Return after how many seconds requests are answered and discovery finds the service."""
    began = time.monotonic()
    caller = await nats.connect(url)
    try:
        async with asyncio.timeout(within):
            while not await _serves(caller, service, subject):
                await asyncio.sleep(0.005)
        return time.monotonic() - began
    finally:
        await caller.close()


async def _serves(caller: NatsClient, service: str, subject: str) -> bool:
    try:
        await caller.request(subject, b"x", timeout=0.25)
    except (nats.errors.Error, OSError):
        return False
    return len(await micro.Client(caller).ping(service, max_wait=1, max_count=1)) == 1


class Tally:
    """What became of requests sent at a steady rate, without retries."""

    def __init__(self, caller: NatsClient, timeout: float = 2.0) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        self._caller = caller
        self._timeout = timeout

    async def send(self, subject: str, data: bytes, *, rate: float, seconds: float) -> None:
        """Send for some seconds, then wait for every answer."""
        began, sent = time.monotonic(), 0
        async with asyncio.TaskGroup() as tasks:
            while (elapsed := time.monotonic() - began) < seconds:
                due = int(elapsed * rate)
                for _ in range(due - sent):
                    tasks.create_task(self.one(subject, data))
                sent = due
                await asyncio.sleep(0.002)

    async def one(self, subject: str, data: bytes) -> None:
        """Send one and note its outcome: ok, a code, or the name of an error."""
        began = time.perf_counter()
        try:
            answer = await self._caller.request(subject, data, timeout=self._timeout)
        except (nats.errors.Error, OSError) as error:
            outcome = type(error).__name__
        else:
            outcome = (answer.headers or {}).get("Nats-Service-Error-Code", "ok")
        self.outcomes[outcome] += 1
        self.seconds.setdefault(outcome, []).append(time.perf_counter() - began)

    def answered(self, *outcomes: str) -> float:
        """Return the part of all requests that had one of these outcomes."""
        return sum(self.outcomes[outcome] for outcome in outcomes) / self.outcomes.total()

    def percentile(self, percent: float, outcome: str = "ok") -> float:
        """Return how long requests of an outcome took, in seconds."""
        found = sorted(self.seconds[outcome])
        return found[min(len(found) - 1, int(len(found) * percent / 100))]
