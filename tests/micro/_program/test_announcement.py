"""The lines that a program logs once it is set up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from micro.testing import NatsServer, nats_server

PROGRAM = """
import logging
import micro

async def echo(request):
    await request.respond(request.data())

async def stop(ctx):
    ctx.cancel()

async def setup(ctx):
    {before}
    service = await ctx.add_service("echo", "1.0.0")
    for index in range({endpoints}):
        await service.add_endpoint(f"echo{{index}}", echo)
    ctx.spawn(stop(ctx))

micro.run(setup, trap_signals=True)
{after}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


def run(server: NatsServer, *, endpoints: int = 1, before: str = "pass", after: str = "") -> str:
    program = PROGRAM.format(endpoints=endpoints, before=before, after=after)
    url = server.url.replace("nats://", "nats://user:secret@")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "NATS_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stderr
    return done.stderr


def test_a_program_without_logging_says_what_runs_where_and_how_to_stop_it(
    server: NatsServer,
) -> None:
    lines = run(server).splitlines()

    assert lines[:3] == [
        f"INFO    service echo 1.0.0 on {server.url}: 1 endpoint",
        "INFO      echo0  echo0",
        "INFO    Ctrl-C stops it; no request is lost",
    ]


def test_a_program_that_configures_logging_gets_its_own_lines_only(server: NatsServer) -> None:
    quiet = run(server, before="logging.basicConfig(level=logging.WARNING)")
    own = run(server, before="logging.basicConfig(level=logging.INFO, format='own %(message)s')")

    assert quiet == ""
    assert own.count("own service echo 1.0.0 on ") == 1
    assert {line.split()[0] for line in own.splitlines()} == {"own"}


def test_the_default_lines_end_with_the_program(server: NatsServer) -> None:
    printed = run(server, after="logging.getLogger('micro.x').info('after the end')")

    assert "after the end" not in printed


def test_a_long_list_of_endpoints_is_cut(server: NatsServer) -> None:
    lines = run(server, endpoints=12).splitlines()

    assert lines[10:12] == ["INFO      echo9  echo9", "INFO      and 2 more: micro info echo"]
