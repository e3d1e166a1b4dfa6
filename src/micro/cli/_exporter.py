"""`micro exporter`: the counters of every service on a NATS server, for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from micro import options
from micro._errors import ConfigError
from micro._http_server import Answer, HttpServer, Route
from micro._program.context import Context
from micro.cli._completion import complete_name
from micro.cli._flags import Address, Discovery, Retry, parse_address
from micro.cli._output import print_line

GATHER = 1.0
"""Seconds that a scrape waits for answers without `--timeout`."""


TIMEOUT = 10.0
"""Seconds that a connection may take beyond the time of a scrape."""


async def exporter(
    connection: Discovery,
    listen: Annotated[
        Address,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            parser=parse_address,
            help="The address that Prometheus scrapes.",
        ),
    ] = Address("127.0.0.1", 9100),  # noqa: B008 - frozen
    service: Annotated[
        str | None,
        typer.Option(
            "--service", metavar="NAME", help="Only this service.", autocompletion=complete_name
        ),
    ] = None,
    retry: Retry = False,
) -> None:
    """Serve the counters of all services to Prometheus, until Ctrl-C or SIGTERM.

    Each scrape asks all instances for their STATS (ADR-32), in any language.

    Examples:
      micro exporter
      micro exporter --listen :9100 --service echo --server nats://10.0.0.1:4222
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="micro: %(message)s")
    context = Context()

    async def setup(ctx: Context) -> None:
        max_wait = connection.timeout or GATHER
        port = await serve(ctx, listen, service, max_wait=max_wait, api_prefix=connection.prefix)
        print_line(f"metrics of the services at http://{listen.host}:{port}/metrics")

    given = [options.name("micro exporter"), options.selected_context(), options.retry(retry)]
    await context.run_forever(setup, *given, *connection.options(), trap_signals=True)


async def serve(
    context: Context, listen: Address, service: str | None, *, max_wait: float, api_prefix: str
) -> int:
    """Serve metrics until the context ends, and return the port.

    Raises:
        ConfigError: prometheus-client is not installed.
        MicroError: The address cannot be listened on.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        from micro.prometheus import DiscoveryCollector
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise ConfigError(
            "micro exporter needs prometheus-client: pip install 'natsmicro[prometheus]'"
        ) from None
    registry = CollectorRegistry()
    collector = DiscoveryCollector(context, service, max_wait=max_wait, api_prefix=api_prefix)
    registry.register(collector)
    turn = asyncio.Lock()  # one scrape at a time, so that they need one thread

    async def metrics(headers: Mapping[str, str]) -> Answer:
        encode, content_type = choose_encoder(headers.get("accept", ""))
        async with turn:
            body = await asyncio.to_thread(encode, registry)
        return Answer(body, content_type)

    routes: dict[str, Route] = {"/metrics": metrics, "/": metrics}
    server = HttpServer(
        routes, listen.host, listen.port, purpose="metrics", timeout=2 * max_wait + TIMEOUT
    )
    await context.enter(server)
    return server.port
