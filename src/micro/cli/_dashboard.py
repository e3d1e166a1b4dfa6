"""`micro dashboard`: a web page that shows all services and sends requests to them."""

from __future__ import annotations

import ipaddress
import os
from typing import Annotated

import typer

from micro.cli._flags import Discovery, Interval, Json
from micro.cli._output import Exit, fail, print_json


async def dashboard(
    connection: Discovery,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="The port; 0 for a free one.")
    ] = 8032,
    interval: Interval = 2.0,
    as_json: Json = False,
) -> None:
    """Serve a web page that shows all services, live, and sends requests to them.

    There is no login: everyone who reaches the page can send requests with the rights of this
    connection, so by default it listens on the loopback interface only.
    It waits for a NATS server that does not run yet.

    Examples:
      micro dashboard
      micro dashboard --port 0 --server nats://10.0.0.1:4222 --creds viewer.creds
      micro dashboard --interval 500ms --json
    """
    try:
        from micro.dashboard import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        message = "the dashboard needs the extra 'dashboard': pip install 'natsmicro[dashboard]'"
        fail(message, Exit.USAGE, as_json=as_json)

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "pid": os.getpid()})
            return
        typer.echo(f"dashboard on {url}; Ctrl-C stops it", err=True)
        if not _is_loopback(host):
            typer.echo("everyone who reaches this address can send requests to services", err=True)

    settings = connection.settings()._replace(retry=True)
    await serve(
        settings,
        host=host,
        port=port,
        interval=interval,
        ready=ready,
        max_wait=connection.timeout,
        api_prefix=connection.prefix,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
