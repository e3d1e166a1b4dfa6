"""A service with health checks, metrics, traces and logs.

`python examples/observability.py` needs the extras prometheus and opentelemetry.
"""

import logging
import os
from typing import Any

import prometheus_client
from opentelemetry import trace

import micro
from micro.health import HealthServer
from micro.opentelemetry import TracedClient, trace_requests
from micro.prometheus import ServiceCollector

HEALTH_PORT = int(os.environ.get("HEALTH_PORT", "8080"))
METRICS_PORT = int(os.environ.get("METRICS_PORT", "9100"))


class Database:
    def __init__(self) -> None:
        self.is_open = True

    async def ping(self) -> None:
        if not self.is_open:
            raise ConnectionError("the database is closed")


async def add_health(ctx: micro.Context, database: Database) -> HealthServer:
    ctx.add_check("database", database.ping)
    return await ctx.enter(HealthServer(ctx, "127.0.0.1", HEALTH_PORT))


def add_metrics(ctx: micro.Context, service: micro.Service) -> int:
    registry = prometheus_client.CollectorRegistry()
    registry.register(ServiceCollector(service))
    server, _ = prometheus_client.start_http_server(METRICS_PORT, "127.0.0.1", registry)
    ctx.push(server.server_close)  # the last one pushed is called first
    ctx.push(server.shutdown)
    return server.server_port


async def buy(request: micro.Request) -> None:
    trace.get_current_span().set_attribute("items", len(request.data()))
    await request.respond(b"bought")


async def order(client: micro.Client) -> bytes:
    answer = await client.request("shop.buy", b"tea")
    return answer.data


async def add_traced(ctx: micro.Context) -> tuple[micro.Service, micro.Client]:
    service = await ctx.add_service("shop", "1.0.0", middlewares=[trace_requests()], timeout=5)
    return service, TracedClient(ctx)


def stock(endpoint: micro.Endpoint) -> dict[str, int]:
    return {"in_stock": 12}


class Alarm(logging.Handler):
    """The endpoints and codes of failed requests."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[tuple[str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields: Any = vars(record)
        self.codes.append((fields["endpoint"], fields["code"]))


async def fail(request: micro.Request) -> None:
    raise KeyError("a bug")


async def slow(request: micro.Request) -> None:
    left = request.remaining()
    if left is not None and left < 0.1:
        raise micro.ServiceError(503, "not enough time")
    await request.respond(b"done in time")


async def setup(ctx: micro.Context) -> dict[str, Any]:
    database = Database()
    health = await add_health(ctx, database)
    service, client = await add_traced(ctx)
    shop = service.add_group("shop")
    await shop.add_endpoint("buy", buy, stats_handler=stock)
    await shop.add_endpoint("fail", fail)
    await shop.add_endpoint("slow", slow)
    return {
        "database": database,
        "health": health.port,
        "metrics": add_metrics(ctx, service),
        "client": client,
    }


async def main_setup(ctx: micro.Context) -> None:
    print(await order((await setup(ctx))["client"]))


if __name__ == "__main__":
    micro.run(main_setup, trap_signals=True)
