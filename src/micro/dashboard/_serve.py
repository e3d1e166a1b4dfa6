"""Serving the page for as long as it is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from micro._client import Client
from micro._errors import MicroError
from micro._options import Settings
from micro.dashboard._app import make_app
from micro.dashboard._source import Source
from micro.dashboard._watch import Watch

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8032
INTERVAL = 2.0


async def serve(
    settings: Settings,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    interval: float = INTERVAL,
    ready: Callable[[str], None],
) -> None:
    """Serve the dashboard until cancelled, whether the NATS server is there yet or not.

    Args:
        settings: How to connect.
        host: The address to listen on.
        port: The port; 0 for a free one.
        interval: Seconds between two looks at the services.
        ready: Called with the URL of the page.

    Raises:
        MicroError: The address cannot be listened on.
        ConnectError: A server refused us, or the connection is gone for good.
    """
    source = Source(settings)
    app = make_app(Watch(source, interval=interval), Client(source.nc), host=host)
    async with _listening(app, host, port) as url:
        ready(url)
        await source.run()


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except (OSError, OverflowError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise MicroError(f"cannot listen on {host}:{port}: {why}") from exc
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
