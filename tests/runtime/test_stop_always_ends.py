"""A process ends within its grace time plus two seconds, and names what is stuck."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from tests.faults.hostile import send_raw

from micro._wire import fast_transport
from micro.testing import NatsServer

from .conftest import Instance, Start

PROGRAM = Path(__file__).with_name("stuck_program.py")
GRACE = 1.0
SLACK = 2.0
"""Seconds that a busy machine may take beyond the promise."""


async def ended(instance: Instance, since: float, within: float) -> str:
    """Wait for the end, check the exit code and the time, and return the log."""
    assert instance.process.stderr is not None
    log = (await instance.process.stderr.read()).decode()  # also to keep the pipe empty
    assert await instance.exit_code() == 0
    assert time.monotonic() - since < within + SLACK
    return log


STUCK = {
    "waiting": "1 requests unfinished, cancelling",
    "swallowing": "the stop waits for task in swallowing (",
    "blocking": "the stop leaves thread 'micro' in blocking (",
}


@pytest.mark.parametrize("handler", STUCK)
async def test_a_stuck_handler_ends_with_the_grace_time(
    handler: str, server: NatsServer, nc: NatsClient, start: Start
) -> None:
    instance = await (await start(server.url, program=PROGRAM, grace=str(GRACE))).ready()
    request = asyncio.create_task(nc.request(handler, timeout=10))
    await nc.request("echo", timeout=5)
    stopped = instance.signal()
    answer = await request
    log = await ended(instance, stopped, GRACE + 2)

    assert answer.headers is not None
    assert answer.headers["Nats-Service-Error-Code"] == "503"
    assert STUCK[handler] in log


@pytest.mark.parametrize("handler", STUCK)
async def test_a_second_signal_ends_a_stuck_handler_at_once(
    handler: str, server: NatsServer, nc: NatsClient, start: Start
) -> None:
    instance = await (await start(server.url, program=PROGRAM)).ready()
    request = asyncio.create_task(nc.request(handler, timeout=10))
    await nc.request("echo", timeout=5)
    instance.signal()
    await asyncio.sleep(0.3)
    stopped = instance.signal(signal.SIGINT)
    answer = await request
    await ended(instance, stopped, 2)

    assert answer.headers is not None
    assert answer.headers["Nats-Service-Error-Code"] == "503"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("hang", "entered contexts did not exit within the grace time: cancelled"),
        ("swallow", "the stop waits for task in slow_exit ("),
    ],
)
async def test_an_exit_that_hangs_ends_with_the_grace_time(
    kind: str, line: str, server: NatsServer, start: Start
) -> None:
    instance = await start(server.url, program=PROGRAM, grace=str(GRACE), exit=kind)
    stopped = (await instance.ready()).signal()

    assert line in await ended(instance, stopped, GRACE + 2)


@pytest.mark.parametrize("path", ["fast", "public"])
async def test_a_burst_of_discovery_does_not_keep_a_stop_from_ending(
    path: str, server: NatsServer, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(fast_transport.VARIABLE, path)
    instance = await (await start(server.url, program=PROGRAM, grace="5")).ready()
    burst = b"PUB $SRV.INFO.stuck _INBOX.burst 0\r\n\r\n" * 5_000
    await asyncio.to_thread(send_raw, server.port, burst)
    stopped = instance.signal()

    assert "the stop takes too long" not in await ended(instance, stopped, 4)


async def test_the_environment_has_the_grace_time(
    server: NatsServer, nc: NatsClient, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "MICRO_GRACE", "0.2")
    instance = await (await start(server.url, program=PROGRAM)).ready()
    request = asyncio.create_task(nc.request("waiting", timeout=10))
    await nc.request("echo", timeout=5)
    stopped = instance.signal()
    await request

    await ended(instance, stopped, 2)


async def test_an_impossible_grace_time_is_one_line(server: NatsServer, start: Start) -> None:
    instance = await start(server.url, program=PROGRAM, grace="-1")

    assert await instance.exit_code() == 1
    expected = "micro: invalid grace time -1.0: expected a number of seconds from 0"
    assert (await instance.errors()).splitlines()[-1] == expected
