"""What a program prints when its setup function raises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from micro._program.failure import trim_uncaught
from micro.testing import nats_server

PROGRAM = """\
import contextlib
import os

import micro
from micro import options


def price(item):
    return {"tea": 2}[item]


@contextlib.asynccontextmanager
async def prices():
    price("milk")
    yield


async def setup(ctx):
    await ctx.enter(prices())


def main():
    micro.run(setup, options.servers(os.environ["NATS_URL"]), trap_signals=True)
"""


def run(folder: Path, end: str) -> subprocess.CompletedProcess[str]:
    path = folder / "app.py"
    path.write_text(PROGRAM + end)
    with nats_server() as server:
        return subprocess.run(
            [sys.executable, str(path)],
            env={"NATS_URL": server.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def test_a_failed_setup_shows_the_frames_of_its_author_only(tmp_path: Path) -> None:
    done = run(tmp_path, "main()\n")

    files = re.findall(r'File "(.*)", line \d+, in (\S+)', done.stderr)
    names = ["<module>", "main", "setup", "prices", "price"]
    assert files == [(str(tmp_path / "app.py"), name) for name in names]
    assert done.stderr.endswith("KeyError: 'milk'\n")
    assert done.returncode == 1


def test_a_caller_of_run_catches_the_exception_with_all_its_frames(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import traceback\n"
        "try:\n    main()\nexcept KeyError as error:\n    traceback.print_exception(error)\n",
    )

    assert done.returncode == 0
    assert "run_forever" in done.stderr


def test_failures_that_are_caught_leave_one_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, frames: printed.append(error))
    for _ in range(2 * sys.getrecursionlimit()):
        trim_uncaught(ValueError())
    last = KeyError()

    sys.excepthook(KeyError, last, None)

    assert printed == [last]
