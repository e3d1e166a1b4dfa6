"""The HTTP server of the dashboard."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn

from micro._connection.settings import Settings
from micro._connection.tool_connection import ToolConnection
from micro._errors import MicroError
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro.dashboard._app import make_app
from micro.dashboard._watch import Watch


class _Server(uvicorn.Server):
    """A server that leaves signals to its caller, as uvicorn raises SIGTERM again: no exit 0."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(  # noqa: PLR0913 - each is a flag of the command
    settings: Settings,
    *,
    host: str,
    port: int,
    interval: float,
    ready: Callable[[str], None],
    max_wait: float | None = None,
    api_prefix: str = DEFAULT_API_PREFIX,
) -> None:
    """Serve the dashboard until cancelled.

    The NATS server need not run yet.

    Args:
        settings: The settings of the connection.
        host: The address to listen on.
        port: The port; 0 for a free one.
        interval: Seconds between two updates.
        ready: Called with the URL of the page.
        max_wait: Seconds to wait for answers; one second by default, less if no more arrive.
        api_prefix: Prefix of the discovery subjects of the services.

    Raises:
        MicroError: The address cannot be listened on.
        ConnectError: A server refuses us, or the connection is closed for good.
    """
    source = ToolConnection(settings)
    watch = Watch(source, interval=interval, max_wait=max_wait, api_prefix=api_prefix)
    app = make_app(watch, source, host=host)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    with _listen(host, port) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        looking = asyncio.create_task(source.keep())
        try:
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{listening.getsockname()[1]}/")
            await asyncio.wait({serving, looking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True  # not cancelled, so that no answer is cut
            looking.cancel()
            await asyncio.wait({serving, looking})
        serving.result()
        if not looking.cancelled():
            looking.result()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        raise MicroError(f"cannot listen on {host}:{port}: {error.strerror}") from error
