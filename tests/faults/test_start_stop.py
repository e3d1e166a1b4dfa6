"""Starting and stopping whatever else happens: the exit code tells, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import nats
import pytest
from nats.aio.client import Client as NatsClient
from tests.runtime.conftest import Instance, Start

from micro.testing import NatsServer, free_port, nats_server


async def ended(instance: Instance, path: str, what: str) -> int:
    """Return the exit code, and print how many seconds it took."""
    began = time.monotonic()
    code = await instance.exit_code(within=15)
    print(f"{path}: {what}: exit {code} after {time.monotonic() - began:.3f} s")
    return code


async def test_server_that_comes_later_is_waited_for(path: str, start: Start) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        instance = await start(f"nats://127.0.0.1:{port}", retry="yes")
        assert instance.process.stderr is not None
        async with asyncio.timeout(20):
            await instance.process.stderr.readline()  # "still connecting"
        await asyncio.to_thread(stack.enter_context, nats_server(port=port))
        began = time.monotonic()
        await instance.ready()
        print(f"{path}: ready {time.monotonic() - began:.3f} s after the server (best 0.1 s)")
        instance.signal()
        assert await ended(instance, path, "stopped") == 0


async def test_signal_while_connecting(path: str, start: Start) -> None:
    instance = await start(f"nats://127.0.0.1:{free_port()}", retry="yes")
    assert instance.process.stderr is not None
    async with asyncio.timeout(20):
        await instance.process.stderr.readline()  # "still connecting"
    instance.signal()
    assert await ended(instance, path, "SIGTERM while connecting") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_in_setup(path: str, number: int, server: NatsServer, start: Start) -> None:
    instance = await start(server.url, setup="hang")
    await instance.line("in setup")
    instance.signal(number)
    assert await ended(instance, path, "signal while setup hangs") == 0


async def test_setup_that_raises(path: str, server: NatsServer, start: Start) -> None:
    instance = await start(server.url, setup="raise")
    assert await ended(instance, path, "setup raises") == 1
    assert "RuntimeError: setup went wrong" in await instance.errors()


async def test_no_server(path: str, start: Start) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    instance = await start(url)
    assert await ended(instance, path, "no server") == 1
    assert f"micro: cannot connect to {url}: " in await instance.errors()


async def test_signal_while_the_server_is_away(path: str, start: Start) -> None:
    with nats_server() as server:
        instance = await (await start(server.url)).ready()
    instance.signal()
    assert await ended(instance, path, "SIGTERM while the server is away") == 0


async def test_second_signal_answers_a_stuck_request_and_ends(path: str, start: Start) -> None:
    with nats_server() as server:
        caller: NatsClient = await nats.connect(server.url)
        instance = await (await start(server.url)).ready()
        asked = asyncio.create_task(caller.request("stuck", timeout=15))
        await caller.flush()
        await caller.request("echo", timeout=5)
        instance.signal()
        with pytest.raises(TimeoutError):
            await instance.exit_code(within=0.3)
        instance.signal()
        code = await ended(instance, path, "second signal")
        answer = await asked
        await caller.close()

    assert code == 0
    assert answer.headers is not None
    assert answer.headers["Nats-Service-Error-Code"] == "503"
