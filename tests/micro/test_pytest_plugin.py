"""The fixtures work in a project that has installed the package, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVERS = """
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

APPS = """
import asyncio
import micro
import pytest
from micro.pytest_plugin import MicroApp

PRICES = {"tea": 3}

@pytest.fixture
def anyio_backend():
    return "asyncio"  # trio may be installed

async def setup(ctx, prices=PRICES):
    async def price(request):
        await request.respond(str(prices[request.data().decode()]).encode())

    service = await ctx.add_service("shop", "1.0.0")
    await service.add_endpoint("price", price)

async def ask(micro_app, **resources):
    async with micro_app(setup, **resources) as app:
        assert [service.name for service in app.context.services] == ["shop"]
        answer = (await app.client.request("price", b"tea")).data
    with pytest.raises(micro.StoppedError):
        await app.context.add_service("late", "1.0.0")
    return answer

async def test_with_pytest_asyncio(micro_app: MicroApp):
    assert await ask(micro_app) == b"3"

@pytest.mark.anyio
async def test_with_anyio(micro_app, anyio_backend_name):
    assert await ask(micro_app) == b"3"

def test_without_a_plugin(micro_app):
    assert asyncio.run(ask(micro_app, prices={"tea": 4})) == b"4"
"""

LOOP_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")

BACKENDS = """
async def test_a_registry(registry):
    async with registry() as client:
        made = await client.register_schema("user", {"type": "string"})
        assert await client.get_schema("user") == made

async def test_a_registry_is_empty_again(registry):
    async with registry() as client:
        assert list(await client.list_artifacts()) == []

def test_an_etcd(etcd_server):
    assert etcd_server.metric("etcd_server_has_leader") == 1
"""


ASYNCIO = ("-o", "asyncio_mode=auto", *LOOP_SCOPE)


def run(folder: Path, test: str, plugins: tuple[str, ...] = ASYNCIO) -> str:
    folder.joinpath("test_user.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    done = subprocess.run(
        [*command, *plugins],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("conftest", ["", 'pytest_plugins = ["micro.pytest_plugin"]\n'])
def test_a_project_gets_a_server_whether_it_names_the_plugin_or_not(
    tmp_path: Path, conftest: str
) -> None:
    tmp_path.joinpath("conftest.py").write_text(conftest)

    assert "2 passed" in run(tmp_path, SERVERS)


def test_a_setup_function_runs_with_a_client_and_resources_of_the_test(tmp_path: Path) -> None:
    assert "3 passed" in run(tmp_path, APPS)


def test_anyio_is_enough(tmp_path: Path) -> None:
    """As in a project that has pytest and anyio, and no pytest-asyncio."""
    _, first, second = APPS.partition("async def test_with_pytest_asyncio")
    test = APPS.removesuffix(first + second) + second.partition("\n\n")[2]

    assert "2 passed" in run(tmp_path, test, ("-p", "no:asyncio", "-W", "error"))


def test_a_registry_and_an_etcd_are_there_on_demand(tmp_path: Path) -> None:
    assert "3 passed" in run(tmp_path, BACKENDS)
