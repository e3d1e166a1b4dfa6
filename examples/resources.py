"""Resources of handlers by annotation, with dishka: `micro run resources:setup`.

Needs the extra dishka.
"""

from collections.abc import AsyncIterator

from dishka import AsyncContainer, Provider, Scope, make_async_container, provide
from pydantic import BaseModel

import micro
from micro.adapters.dishka import FromDishka, inject, resources


class Item(BaseModel):
    name: str
    count: int = 1


class Stock:
    def __init__(self) -> None:
        self.items: dict[str, int] = {"tea": 5}


class Transaction:
    def __init__(self, stock: Stock) -> None:
        self.stock = stock

    def take(self, item: Item) -> int:
        self.stock.items[item.name] -= item.count
        return self.stock.items[item.name]


class Resources(Provider):
    @provide(scope=Scope.APP)
    def stock(self) -> Stock:  # one for the program
        return Stock()

    @provide(scope=Scope.REQUEST)
    async def transaction(self, stock: Stock) -> AsyncIterator[Transaction]:  # one for a request
        yield Transaction(stock)
        print("transaction closed")


warehouse = micro.service("warehouse", "1.0.0", exception_handlers={KeyError: 404})


@warehouse.endpoint
@inject
async def take(item: Item, transaction: FromDishka[Transaction]) -> int:
    return transaction.take(item)


async def serve(ctx: micro.Context, container: AsyncContainer) -> None:
    """Serve with any container: a test passes one with resources of its own."""
    ctx.push(container.close)
    await ctx.add(warehouse, middlewares=[resources(container)])


async def setup(ctx: micro.Context) -> None:
    await serve(ctx, make_async_container(Resources()))


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
