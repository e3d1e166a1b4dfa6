"""Health and metrics as an ASGI application, and a lifespan that runs services in a web server.

    app = Starlette(lifespan=lifespan(setup), routes=[Mount("/internal", ObservabilityApp())])

`lifespan` and `ObservabilityApp` need no web framework. `micro.adapters.fastapi` has a dependency.

    GET /healthz, /readyz    as of `micro.health`
    GET /metrics             the services of the program, for Prometheus (extra `prometheus`)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from micro._client.client import Client
from micro._connection.settings import ConnectOption
from micro._http_server import Answer
from micro._program.context import Context
from micro.health import Health, answer_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["ObservabilityApp", "lifespan"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STATE = "micro_context"
CLIENT = "micro_client"
"""Members of the state that `lifespan` gives to requests."""


def lifespan(
    setup: Callable[[Context], Coroutine[Any, Any, None]] | None = None,
    *connect_options: ConnectOption,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return the lifespan of a Starlette or FastAPI application that has a connection to NATS.

    The services stop without losing a request when the web server stops. Requests find the context
    as `request.state.micro_context` and a client as `request.state.micro_client`.

    Args:
        setup: An async function of the context that adds services; None for a client only.
        connect_options: Values from `micro.options`.
    """

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with Context() as context:
            await context.connect(*connect_options)
            if setup is not None:
                await setup(context)
            yield {STATE: context, CLIENT: Client(context)}

    return run


class ObservabilityApp:
    """The ASGI application of `/healthz`, `/readyz` and `/metrics`, below any path.

    Args:
        context: The context of the program; by default that of `lifespan`.
        registry: A registry of prometheus-client with further metrics. The metrics of the services
            are registered in it.
        timeout: Seconds for the round trip and for each check.
    """

    def __init__(
        self,
        context: Context | None = None,
        *,
        registry: CollectorRegistry | None = None,
        timeout: float = 2.0,
    ) -> None:
        self._context = context
        self._registry = registry
        self._timeout = timeout
        self._metrics: Callable[[str], tuple[bytes, str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":  # a lifespan belongs to the application around this one
            return
        answer = await self._answer(scope)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        start = {"type": "http.response.start", "status": answer.status.value, "headers": headers}
        await send(start)
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return Answer.of_status(HTTPStatus.METHOD_NOT_ALLOWED)
        context = scope.get("state", {}).get(STATE) if self._context is None else self._context
        if context is None:
            return Answer.of_status(HTTPStatus.SERVICE_UNAVAILABLE)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == "/metrics":
            headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
            return await self._scrape(context, headers.get(b"accept", ""))
        health = Health(context, timeout=self._timeout)
        if path == "/healthz":
            return answer_of(await health.live())
        if path == "/readyz":
            return answer_of(await health.ready())
        return Answer.of_status(HTTPStatus.NOT_FOUND)

    async def _scrape(self, context: Context, accept: str) -> Answer:
        if self._metrics is None:
            from micro.prometheus import make_exposition

            self._metrics = make_exposition(context, self._registry)
        body, content_type = await asyncio.to_thread(self._metrics, accept)
        return Answer(body, content_type)
