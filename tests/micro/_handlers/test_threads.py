"""Blocking handlers: their own threads, bounded, and gone with their service."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import ConfigError, Request, ServiceError
from micro._handlers.threads import Threads
from micro.testing import NatsServer

from ..path_kit import PATHS, connections

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("v", default="")


@pytest.fixture(params=PATHS)
async def nc(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect the part under test by each path in turn."""
    async with connections(request.param) as connect:
        yield await connect(server.url)


async def test_hanging_handlers_stop_nothing_but_themselves(
    nc: NatsClient, caller: NatsClient
) -> None:
    """Name resolution uses the default executor of asyncio, and so do reconnects."""
    release, entered = threading.Event(), threading.Semaphore(0)

    def hang(request: Request) -> None:
        entered.release()
        release.wait(60)
        request.respond(b"late")

    def quick(request: Request) -> None:
        request.respond(threading.current_thread().name.encode())

    client = micro.Client(caller)
    async with (
        micro.add_service(nc, "hang", "1.0.0", max_threads=40) as hanging,
        micro.add_service(nc, "quick", "1.0.0") as other,
    ):
        await hanging.add_endpoint("hang", hang)
        await other.add_endpoint("quick", quick)
        waiting = [asyncio.create_task(client.request("hang", timeout=60)) for _ in range(40)]
        try:
            async with asyncio.timeout(30):
                while entered.acquire(blocking=False) is False:
                    await asyncio.sleep(0.01)
                assert (await client.request("quick", timeout=20)).data == b"micro"
                loop = asyncio.get_running_loop()
                assert await loop.getaddrinfo("localhost", 1)
                assert await loop.run_in_executor(None, lambda: 7) == 7
        finally:
            release.set()
        assert {answer.data for answer in await asyncio.gather(*waiting)} == {b"late"}


async def test_calls_beyond_the_threads_wait_and_then_are_refused(
    nc: NatsClient, caller: NatsClient
) -> None:
    release = threading.Event()
    running, most = 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait(60)
        with lock:
            running -= 1
        return number

    client = micro.Client(caller)
    codes: list[int] = []
    headers: list[dict[str, str]] = []

    async def ask(number: int) -> None:
        try:
            assert (await client.request("work", b"%d" % number, timeout=60)).data == b"%d" % number
        except ServiceError as error:
            codes.append(error.code)
            headers.append(error.headers)
            if len(codes) == 5:
                release.set()

    async with micro.add_service(nc, "work", "1.0.0", max_threads=2) as service:
        await service.add_endpoint("work", work)
        await asyncio.gather(*(ask(number) for number in range(2 * 9 + 5)))

    assert codes == [503] * 5
    assert headers == [{"Retry-After": "1"}] * 5
    assert most <= 2


async def test_call_that_is_given_up_while_it_waits_is_never_made() -> None:
    threads = Threads(1)
    release = threading.Event()
    calls: list[int] = []
    first = asyncio.create_task(threads.run(release.wait, 60))
    second = asyncio.create_task(threads.run(calls.append, 2))
    third = asyncio.create_task(threads.run(calls.append, 3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    release.set()
    await asyncio.gather(first, third)
    threads.close()

    assert calls == [3]


async def test_threads_are_made_when_needed_and_end_with_the_pool() -> None:
    threads = Threads(8)
    before = set(threading.enumerate())
    for _ in range(20):
        await threads.run(int)
    (made,) = set(threading.enumerate()) - before
    threads.close()
    made.join(20)

    assert not made.is_alive()


async def test_results_errors_and_context_come_through() -> None:
    threads = Threads(1)
    VARIABLE.set("of the caller")

    def fail() -> None:
        raise StopIteration

    assert await threads.run(VARIABLE.get) == "of the caller"
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(fail)
    threads.close()


def test_no_thread_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Threads(0)
    assert str(caught.value) == "invalid max_threads 0: expected at least 1"


def test_thread_that_hangs_does_not_keep_the_process() -> None:
    program = """
import asyncio, threading
from micro._handlers.threads import Threads
async def main():
    asyncio.create_task(Threads(1).run(threading.Event().wait))
    await asyncio.sleep(0.1)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
