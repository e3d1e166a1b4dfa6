"""The fixtures work in a project that switches them on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

USER_TEST = """
import asyncio
import nats

def test_first(nats_server):
    async def ask() -> None:
        nc = await nats.connect(nats_server.url)
        await nc.jetstream().account_info()
        await nc.close()
    asyncio.run(ask())

def test_second_has_the_same_server(nats_server):
    assert nats_server.process.poll() is None
"""


def test_a_project_gets_a_server_by_naming_the_plugin(tmp_path: Path) -> None:
    tmp_path.joinpath("conftest.py").write_text('pytest_plugins = ["micro.pytest_plugin"]\n')
    tmp_path.joinpath("test_user.py").write_text(USER_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "2 passed" in done.stdout, done.stdout + done.stderr
