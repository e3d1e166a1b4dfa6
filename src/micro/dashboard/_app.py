"""The web application of the dashboard and its protection.

Neither the services nor other pages in the browser are trusted. The page writes text, never
markup, under a policy that only runs its own scripts. The application refuses a foreign host name,
since the name of an attacker may point here (DNS rebinding), and a request from another origin
(CSRF).
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from micro._connection.handshake import is_address
from micro._connection.tool_connection import ToolConnection
from micro._documents.asyncapi import as_text, of_server
from micro._errors import ConfigError
from micro.dashboard._ask import Ask, ask
from micro.dashboard._watch import Watch

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest `max_payload` of a nats-server."""

PAGE = Path(__file__).with_name("page")
mimetypes.add_type("text/javascript", ".js")  # the registry of Windows may have another one

PROTECTION = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(watch: Watch, source: ToolConnection, *, host: str) -> ASGIApp:
    """Return the application.

    Args:
        watch: The state of all services.
        source: The connection for the requests of the page.
        host: The accepted host name besides `localhost` and IP addresses.
    """

    async def state(request: Request) -> Response:
        return JSONResponse(await watch.state())

    async def send(request: Request) -> Response:
        if not _from_own_page(request):
            raise HTTPException(403, "requests come from the dashboard's own page")
        if request.headers.get("Content-Type") != "application/json":
            raise HTTPException(415, "expected application/json")
        try:
            question = Ask.model_validate_json(await _body(request))
        except ValidationError as error:
            raise HTTPException(400, _first(error)) from None
        return JSONResponse(await ask(source, question))

    async def document(request: Request) -> Response:
        infos = await watch.infos(request.query_params.get("service"))
        if not infos:
            raise HTTPException(404, "no such service runs")
        try:
            return Response(as_text(of_server(source.nc, infos)), media_type="application/json")
        except ConfigError as error:
            raise HTTPException(409, str(error)) from None

    routes: list[BaseRoute] = [
        Route("/api/state", state, methods=["GET"]),
        Route("/api/asyncapi.json", document, methods=["GET"]),
        Route("/api/request", send, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    # The state of 100 services has half a megabyte, most of it names that repeat.
    compression = Middleware(GZipMiddleware, compresslevel=4)
    return Guard(Starlette(routes=routes, middleware=[compression]), host=host)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"expected at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


class Guard:
    """A middleware that refuses foreign host names and adds the headers of protection."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app = app
        self._names = {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(PROTECTION)
            await send(message)

        app = self._app
        name = _host_name(Headers(scope=scope).get("Host", ""))
        # A client that sends an address looked up no name, and only names can be rebound.
        if name not in self._names and not is_address(name):
            app = PlainTextResponse("this host name is not the dashboard's", 421)
        await app(scope, receive, protected)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _from_own_page(request: Request) -> bool:
    """Return whether the request has the origin of this page, or none (no browser)."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    scheme, _, address = origin.partition("://")
    return (
        scheme in ("http", "https") and address.lower() == request.headers.get("Host", "").lower()
    )


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
