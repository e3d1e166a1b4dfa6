"""Liveness, and readiness with services and checks, on a real server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import micro
import micro.health as health_module
from micro import MicroError, Request, options
from micro.health import Health, HealthServer
from micro.testing import NatsServer, nats_server

Answer = tuple[int, dict[str, Any]]
LONG = 60.0


@pytest.fixture
def own_server() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


def get(port: int, path: str) -> Answer:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LONG) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


async def ask(server: HealthServer, path: str) -> Answer:
    return await asyncio.to_thread(get, server.port, path)


@asynccontextmanager
async def program(server: NatsServer, timeout: float = 20.0) -> AsyncIterator[Any]:
    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        yield context, await context.enter(HealthServer(context, "127.0.0.1", 0, timeout=timeout))


ALIVE = {"loop": "ok", "threads": "ok"}


async def echo(request: Request) -> None:
    await request.respond(request.data())


async def test_a_program_with_a_service(server: NatsServer) -> None:
    async with program(server) as (context, health):
        assert await ask(health, "/healthz") == (200, {"status": "ok", "checks": ALIVE})
        status, before = await ask(health, "/readyz")
        service = await context.add_service("well", "1.0.0")
        await service.add_endpoint("echo", echo, "well.echo")
        ready = await ask(health, "/readyz?verbose")
        await service.stop()
        stopped = await ask(health, "/readyz")

    missing = {"status": "failed", "checks": {"nats": "ok", "services": "failed"}}
    assert (status, before) == (503, missing)
    assert ready == (200, {"status": "ok", "checks": {"nats": "ok", "services": "ok"}})
    assert stopped == (503, missing)


async def passes() -> None:
    return


async def fails() -> None:
    raise ValueError("secret")


async def hangs() -> None:
    await asyncio.sleep(LONG)


def raises_ours() -> None:
    raise MicroError("no leader")


@pytest.mark.parametrize(
    ("check", "outcome", "line"),
    [
        (passes, "ok", None),
        (lambda: True, "ok", None),
        (lambda: None, "ok", None),
        (lambda: False, "failed", None),
        (fails, "failed", "check 'db' failed"),
        (raises_ours, "failed", "check 'db' failed: no leader"),
        (hangs, "timed out", "check 'db' timed out"),
    ],
)
async def test_checks(
    server: NatsServer, caplog: pytest.LogCaptureFixture, check: Any, outcome: str, line: str | None
) -> None:
    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        await context.add_service("checked", "1.0.0")
        context.add_check("db", lambda: False)
        context.add_check("db", check)
        timeout = 0.2 if check is hangs else 20.0
        alone = HealthServer(context, "127.0.0.1", 0, timeout=timeout)
        async with alone:
            status, body = await ask(alone, "/readyz")
            live = await ask(alone, "/healthz")

    if outcome != "timed out":  # a busy machine may delay the other checks, too
        assert body["checks"] == {"nats": "ok", "services": "ok", "db": outcome}
        assert live[0] == 200
    assert body["checks"]["db"] == outcome
    assert status == (200 if outcome == "ok" else 503)
    assert body["status"] == ("ok" if outcome == "ok" else "failed")
    lines = [one.getMessage() for one in caplog.records if "db" in one.getMessage()]
    assert lines == ([] if line is None else [line])


async def test_a_program_that_is_stopping_is_not_ready(server: NatsServer) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> None:
        entered.set()
        await go_on.wait()
        await request.respond(b"done")

    async with program(server) as (context, health):
        service = await context.add_service("leaving", "1.0.0")
        await service.add_endpoint("slow", slow, "leaving.slow")
        assert (await ask(health, "/readyz"))[0] == 200
        client = micro.Client(context.client)
        asked = asyncio.create_task(client.request("leaving.slow", timeout=LONG))
        await entered.wait()
        context.cancel()
        stopping = asyncio.create_task(service.stop())
        not_ready, live = await ask(health, "/readyz"), await ask(health, "/healthz")
        go_on.set()
        await stopping

    assert (await asked).data == b"done"
    assert not_ready[0] == 503
    assert live[0] == 200


async def test_a_server_that_is_frozen(
    own_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is open, and only a round trip fails."""
    async with program(own_server, timeout=1.0) as (context, health):
        await context.add_service("frozen", "1.0.0")
        own_server.freeze()
        try:
            connected = context.client.is_connected
            live, ready = await ask(health, "/healthz"), await ask(health, "/readyz")
        finally:
            own_server.thaw()
        async with asyncio.timeout(LONG):
            while (await ask(health, "/readyz"))[0] != 200:
                pass

    assert connected
    assert live == (200, {"status": "ok", "checks": ALIVE})  # a restart would not help
    expected = {"nats": "timed out", "services": "ok"}
    assert ready == (503, {"status": "failed", "checks": expected})
    assert [one.getMessage() for one in caplog.records if one.name == "micro.health"] == [
        "check 'nats' timed out"
    ]


async def test_a_server_that_is_gone(own_server: NatsServer) -> None:
    async with micro.Context() as context:
        gone = asyncio.Event()

        async def note() -> None:
            gone.set()

        context.add_disconnected_callback(note)
        await context.connect(options.servers(own_server.url))
        own_server.stop()
        await gone.wait()
        health = Health(context, timeout=20)
        live, ready = await health.live(), await health.ready()

    assert live.healthy
    checks = {"nats": "failed", "services": "failed"}
    assert ready.as_dict() == {"status": "failed", "checks": checks}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /healthz/ HTTP/1.0\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", 200),
        (b"rubbish\r\n\r\n", 400),
        (b"GET /healthz SPDY/9\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 404),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_other_requests(server: NatsServer, sent: bytes, status: int) -> None:
    async with program(server) as (_, health):
        reader, writer = await asyncio.open_connection("127.0.0.1", health.port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        again = await ask(health, "/healthz")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert (body == b"") == sent.startswith(b"HEAD")
    assert (b"\r\nAllow: GET, HEAD" in head) == (status == 405)
    assert again[0] == 200


async def test_a_caller_that_says_nothing_does_not_keep_the_program(server: NatsServer) -> None:
    async with program(server) as (_, health):
        _, writer = await asyncio.open_connection("127.0.0.1", health.port)
        assert (await ask(health, "/healthz"))[0] == 200
    writer.close()


async def test_an_address_in_use(server: NatsServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with micro.Context() as context:
            with pytest.raises(MicroError, match=f"cannot listen on 127.0.0.1:{port} for health"):
                await context.enter(HealthServer(context, "127.0.0.1", port))


async def test_blocking_handlers_that_hang_in_every_thread_are_not_alive(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "MAX_STALL", 0.2)
    entered, release = threading.Semaphore(0), threading.Event()

    def hang(request: Request) -> None:
        entered.release()
        release.wait(LONG)

    async with program(server) as (context, health):
        service = await context.add_service("hung", "1.0.0", max_threads=2)
        await service.add_endpoint("hang", hang, "hung.hang")
        for _ in range(2):
            await context.client.publish("hung.hang", b"", reply="nobody")
        for _ in range(2):
            await asyncio.to_thread(entered.acquire, timeout=LONG)
        async with asyncio.timeout(LONG):
            while (hung := await ask(health, "/healthz"))[0] == 200:
                await asyncio.sleep(0.02)
        release.set()
        async with asyncio.timeout(LONG):
            while (await ask(health, "/healthz"))[0] != 200:
                await asyncio.sleep(0.02)

    assert hung == (503, {"status": "failed", "checks": {**ALIVE, "threads": "failed"}})
