"""`micro server`: the bundled nats-server in the foreground."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import nats

from micro.testing import free_port

from .conftest import Cli


async def store(url: str) -> None:
    async with await nats.connect(url) as client:
        stream = client.jetstream()
        await stream.add_stream(name="S", subjects=["s"])
        assert (await stream.publish("s", b"kept")).seq == 1


def test_it_serves_with_jetstream_until_interrupted(cli: Cli, tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "store"
    running = cli.start(
        *("server", "--json", "--port", str(port)),
        *("--jetstream", "--store-dir", str(folder), "--", "--name", "mine"),
    )
    told = json.loads(running.line("url"))
    running.line("Name:     mine")
    running.line("Server is ready")
    asyncio.run(store(told["url"]))

    assert told == {"url": f"nats://127.0.0.1:{port}", "pid": running.process.pid}
    assert running.stop(signal.SIGINT) == 0
    assert list(folder.rglob("*.blk"))


def test_a_store_without_jetstream_is_wrong_usage(cli: Cli) -> None:
    done = cli.quick("server", "--store-dir", "data")

    assert (done.code, done.err) == (2, "micro: --store-dir needs --jetstream\n")


def test_a_chosen_binary_that_cannot_be_run_is_named(cli: Cli) -> None:
    done = cli("server", NATS_SERVER_BIN="/nowhere/nats-server")

    assert (done.code, done.err) == (
        2,
        "micro: invalid NATS_SERVER_BIN '/nowhere/nats-server': "
        "expected a program that can be run\n",
    )
