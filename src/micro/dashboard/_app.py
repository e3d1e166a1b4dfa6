"""The web application: a page, what it shows, and the requests it sends; all of it guarded.

What services say of themselves is not to be trusted, and neither is any other page that is open in the
browser. The page writes text, never markup, under a policy that runs no script but its own. A host
name that is not ours is refused, as an attacker's name may lead here (DNS rebinding), and so is a
request from a page of another origin (CSRF).
"""

from __future__ import annotations

import ipaddress
from importlib.resources import files
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from micro._connection.tool_connection import ToolConnection
from micro.dashboard._ask import Ask, ask
from micro.dashboard._watch import Watch

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest ``max_payload`` of a nats-server."""

PAGE = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/app.js": ("app.js", "text/javascript"),
    "/form.js": ("form.js", "text/javascript"),
    "/dom.js": ("dom.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

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
        watch: Where the state comes from.
        source: The connection for the requests of the page.
        host: The name it is reached by, besides ``localhost`` and any IP address.
    """

    async def state(request: Request) -> Response:
        return JSONResponse(await watch.state())

    async def send(request: Request) -> Response:
        if not _from_own_page(request):
            raise HTTPException(403, "requests come from the dashboard's own page")
        if request.headers.get("Content-Type") != "application/json":
            raise HTTPException(415, "expected application/json")
        try:
            wanted = Ask.model_validate_json(await _body(request))
        except ValidationError as error:
            raise HTTPException(400, _first(error)) from None
        return JSONResponse(await ask(source, wanted))

    routes = [
        Route("/api/state", state, methods=["GET"]),
        Route("/api/request", send, methods=["POST"]),
        *(_static(path, name, content_type) for path, (name, content_type) in PAGE.items()),
    ]
    return Guard(Starlette(routes=routes), host=host)


def _static(path: str, name: str, content_type: str) -> Route:
    text = files("micro.dashboard").joinpath("page", name).read_text("utf-8")

    async def get(request: Request) -> Response:
        return Response(text, media_type=content_type)

    return Route(path, get, methods=["GET"])


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"expected at most {MAX_BODY_BYTES} bytes")
    return bytes(body)


class Guard:
    """Refuses host names that are not ours, and protects every answer."""

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
        if name not in self._names and not _is_address(name):
            app = PlainTextResponse("this host name is not the dashboard's", 421)
        await app(scope, receive, protected)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    # An address in the Host header was typed as such: no name was looked up that could be rebound.
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _from_own_page(request: Request) -> bool:
    """Return whether no other origin sent this; browsers say the origin, other programs need not."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    scheme, _, address = origin.partition("://")
    return (
        scheme in ("http", "https") and address.lower() == request.headers.get("Host", "").lower()
    )


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}" if where else found["msg"]
