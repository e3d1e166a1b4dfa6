"""Health, metrics and a client in a web application, on a real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.routing import Mount

import micro
from micro import options
from micro.adapters.asgi import ObservabilityApp, lifespan
from micro.adapters.fastapi import MicroClient, micro_client
from micro.testing import NatsServer

HOST = "http://service"


async def setup(ctx: micro.Context) -> None:
    async def double(number: int) -> int:
        return 2 * number

    service = await ctx.add_service("numbers", "1.0.0")
    await service.add_endpoint("double", double, "asgi.double")


class Running:
    """An application with its lifespan, and a browser of it."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lifespan = app.router.lifespan_context(app)

    async def __aenter__(self) -> httpx.AsyncClient:
        state = await self._lifespan.__aenter__() or {}

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await self._app({**scope, "state": dict(state)}, receive, send)

        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=with_state), base_url=HOST
        )
        return self._client

    async def __aexit__(self, *error: Any) -> None:
        await self._client.aclose()
        await self._lifespan.__aexit__(*error)


async def test_a_route_of_fastapi_calls_a_service(server: NatsServer) -> None:
    app = FastAPI(lifespan=lifespan(setup, options.servers(server.url)))

    @app.get("/double")
    async def double(client: MicroClient, number: int) -> int:
        return await client.call("asgi.double", number, returns=int, timeout=60)

    async with Running(app) as browser:
        answer = await browser.get("/double", params={"number": 4})

    assert (answer.status_code, answer.json()) == (200, 8)


async def test_a_test_overrides_the_client() -> None:
    class Fake:
        async def call(self, subject: str, *arguments: Any, **options: Any) -> int:
            return 7

    app = FastAPI()
    app.dependency_overrides[micro_client] = Fake

    @app.get("/double")
    async def double(client: MicroClient) -> int:
        return await client.call("asgi.double", 1, returns=int)

    async with Running(app) as browser:
        assert (await browser.get("/double")).json() == 7


async def test_a_route_without_the_lifespan_is_told() -> None:
    app = FastAPI()

    @app.get("/double")
    async def double(client: MicroClient) -> int:
        return 1

    async with Running(app) as browser:
        with pytest.raises(RuntimeError, match=r"expected FastAPI\(lifespan=lifespan\(setup\)\)"):
            await browser.get("/double")


@pytest.mark.parametrize("prefix", ["", "/internal"])
async def test_health_and_metrics_are_served_below_any_path(
    server: NatsServer, prefix: str
) -> None:
    own = CollectorRegistry()
    Counter("orders", "Of the program.", registry=own).inc(3)
    routes = [Mount(prefix, ObservabilityApp(registry=own))]
    app = Starlette(lifespan=lifespan(setup, options.servers(server.url)), routes=routes)

    async with Running(app) as browser:
        alive, ready = await browser.get(f"{prefix}/healthz"), await browser.get(f"{prefix}/readyz")
        metrics = await browser.get(f"{prefix}/metrics")
        again = await browser.get(f"{prefix}/metrics", headers={"Accept": "text/plain"})
        head = await browser.head(f"{prefix}/healthz")
        missing, posted = (
            await browser.get(f"{prefix}/secret"),
            await browser.post(f"{prefix}/healthz"),
        )

    assert (alive.status_code, ready.status_code) == (200, 200)
    assert ready.json()["checks"] == {"nats": "ok", "services": "ok"}
    assert 'micro_endpoint_requests_total{endpoint="double"' in metrics.text
    assert "orders_total 3.0" in metrics.text
    assert again.status_code == 200
    assert (head.status_code, head.content) == (200, b"")
    assert (missing.status_code, posted.status_code) == (404, 405)


async def test_a_context_of_ones_own_is_not_ready_before_its_services(server: NatsServer) -> None:
    async with micro.Context() as context:
        await context.connect(options.servers(server.url))
        app = httpx.ASGITransport(app=ObservabilityApp(context))
        async with httpx.AsyncClient(transport=app, base_url=HOST) as browser:
            early = await browser.get("/readyz")
            await setup(context)
            later = await browser.get("/readyz")

    assert (early.status_code, later.status_code) == (503, 200)


async def test_an_application_without_a_context_says_so() -> None:
    app = httpx.ASGITransport(app=ObservabilityApp())
    async with httpx.AsyncClient(transport=app, base_url=HOST) as browser:
        assert (await browser.get("/healthz")).status_code == 503


async def test_services_stop_with_the_web_server(server: NatsServer) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(ctx: micro.Context) -> None:
        async def wait(request: micro.Request) -> None:
            started.set()
            await go_on.wait()
            await request.respond(json.dumps("done").encode())

        service = await ctx.add_service("slow", "1.0.0")
        await service.add_endpoint("wait", wait, "asgi.wait")

    app = Starlette(lifespan=lifespan(slow, options.servers(server.url)))
    async with micro.Context() as caller:
        await caller.connect(options.servers(server.url))
        running = Running(app)
        await running.__aenter__()
        asked = asyncio.create_task(micro.Client(caller).call("asgi.wait", returns=str, timeout=60))
        await started.wait()
        stopping = asyncio.create_task(running.__aexit__(None, None, None))
        go_on.set()
        await stopping

        assert await asked == "done"
