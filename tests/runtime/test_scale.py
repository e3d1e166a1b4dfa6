"""Eight worker processes on a cluster of three servers, two of which die under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

import nats

import micro

from .conftest import PROGRAM, Load
from .test_outages import cluster

WORKERS = 8
RATE = 200


@contextlib.asynccontextmanager
async def workers(*urls: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the program in workers of ``micro run``."""
    command = ["-m", "micro.cli", "run", "program:setup", "--workers", str(WORKERS)]
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "--server",
        ",".join(urls),
        cwd=PROGRAM.parent,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parent)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield supervisor
    finally:
        if supervisor.returncode is None:
            supervisor.kill()  # its workers see that it is gone
            await supervisor.wait()


async def discovered(client: micro.Client) -> set[str]:
    """Return the instances once all can be discovered."""
    async with asyncio.timeout(30):
        while True:
            found = await client.ping("runtime", max_wait=1, max_count=WORKERS)
            if len(found) == WORKERS:
                return {ping.id for ping in found}


async def sent(load: Load, count: int) -> None:
    async with asyncio.timeout(30):
        while load.sent < count:
            await asyncio.sleep(0.01)


async def test_workers_on_a_cluster_survive_its_nodes() -> None:
    """Nothing is lost before a node dies, nor from the moment on when all workers are back."""
    with cluster() as nodes:
        caller = await nats.connect(nodes[2].url)
        client = micro.Client(caller)
        async with workers(*(node.url for node in nodes)) as supervisor:
            instances = await discovered(client)
            for node in nodes[:2]:  # of the second one every worker was told, whoever was there
                during, after = Load(caller), Load(caller)
                async with during.steady("echo", RATE):
                    await sent(during, RATE)
                    assert during.failures == []
                    node.process.kill()
                    node.process.wait()
                    assert await discovered(client) == instances
                    async with after.steady("echo", RATE):
                        await sent(after, 2 * RATE)
                assert after.failures == []
            supervisor.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(supervisor.wait(), 30) == 0
        await caller.close()

    assert len(instances) == WORKERS
