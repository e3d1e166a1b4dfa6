"""A server, services, and the output of the tools, in one command (`make run`).

The services use the server of `NATS_URL` if set. Otherwise the demo starts one with JetStream,
on port 4222 if that is free.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator

from pydantic import BaseModel

import micro
import micro_etcd
import micro_schema_registry
from micro.testing import nats_server


class Pair(BaseModel):
    a: int
    b: int


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), headers=request.headers())


async def add(pair: Pair) -> int:
    return pair.a + pair.b


async def slow(request: micro.Request) -> None:
    await asyncio.sleep(0.5)
    await request.respond(b"at last")


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("demo", "1.0.0", description="What micro does, in one service")
    await service.add_endpoint("echo", echo)
    await service.add_endpoint("slow", slow)
    math = service.add_group("math")
    await math.add_endpoint("add", add)
    await micro_schema_registry.setup(ctx)  # a registry in JetStream
    await micro_etcd.setup_embedded(ctx)  # an etcd of its own


@contextlib.contextmanager
def server() -> Iterator[str]:
    given = os.environ.get("NATS_URL")
    if given:
        yield given
        return
    with nats_server(port=4222 if is_free(4222) else None, jetstream=True) as started:
        yield started.url


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def show(url: str, *arguments: str) -> None:
    print(f"\n$ micro {shlex.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "micro.cli", *arguments, "--server", url]
    subprocess.run(command, check=False)


async def main(url: str) -> None:
    ctx = micro.Context()

    async def start(context: micro.Context) -> None:
        await setup(context)
        client = micro.Client(context.client)
        await client.request("math.add", b'{"a": 1, "b": 2}')
        for arguments in (["ls"], ["stats"], ["request", "math.add", '{"a": 1, "b": 2}']):
            await asyncio.to_thread(show, url, *arguments)
        print(f"\nRunning at {url}. From another terminal, in this folder:")
        print(f"  .venv/bin/micro request echo hello --server {url}")
        print("Ctrl-C stops.", flush=True)

    await ctx.run_forever(start, micro.options.servers(url), trap_signals=True)
    print("Stopped.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with server() as url:
        asyncio.run(main(url))
