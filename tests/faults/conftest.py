"""Every fault is met on both paths; see ``MICRO_TRANSPORT``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.micro.path_kit import PATHS
from tests.runtime.conftest import Instance
from tests.runtime.conftest import start as start  # a fixture

from micro._wire import fast_transport

PROGRAM = Path(__file__).with_name("program.py")

Launch = Callable[..., Coroutine[Any, Any, Instance]]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make contexts, and programs that are started, take one path."""
    monkeypatch.setenv(fast_transport.VARIABLE, request.param)
    return str(request.param)


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Start the program of these tests with ``launch(url, key="value")``."""
    launched: list[asyncio.subprocess.Process] = []

    async def run(url: str, **settings: str) -> Instance:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            url,
            *(f"{key}={value}" for key, value in settings.items()),
            stdout=asyncio.subprocess.PIPE,
        )
        launched.append(process)
        return Instance(process)

    yield run
    for process in launched:
        if process.returncode is None:
            process.kill()
        await process.communicate()
