"""Every example runs against a real server and does what the documentation says of it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import nats
import pytest
import uvicorn
from nats.aio.client import Client as NatsClient

import micro
from micro import ServiceError, options
from micro._program.setups import setup_of
from micro.testing import NatsServer, nats_server

EXAMPLES = Path(__file__).parents[1] / "examples"
LONG = 60.0


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(module: Any, server: NatsServer) -> AsyncIterator[micro.Context]:
    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        services = getattr(module, "services", None)
        await (module.setup if services is None else setup_of(services))(context)
        yield context


async def code(
    client: micro.Client, subject: str, data: bytes = b"", headers: dict[str, str] | None = None
) -> int:
    with pytest.raises(ServiceError) as caught:
        await client.request(subject, data, headers, timeout=LONG)
    return caught.value.code


async def test_echo_as_a_program(server: NatsServer, caller: NatsClient) -> None:
    program = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "echo.py")], env={**os.environ, "NATS_URL": server.url}
    )
    client = micro.Client(caller, default_max_wait=1)
    try:
        async with asyncio.timeout(LONG):
            while not any(len(info.endpoints) == 2 for info in await client.info("echo")):
                await asyncio.sleep(0.05)
        answer = await client.request("echo", b"hello", {"X": "1"}, timeout=LONG)
        total = await client.request("math.add", b'{"a": 1, "b": 2}', timeout=LONG)
        assert answer.data == b"hello"
        assert answer.headers is not None
        assert answer.headers["X"] == "1"
        assert total.data == b"3"
        assert await code(client, "math.add", b'{"a": 1}') == 400
        program.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(program.wait, LONG) == 0
    finally:
        program.kill()
        program.wait()


async def test_demo_as_a_program(server: NatsServer) -> None:
    """What ``make run`` starts: it shows its services and stops cleanly."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / "demo.py"),
        env={**os.environ, "NATS_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(LONG):
            while "Ctrl-C stops." not in printed:
                line = await program.stdout.readline()
                assert line, printed
                printed += line.decode()
            program.send_signal(signal.SIGINT)
            printed += (await program.stdout.read()).decode()
            assert await program.wait() == 0
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert "What micro does, in one service" in printed
    assert "Dashboard: http://127.0.0.1:" in printed
    assert printed.index("Dashboard: ") < printed.index("micro new shop")
    assert printed.rstrip().endswith("Stopped.")


async def test_typed(server: NatsServer, caller: NatsClient) -> None:
    module = load("typed")
    client = micro.Client(caller)
    async with running(module, server):
        saved = await client.request("shop.save", b'{"name": "tea", "price": 2}')
        assert saved.data == b'{"id":1,"item":{"name":"tea","price":2.0,"tags":[]}}'
        assert (await client.request("shop.find", b"1")).data.startswith(b'{"name":"tea"')
        assert await code(client, "shop.find", b"7") == 404
        assert await code(client, "shop.save", b'{"name": "tea", "price": 0}') == 400
        assert (await client.request("shop.names")).data == b'["tea"]'
        assert (await client.request("shop.invert", b"\x00\xff")).data == b"\xff\x00"
        assert (await client.request("shop.report", b"7", timeout=LONG)).data == (
            b'"1 items in 7 days"'
        )
        assert (await client.request("shop.count")).data == b"1"


async def test_declared(server: NatsServer, caller: NatsClient) -> None:
    module = load("declared")
    async with running(module, server) as context:
        client = micro.Client(caller)
        receipt = await client.call("place", module.Order(item="tea"), returns=module.Receipt)
        assert (receipt.number, receipt.item) == (100, "tea")
        await client.call("admin.reset")
        assert await client.call("orders.find", "tea", returns=module.Order) == (
            module.Order(item="tea")
        )
        assert await code(client, "orders.find", b'"milk"') == 404
        assert await client.call("status", returns=str) == "open"
        assert [each.name for each in context.services[0].info().events] == ["hear"]
        descriptions = {
            each.name: each.metadata.get("description")
            for service in context.services
            for each in service.info().endpoints
        }
    assert descriptions == {
        "find": "Find the order of an item.",
        "status": None,
        "place": "Place an order.",
        "reset": "Start again with number 1, in each instance.",
    }


async def test_resources(
    server: NatsServer, caller: NatsClient, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("resources")
    async with running(module, server):
        client = micro.Client(caller)
        assert await client.call("take", module.Item(name="tea", count=2), returns=int) == 3
        assert await code(client, "take", b'{"name": "milk"}') == 404
    assert capsys.readouterr().out == "transaction closed\n" * 2


async def test_typed_calls(
    server: NatsServer,
    caller: NatsClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = load("typed_calls")
    async with running(module, server):
        await module.calls(micro.Client(caller))
    assert capsys.readouterr().out.splitlines() == [
        "item='tea' count=1",
        "number=1 item='tea'",
        "2",
        "1",
        "400 [['item'], ['count']]",
        "404 no order of milk",
    ]


async def test_groups(server: NatsServer, caller: NatsClient) -> None:
    module = load("groups")
    client = micro.Client(caller)
    async with running(module, server), running(module, server):
        assert (await client.request("cache.v2.get", b"greeting")).data == b"hello"
        until = micro.Until(max_wait=LONG, max_count=2)
        async with client.request_many("cache.v2.admin.clear", until=until) as replies:
            assert [message.data async for message in replies] == [b"cleared"] * 2
        assert (await client.request("cache.v2.get", b"greeting")).data == b""


async def test_errors(server: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert await load("errors").main(server.url) == [
        "done",
        '409 not enough money {"balance": 0}',
        "404 no such account",
        "500 internal error",
    ]
    printed = capsys.readouterr().out
    assert printed.count("bank: ") == 3
    assert "bank: KeyError(" in printed


async def test_middleware(
    server: NatsServer, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = micro.Client(caller)
    caplog.set_level("INFO", "orders")
    async with running(load("middleware"), server):
        assert (await client.request("orders.health")).data == b"ok"
        assert await code(client, "orders.create") == 401
        assert await code(client, "orders.create", b"", {"Authorization": "Bearer no"}) == 401
        answer = await client.request("orders.create", b"", {"Authorization": "Bearer example"})
    assert answer.data == b"created"
    assert answer.headers is not None
    assert float(answer.headers["Elapsed-Ms"]) >= 0
    lines = [r.getMessage() for r in caplog.records if r.name == "orders"]
    refused = "orders.create: 401 missing or wrong token"
    assert lines == ["orders.health: 2 bytes", refused, refused, "orders.create: 7 bytes"]


async def test_discovery(capsys: pytest.CaptureFixture[str]) -> None:
    with nats_server() as server:
        async with running(load("echo"), server):
            await load("discovery").main(server.url)
    printed = capsys.readouterr().out
    assert "echo 1.0.0 " in printed
    assert "add listens on math.add" in printed
    assert "echo: 0 requests" in printed
    assert "ended by stall" in printed


async def test_stopping(server: NatsServer, caller: NatsClient) -> None:
    module = load("stopping")
    context = micro.Context()
    ready = asyncio.Event()

    async def setup(ctx: micro.Context) -> None:
        await module.setup(ctx)
        ready.set()

    program = asyncio.create_task(context.run_forever(setup, options.servers(server.url)))
    await ready.wait()
    stored = asyncio.create_task(caller.request("store", b"x", timeout=LONG))
    await asyncio.sleep(0)
    assert (await caller.request("quit", timeout=LONG)).data == b"stopping"
    assert (await stored).data == b"stored"
    await program
    assert module.events == [
        "database opened",
        "stored x",
        "store done, error None",
        "services stopped",
        "database closed",
    ]


async def test_limits(server: NatsServer, caller: NatsClient) -> None:
    module = load("limits")
    client = micro.Client(caller)
    async with running(module, server):
        found = await asyncio.gather(
            *(client.request("render", timeout=LONG) for _ in range(7)), return_exceptions=True
        )
        (refused,) = (error for error in found if isinstance(error, ServiceError))
        assert (refused.code, refused.description) == (503, "overloaded")
        pictures = await asyncio.gather(*(module.patient(client, "render") for _ in range(9)))
    assert pictures == [b"picture"] * 9


async def test_observability(
    server: NatsServer, caller: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HEALTH_PORT", "METRICS_PORT"):
        monkeypatch.setenv(name, "0")
    module = load("observability")
    alarm = module.Alarm()
    logging.getLogger("micro.requests").addHandler(alarm)
    try:
        async with micro.Context() as context:
            await context.connect(options.servers(server.url))
            parts = await module.setup(context)
            client: micro.Client = parts["client"]
            assert await module.order(client) == b"bought"
            assert await code(client, "shop.fail") == 500
            hurried = {"Micro-Timeout-Ms": "0"}
            late = await caller.request("shop.slow", timeout=LONG, headers=hurried)
            assert (late.headers or {})["Nats-Service-Error-Code"] == "504"
            assert (await client.request("shop.slow", timeout=LONG)).data == b"done in time"
            metrics = await asyncio.to_thread(http_get, parts["metrics"], "/metrics")
            ready = await asyncio.to_thread(http_get, parts["health"], "/readyz")
            parts["database"].is_open = False
            not_ready = await asyncio.to_thread(http_get, parts["health"], "/readyz")
            (stats,) = await client.stats("shop", LONG, 1)
    finally:
        logging.getLogger("micro.requests").removeHandler(alarm)

    assert metrics[0] == 200
    assert 'endpoint="buy"' in metrics[1]
    assert (ready[0], not_ready[0]) == (200, 503)
    assert json.loads(not_ready[1])["checks"]["database"] == "failed"
    assert stats.endpoints[0].data["in_stock"] == 12
    assert alarm.codes == [("fail", 500), ("slow", 504)]


def http_get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LONG) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_without_context(server: NatsServer) -> None:
    assert await load("without_context").main(server.url) == b"hello"


async def test_least_permissions() -> None:
    """The service runs under them, its caller asks it, the operator finds it, and no more."""
    config = (EXAMPLES / "permissions.conf").read_text()
    refused: list[Exception] = []

    async def refuse(error: Exception) -> None:
        refused.append(error)

    with nats_server(config=config) as server:
        async with micro.Context() as context:
            context.add_error_callback(refuse)
            await context.connect(
                options.servers(server.url), options.user_password("shop", "change-me")
            )
            await load("typed").setup(context)
            caller = await nats.connect(
                server.url, user="caller", password="change-me-too", inbox_prefix="_INBOX.caller"
            )
            answer = await micro.Client(caller).request("shop.count", timeout=LONG)
            operator = await nats.connect(
                server.url,
                user="operator",
                password="change-me-as-well",
                inbox_prefix="_INBOX.operator",
            )
            found = await micro.Client(operator).ping("shop", max_wait=LONG, max_count=1)
            await caller.close()
            await operator.close()
    assert answer.data == b"0"
    assert [ping.name for ping in found] == ["shop"]
    assert refused == []


def test_tests_of_handlers() -> None:
    """The documented way to test handlers, as its reader would run it."""
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "test_shop.py",
        ],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "7 passed" in process.stdout


def test_shop_passes_its_own_tests_and_is_small() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "shop"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    files = (EXAMPLES / "shop").glob("*.py")
    assert sum(len(path.read_text().splitlines()) for path in files) <= 120


def test_every_example_has_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("**/*.py"))
    untested = [
        path.name
        for path in EXAMPLES.glob("*.py")
        if not any(f'{name}"' in tests for name in (path.stem, path.name))
        and not path.stem.startswith("http_")  # found by their own test, by this prefix
    ]
    assert untested == []


async def test_background_work(server: NatsServer, caller: NatsClient) -> None:
    module = load("background")
    async with running(module, server):
        answer = await micro.Client(caller).request("order", b"ann", timeout=LONG)
        assert answer.data == b"accepted"
    assert module.done == [b"new prices of ann"]


async def test_fastapi_app(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request over HTTP to uvicorn becomes one over NATS."""
    monkeypatch.setenv("NATS_URL", server.url)
    web = uvicorn.Server(uvicorn.Config(load("fastapi_app").app, port=0, log_config=None))
    serving = asyncio.create_task(web.serve())
    try:
        async with asyncio.timeout(LONG):
            while not web.started:
                await asyncio.sleep(0.02)
        port = web.servers[0].sockets[0].getsockname()[1]
        total = await asyncio.to_thread(http_get, port, "/sum?a=1&b=2")
        refused = await asyncio.to_thread(http_get, port, "/sum?a=-1&b=2")
        metrics = await asyncio.to_thread(http_get, port, "/internal/metrics")
    finally:
        web.should_exit = True
        await serving
    assert total == (200, "3")
    assert refused == (422, '{"detail":"negative number"}')
    assert 'micro_endpoint_requests_total{endpoint="add"' in metrics[1]


async def test_events(caller: NatsClient) -> None:
    module = load("events")
    with nats_server(jetstream=True) as server:
        async with running(module, server) as context:
            client = micro.Client(context)
            order = {"number": 13, "email": "a@b.example"}
            assert await client.call("place", order, returns=int, timeout=LONG) == 1
            assert await client.call("place", order, returns=int, timeout=LONG) == 1
            bad = {"number": 14, "email": "nowhere"}
            assert await client.call("place", bad, returns=int, timeout=LONG) == 2
            await client.publish("shop.opened")
            async with asyncio.timeout(LONG):
                while len(module.heard) < 2 or not module.sent:
                    await asyncio.sleep(0.02)
    assert module.sent == [13]
    assert sorted(module.heard) == ["dead.mail", "shop.opened"]


async def test_uploads(server: NatsServer) -> None:
    module = load("uploads")
    async with running(module, server) as context:
        client = micro.Client(context)
        assert await module.mean_of_all(client) == 23
        assert (await module.first_alarm(client)).celsius == 30


async def test_streams(server: NatsServer) -> None:
    module = load("streams")
    async with running(module, server) as context:
        row = await module.first_above(micro.Client(context), 1_000)
    assert (row.number, row.square) == (32, 1024)
