"""The etcd service for tests: instances in this process, or as processes that can be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client as NatsClient

import micro
from micro_etcd import (
    EtcdClient,
    EtcdCredential,
    EtcdService,
    EtcdServiceSettings,
    add_etcd_service,
)
from micro_etcd.testing import EtcdServer


class Instance:
    """One instance in this process."""

    def __init__(self, ctx: micro.Context, service: EtcdService) -> None:
        self.ctx = ctx
        self.service = service


@asynccontextmanager
async def instance(
    url: str,
    etcd: EtcdServer,
    namespaces: dict[str, Any],
    *,
    credentials: EtcdCredential | None = None,
    **settings: Any,
) -> AsyncIterator[Instance]:
    """Serve an etcd while the block runs."""
    chosen = EtcdServiceSettings.model_validate({"namespaces": namespaces, **settings})
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(url))
        connection = await ctx.enter(EtcdClient(etcd.address, credentials, encoding=None).connect())
        yield Instance(ctx, await add_etcd_service(ctx, connection, chosen))


@asynccontextmanager
async def process(
    url: str, etcd: EtcdServer, namespaces: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m micro_etcd` until the block ends, if it lives that long."""
    env = {
        **os.environ,
        "NATS_URL": url,
        "ETCD_ENDPOINTS": str(etcd.address),
        "ETCD_NAMESPACES": namespaces,
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "micro_etcd", *arguments, env=env, stdout=subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        line = await asyncio.wait_for(running.stdout.readline(), 60)
        assert b"is running" in line
        yield running
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGCONT)
            running.terminate()
            await asyncio.wait_for(running.communicate(), 60)


async def ask(
    nc: NatsClient, subject: str, body: Any, headers: dict[str, str] | None = None
) -> Any:
    """Send JSON and return the JSON answered."""
    answer = await micro.Client(nc).request(subject, json.dumps(body).encode(), headers, timeout=20)
    return json.loads(answer.data)


async def refusal(nc: NatsClient, subject: str, body: Any) -> micro.ServiceError:
    """Return the error a request is answered with."""
    try:
        found = await ask(nc, subject, body)
    except micro.ServiceError as error:
        return error
    raise AssertionError(f"not refused: {found!r}")
