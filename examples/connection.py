"""Connection options, for a program that has to survive its server."""

import os

import micro
from micro import options


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("uptime", "1.0.0")
    await service.add_endpoint("ping", ping, subject="uptime.ping")


async def ping(request: micro.Request) -> None:
    await request.respond(b"pong")


# --8<-- [start:options]
def connection() -> list[options.ConnectOption]:
    return [
        options.servers(*os.environ.get("SERVERS", "nats://localhost:4222").split(",")),
        options.name("uptime"),
        options.reconnect(first_delay=0.05, max_delay=2),
        options.ping_interval(10),
        options.retry(),  # wait for a server at start, and say so in the log
    ]


# --8<-- [end:options]
if __name__ == "__main__":
    micro.run(setup, *connection(), trap_signals=True)
