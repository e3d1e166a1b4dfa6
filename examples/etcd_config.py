"""Settings of a service in etcd, which change while it runs and are never invalid.

Run an etcd service with a namespace `demo` first: python -m micro_etcd --embedded
"""

import asyncio

from pydantic import BaseModel, Field

import micro
from micro_etcd import NatsEtcd


class Settings(BaseModel):
    greeting: str = "hello"
    times: int = Field(default=1, ge=1, le=5)


async def setup(ctx: micro.Context) -> None:
    ctx.use_store(NatsEtcd(ctx, "demo"))
    settings = await ctx.config("greeter/", Settings)

    async def greet(name: str) -> str:
        return " ".join([settings.value.greeting] * settings.value.times) + f" {name}"

    service = await ctx.add_service("greeter", "1.0.0")
    await service.add_endpoint("greet", greet, stats_handler=settings.stats)
    await show(ctx)
    ctx.cancel()


async def show(ctx: micro.Context) -> None:
    etcd, client = NatsEtcd(ctx, "demo"), micro.Client(ctx)
    wanted = [("greeting", "salut"), ("times", "0"), ("times", "2")]
    for changes, (key, value) in enumerate(wanted, 1):
        await etcd.put(f"greeter/{key}", value)
        found = await seen(client, changes)
        answer = await client.request("greet", b'"ada"')
        print(key, value, answer.data.decode(), found["rejected"], found["problem"])


async def seen(client: micro.Client, changes: int) -> dict[str, int]:
    """Wait until the service has seen the changes; return what its STATS say of the settings."""
    while True:
        stats = await client.stats("greeter", max_count=1)
        data: dict[str, int] = stats[0].endpoints[0].data
        if data["updates"] - 1 + data["rejected"] >= changes:
            return data
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
