"""Resources that a program opens and leaves: `python examples/stopping.py`, then Ctrl-C."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import micro

events: list[str] = []


class Database:
    async def store(self, data: bytes) -> None:
        await asyncio.sleep(0.05)
        events.append(f"stored {data.decode()}")


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    events.append("database opened")
    yield Database()
    events.append("database closed")


async def setup(ctx: micro.Context) -> None:
    database = await ctx.enter(open_database())  # the context leaves it at the end of the program
    ctx.push(lambda: events.append("services stopped"))  # runs before that: reverse order

    async def store(request: micro.Request) -> None:
        await database.store(request.data())
        await request.respond(b"stored")

    async def quit(request: micro.Request) -> None:
        ctx.cancel()  # stops like a signal; this request still gets its answer
        await request.respond(b"stopping")

    service = await ctx.add_service("store", "1.0.0", done_handler=on_done)
    await service.add_endpoint("store", store)
    await service.add_endpoint("quit", quit)


def on_done(service: micro.Service, error: BaseException | None) -> None:
    events.append(f"{service.name} done, error {error}")


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
    print("\n".join(events))
