"""Documents that the command writes of running services."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from .conftest import Cli

pytestmark = pytest.mark.usefixtures("service")


def test_client_is_generated_to_a_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "echo_client.py"
    written = cli("generate", "client", "echo", "--out", str(path))
    shown = cli.quick("generate", "client", "echo")

    assert (written.code, written.out) == (0, "")
    assert shown.out == path.read_text()
    spec = importlib.util.spec_from_file_location("echo_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Echo.add.__annotations__ == {"payload": "Pair", "return": "int"}


def test_client_of_an_absent_service_is_an_error(cli: Cli, tmp_path: Path) -> None:
    done = cli.quick("generate", "client", "nobody", "--timeout", "0.2")
    assert (done.code, done.out) == (3, "")
    done = cli.quick("generate", "client", "echo", "--out", str(tmp_path / "a" / "b"))
    assert (done.code, done.err) == (
        2,
        f"micro: cannot write '{tmp_path / 'a' / 'b'}': No such file or directory\n",
    )


def test_asyncapi_describes_running_services(cli: Cli) -> None:
    done = cli.quick("asyncapi", "echo")
    document = json.loads(done.out)

    assert done.code == 0
    assert document["info"] == {
        "title": "echo",
        "version": "1.2.3",
        "description": "Echoes requests",
    }
    assert set(document["operations"]) == {"echo.echo", "echo.pid", "echo.slow", "echo.add"}
    assert document["components"]["messages"]["echo.add.request"]["payload"]["title"] == "Pair"
    assert document["servers"]["nats1"]["protocol"] == "nats"


def test_asyncapi_of_a_program_needs_no_server(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rehearsed_app.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "api.json"
    nowhere = ("--server", "nats://127.0.0.1:9")
    done = cli.quick("asyncapi", "rehearsed_app:setup", "--out", str(path), *nowhere)
    declared = cli.quick("asyncapi", "rehearsed_app:shop", *nowhere)
    empty = cli.quick("asyncapi", "rehearsed_app:nothing", *nowhere)

    assert (done.code, done.out, done.err) == (0, "", "")
    document = json.loads(path.read_text())
    assert set(document["operations"]) == {
        "shop.place",
        "desk.status",
        "desk.placed",
        "desk.mailer",
    }
    assert document["operations"]["shop.place"]["description"] == "Place an order."
    assert set(json.loads(declared.out)["operations"]) == {"shop.place"}
    assert (empty.code, empty.err) == (2, "micro: 'rehearsed_app:nothing' adds no service\n")


PROGRAM = """
import asyncio
import micro
from micro_schema_registry import EmbeddedRegistry

shop = micro.service("shop", "1.0.0")

@shop.endpoint
async def place(order: str) -> int:
    '''Place an order.'''

async def status() -> str: ...
async def placed(order: str) -> None: ...

async def setup(ctx):
    await ctx.add(shop, contracts=EmbeddedRegistry(ctx.client, "default"))
    desk = await ctx.add_service("desk", "1.0.0")
    await desk.add_endpoint("status", status)
    await desk.add_subscriber("placed", "orders.placed", placed)
    await desk.add_consumer("mailer", placed, stream="ORDERS", subjects="orders.>")
    ctx.spawn(asyncio.sleep(60))

async def nothing(ctx): ...
"""
