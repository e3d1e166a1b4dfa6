"""A handler that forks: the child leaves the connection and the signals to its parent."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient

from micro.testing import NatsServer

PROGRAM = Path(__file__).with_name("forking_program.py")
LONG = 30.0


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        ("terminates", b"-15"),
        ("terminates_in_a_thread", b"-15"),
        ("exits", b"3"),
        ("returns", b"parent"),
    ],
)
async def test_parent_survives_the_end_of_a_child(
    server: NatsServer, caller: NatsClient, handler: str, answer: bytes
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", str(PROGRAM), server.url), stdout=-1, stderr=-1
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(LONG):
            assert await process.stdout.readline() == b"ready\n"
        assert (await caller.request(handler, timeout=LONG)).data == answer
        for number in range(20):
            data = b"%d" % number
            assert (await caller.request("echo", data, timeout=LONG)).data == data
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LONG):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
