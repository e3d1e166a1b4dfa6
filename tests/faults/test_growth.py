"""A client does not grow, however its requests end."""

from __future__ import annotations

import asyncio
import json
import sys

from micro.testing import nats_server

from . import growth
from .conftest import Launch

REQUESTS = 10_000
BAR = 6 * 1024
"""KiB a stage."""


async def test_client_keeps_nothing_of_its_requests(path: str, launch: Launch) -> None:
    with nats_server() as server:
        await (await launch(server.url)).ready()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            growth.__file__,
            server.url,
            str(REQUESTS),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()

    assert process.returncode == 0
    grown: dict[str, int] = json.loads(printed)
    print(f"{path}: KiB after {REQUESTS} requests each: {grown} (bar {BAR})")
    assert len(grown) == 6
    assert max(grown.values()) <= BAR
