"""The dashboard in a process, a server per test, and a browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nats
import pytest
from nats.aio.client import Client as NatsClient

from micro import options
from micro._connection.settings import resolve
from micro.dashboard import serve
from micro.testing import nats_server

from ...interop.conftest import locked, unavailable
from .browser import Browser, browser

SECONDS = 30
PACKAGES = ("chromium", "chromium-driver")
COMMAND = (sys.executable, "-m", "micro.cli", "dashboard", "--port=0", "--interval=200ms", "--json")


SERVICES = (sys.executable, str(Path(__file__).parent / "services.py"))


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NATS_")}


@dataclass(frozen=True)
class Answer:
    """An answer of the dashboard."""

    status: int
    headers: Mapping[str, str]
    text: str


class Dashboard:
    """A running dashboard, requested as by its page."""

    def __init__(self, url: str, session: httpx.AsyncClient) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._answer("GET", path, headers)

    async def post(self, body: str, **headers: str) -> Answer:
        headers = {"Content_Type": "application/json", **headers}
        return await self._answer("POST", "/api/request", headers, body)

    async def until(self, wanted: Callable[[Any], Any]) -> Any:
        """Wait until the state is as wanted, and return it."""
        async with asyncio.timeout(SECONDS):
            while not wanted(state := json.loads((await self.get("/api/state")).text)):
                pass
        return state

    async def ask(self, subject: str, data: str = "", **more: Any) -> Any:
        answer = await self.post(json.dumps({"subject": subject, "data": data, **more}))
        assert answer.status == 200, answer.text
        return json.loads(answer.text)

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.url.rstrip("/") + path
        answer = await self._session.request(method, url, headers=named, content=body)
        return Answer(answer.status_code, answer.headers, answer.text)


@asynccontextmanager
async def running_dashboard(*given: options.ConnectOption) -> AsyncIterator[Dashboard]:
    """Run a dashboard on a free port."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(
            resolve([*given, options.retry()], {}),
            host="127.0.0.1",
            port=0,
            interval=0.2,
            ready=ready.set_result,
        )
    )
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS) as session:
        try:
            yield Dashboard(await ready, session)
        finally:
            serving.cancel()
            await asyncio.wait({serving})
    assert serving.cancelled(), serving.exception()


@pytest.fixture
def url() -> Iterator[str]:
    """Run a nats-server for one test, as the page shows every service on it."""
    with nats_server() as server:
        yield server.url


@pytest.fixture
async def nc(url: str) -> AsyncIterator[NatsClient]:
    """Connect to it."""
    async with await nats.connect(url) as client:
        yield client


@pytest.fixture
async def dashboard(url: str) -> AsyncIterator[Dashboard]:
    """Run a dashboard of its services."""
    async with running_dashboard(options.servers(url)) as dashboard:
        yield dashboard


@contextmanager
def running(*command: str) -> Iterator[str]:
    """Run a program and yield its first line."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, bufsize=1, env=clean_environment()
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Return the binaries of chromedriver and Chromium, installed if required."""
    with locked(Path.home() / ".cache/natsmicro/chromium.lock"):
        if not _chromium() and os.environ.get("INTEROP_REQUIRED") == "1" and os.geteuid() == 0:
            _install()
    binaries = _chromium()
    if binaries is None:
        unavailable(f"no browser: apt-get install {' '.join(PACKAGES)}")
    return binaries


def _chromium() -> tuple[str, str] | None:
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium")
    return None if driver is None or binary is None else (driver, binary)


def _install() -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (("update",), ("install", "-y", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run(
            ["apt-get", *command], env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            unavailable(f"'apt-get {command[0]}' failed: {done.stderr.strip()[-400:]}")


@pytest.fixture(scope="module")
def page(chromium: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Open a browser with an empty profile."""
    with browser(*chromium, str(tmp_path_factory.mktemp("chromium"))) as window:
        yield window


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with nats_server() as server:
        yield server.url


@pytest.fixture(scope="module")
def address(server: str) -> Iterator[str]:
    with running(*COMMAND, f"--server={server}") as line:
        yield json.loads(line)["url"]


@pytest.fixture
def opened(page: Browser, address: str) -> Iterator[Browser]:
    """Open the page as a new visitor; a message on the console fails the test."""
    page.resize(1440, 900)
    page.driver.get(address)
    page.run("localStorage.clear()")
    page.driver.get(address)
    page.console()
    yield page
    assert page.console() == []


@pytest.fixture(scope="module")
def shop(server: str) -> Iterator[None]:
    with running(*SERVICES, "shop", server):
        yield
