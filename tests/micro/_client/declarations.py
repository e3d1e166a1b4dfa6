"""A program for type checkers: each line marked `# error` must be refused, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro


class Order(BaseModel):
    item: str


class Receipt(BaseModel):
    number: int


class ShopApi(Protocol):
    @micro.endpoint
    async def place(self, order: Order) -> Receipt: ...


@micro.service("shop", "1.0.0")
class Shop:
    def __init__(self, first: int) -> None:
        self.number = first

    @micro.endpoint(timeout=2, exception_handlers={KeyError: 404})
    async def place(self, order: Order) -> Receipt:
        return Receipt(number=self.number)


@micro.service("old", "1.0.0", max_in_flight=8)
class OldShop:
    @micro.endpoint
    async def place(self, order: str) -> Receipt:
        return Receipt(number=len(order))


@micro.service("ledger", "1.0.0")
class LedgerApi(Protocol):
    @micro.endpoint(subject="ledger.total")
    async def total(self, orders: AsyncIterator[Order]) -> int: ...

    @micro.endpoint(subject="ledger.receipts")
    def receipts(self, first: Receipt, orders: AsyncIterator[Order]) -> AsyncIterator[Receipt]: ...


async def uploads(
    nc: NatsClient, orders: AsyncIterator[Order], receipts: AsyncIterator[Receipt]
) -> None:
    ledger = micro.Client(nc).bind(LedgerApi)
    total: int = await ledger.total(orders)
    text: str = await ledger.total(orders)  # error
    await ledger.total(receipts)  # error
    await ledger.total([Order(item="tea")])  # error
    await ledger.total()  # error
    async for receipt in ledger.receipts(Receipt(number=1), orders):
        total += receipt.number
        text += receipt.item  # error
    ledger.receipts(orders)  # error
    ledger.receipts(Receipt(number=1), receipts)  # error
    await ledger.receipts(Receipt(number=1), orders)  # error


async def calls(nc: NatsClient) -> None:
    client = micro.Client(nc)
    shop = client.bind(ShopApi)
    receipt: Receipt = await shop.place(Order(item="tea"))
    wrong: int = await shop.place(Order(item="tea"))  # error
    await shop.place("tea")  # error
    await shop.order(Order(item="tea"))  # error
    receipt = await client.bind(Shop).place(Order(item="tea"))
    own: ShopApi = Shop(1)
    other: ShopApi = OldShop()  # error
    total: int = await client.call("math.add", receipt, returns=int)
    totals: list[int] = await client.call("math.add", receipt, returns=list[int])
    text = await client.service("math").call("add", returns=str)
    micro.endpoint(colour="red")  # error
    micro.service("shop", "1.0.0", timeout="2")  # error
    print(wrong, own, other, total, totals, text.upper())
