"""A server, services and the dashboard, in one command (`make run`).

The services use the server of `NATS_URL` if set. Otherwise the demo starts one with JetStream,
on port 4222 if that is free.
"""

import asyncio
import contextlib
import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from pydantic import BaseModel
from shop import app as shop

import micro
import micro_etcd
import micro_schema_registry
from micro.testing import nats_server

DEFAULT_URL = "nats://127.0.0.1:4222"
DASHBOARD_PORT = 8032
TRIALS = (
    ("request math.add '{\"a\": 1}'", "an error, with its field"),
    ("top", "the busiest endpoints"),
    ("new shop", "a project of your own"),
)


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
    try:
        await shop.setup(ctx)  # orders, billing, and a mailer
    except micro.MicroError as error:
        print(f"The shop does not run, it needs JetStream: {error}")


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


def micro_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "micro.cli", *arguments]


async def show(url: str, *arguments: str) -> None:
    print(f"\n$ micro {shlex.join(arguments)}", flush=True)
    process = await asyncio.create_subprocess_exec(*micro_command(*arguments, "--server", url))
    await process.wait()


@contextlib.asynccontextmanager
async def dashboard(url: str) -> AsyncIterator[str]:
    """Run `micro dashboard`, on its usual port if that is free, and yield its URL."""
    port = DASHBOARD_PORT if is_free(DASHBOARD_PORT) else 0
    process = await asyncio.create_subprocess_exec(
        *micro_command("dashboard", "--json", "--port", str(port), "--server", url),
        stdout=asyncio.subprocess.PIPE,
        process_group=0,  # Ctrl-C stops this program, which stops the dashboard
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    try:
        yield json.loads(line)["url"] if line else "did not start"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def print_trials(page: str, url: str) -> None:
    command = os.path.relpath(Path(sys.executable).with_name("micro"))
    print(f"\nDashboard: {page}")
    print("Try in another terminal, in this folder:")
    if url != DEFAULT_URL:
        print(f"  export NATS_URL={url}")
    for arguments, comment in TRIALS:
        print(f"  {f'{command} {arguments}':<45} # {comment}")
    print("Ctrl-C stops.", flush=True)


async def main(url: str) -> None:
    ctx = micro.Context()

    async def start(context: micro.Context) -> None:
        await setup(context)
        await show(url, "ls")
        await show(url, "request", "math.add", '{"a": 1, "b": 2}')
        page = await context.enter(dashboard(url))
        print_trials(page, url)

    await ctx.run_forever(start, micro.options.servers(url), trap_signals=True)
    print("Stopped.")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with server() as url:
        asyncio.run(main(url))
