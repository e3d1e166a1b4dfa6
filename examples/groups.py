"""Groups with prefixes and defaults, and an endpoint that every instance answers."""

import micro

cache: dict[str, bytes] = {"greeting": b"hello"}


async def get(request: micro.Request) -> None:
    await request.respond(cache.get(request.data().decode(), b""))


async def clear(request: micro.Request) -> None:
    cache.clear()
    await request.respond(b"cleared")


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("cache", "2.1.0", metadata={"team": "platform"})
    group = service.add_group("cache").add_group("v2")
    await group.add_endpoint("get", get)  # subject cache.v2.get, queue group "q"

    # Without a queue group every instance receives every request.
    everyone = group.add_group("admin", queue_group="")
    await everyone.add_endpoint("clear", clear, metadata={"scope": "all instances"})


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
