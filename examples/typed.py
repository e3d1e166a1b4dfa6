"""Typed handlers with pydantic input and output: `python examples/typed.py`."""

import time

from pydantic import BaseModel, Field

import micro


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


class Saved(BaseModel):
    id: int
    item: Item


items: dict[int, Item] = {}


async def save(item: Item) -> Saved:
    saved = Saved(id=len(items) + 1, item=item)
    items[saved.id] = item
    return saved


async def find(id: int, request: micro.Request) -> Item:
    if id not in items:
        raise micro.ServiceError(404, f"no item {id}", headers={"Asked": request.subject()})
    return items[id]


async def names() -> list[str]:
    return [item.name for item in items.values()]


async def invert(image: bytes) -> bytes:
    return bytes(255 - value for value in image)


def report(days: int) -> str:
    time.sleep(0.01)  # may block: a plain function runs in a thread
    return f"{len(items)} items in {days} days"


@micro.cheap
def count() -> int:
    return len(items)  # never blocks: no thread needed


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("shop", "1.0.0", description="Keeps items")
    group = service.add_group("shop")
    for handler in (save, find, names, invert, report, count):
        await group.add_endpoint(handler.__name__, handler)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
