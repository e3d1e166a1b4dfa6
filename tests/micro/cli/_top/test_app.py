"""The terminal application of `micro top`: keys and sizes, and the command in a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

import micro
from micro import options
from micro._client.client import Client
from micro.cli._stats import Look
from micro.cli._top.app import Details, Sight, TopApp
from micro.testing import NatsServer

LONG = 60.0


async def setup(ctx: micro.Context) -> None:
    async def echo(request: micro.Request) -> None:
        await request.respond(request.data())

    for number in range(30):
        service = await ctx.add_service(f"service{number}", "1.0.0")
        await service.add_endpoint("echo", echo, f"top.{number}")


def make_app(ctx: micro.Context) -> TopApp:
    async def look() -> Sight:
        services = await Client(ctx).stats(max_wait=LONG, max_count=30)
        return Sight(services, Look(time.monotonic(), tuple(services)).rates(Look(0.0, ())))

    return TopApp(look, interval=0.3, problem=lambda: None)


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await pilot.pause(0.02)


def titles(table: DataTable[object]) -> set[str]:
    return {str(column.label) for column in table.columns.values()}


def table_of(app: TopApp) -> DataTable[object]:
    return app.screen_stack[0].query_one(DataTable)


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 50)])
async def test_the_table_fits_the_terminal(server: NatsServer, size: tuple[int, int]) -> None:
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(server.url))
        await setup(ctx)
        app = make_app(ctx)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: table_of(app).row_count >= 30)
            table = table_of(app)

            assert table.virtual_size.width <= size[0]
            assert table.max_scroll_x == 0


async def test_keys_sort_filter_split_and_open(server: NatsServer) -> None:
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(server.url))
        await setup(ctx)
        app = make_app(ctx)
        async with app.run_test(size=(80, 24)) as pilot:
            table = table_of(app)
            state = app.query_one("#state", Static)
            await until(pilot, lambda: table.row_count >= 30)
            await pilot.press("s")
            await until(pilot, lambda: "by errors/s" in str(state.render()))
            await pilot.press("i")
            await until(
                pilot, lambda: "Instances" in {str(c.label) for c in table.columns.values()}
            )
            await pilot.press("slash", *"service7")
            await until(pilot, lambda: table.row_count == 1)
            await pilot.press("enter")
            await until(pilot, lambda: table.has_focus)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Details))
            summary = str(app.screen.query_one("#summary", Static).render())
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, Details))
            await pilot.press("escape")
            await until(pilot, lambda: table.row_count >= 30)
            await pilot.press("pagedown")
            await until(pilot, lambda: table.scroll_y > 0)
            await pilot.press("q")

    assert app.return_code == 0
    assert "Subject: top.7" in summary


def test_the_command_runs_in_a_terminal_until_q(server: NatsServer) -> None:
    """A terminal of 80 columns, without tmux: a pair of pseudo terminals."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "micro.cli", "top", "--server", server.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while b"0 services" not in shown:
            shown += os.read(ours, 65536)
        os.write(ours, b"q")
        while process.poll() is None:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait(LONG) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Req/s" in shown
