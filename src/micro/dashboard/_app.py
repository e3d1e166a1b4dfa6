"""The web application: a page, what it shows, and the requests it sends; all of it guarded.

What services say of themselves is not to be trusted, and neither is any other page that is open in the
browser. The page writes text, never markup, under a policy that runs no script but its own. A host
name that is not ours is refused, as an attacker's name may lead here (DNS rebinding), and so is a
request from a page of another origin (CSRF).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import ValidationError

from micro._client import Client
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

HEADERS = {
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

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(watch: Watch, client: Client, *, host: str) -> web.Application:
    """Return the application.

    Args:
        watch: Where the state comes from.
        client: What sends the requests of the page.
        host: The name it is reached by, besides ``localhost`` and any IP address.
    """

    async def state(request: web.Request) -> web.Response:
        return web.json_response(await watch.state())

    async def send(request: web.Request) -> web.Response:
        if not _from_own_page(request):
            raise web.HTTPForbidden(text="requests come from the dashboard's own page")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="expected application/json")
        try:
            wanted = Ask.model_validate_json(await request.read())
        except ValidationError as error:
            raise web.HTTPBadRequest(text=_first(error)) from None
        return web.json_response(await ask(client, wanted))

    app = web.Application(middlewares=[_known_hosts(host)], client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(_protect)
    app.router.add_get("/api/state", state)
    app.router.add_post("/api/request", send)
    for path, (name, content_type) in PAGE.items():
        app.router.add_get(path, _static(name, content_type))
    return app


def _static(name: str, content_type: str) -> _Handler:
    text = files("micro.dashboard").joinpath("page", name).read_text("utf-8")

    async def get(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type)

    return get


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _known_hosts(host: str) -> Middleware:
    names = {"localhost", host.lower()}

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        name = _host_name(request.host)
        if name not in names and not _is_address(name):
            raise web.HTTPMisdirectedRequest(text="this host name is not the dashboard's")
        return await handler(request)

    return check


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


def _from_own_page(request: web.Request) -> bool:
    """Return whether no other origin sent this; browsers say the origin, other programs need not."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    scheme, _, address = origin.partition("://")
    return scheme in ("http", "https") and address.lower() == request.host.lower()


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}" if where else found["msg"]
