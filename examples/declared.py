"""Services declared as objects and as a class: `micro run declared:services`."""

from typing import Protocol

from pydantic import BaseModel

import micro


class Order(BaseModel):
    item: str
    count: int = 1


class Receipt(BaseModel):
    number: int
    item: str


class NotFoundError(Exception):
    pass


desk = micro.service("desk", "1.0.0", exception_handlers={NotFoundError: 404})
orders = desk.group("orders", max_in_flight=64)


@orders.endpoint
async def find(item: str) -> Order:
    """Find the order of an item."""
    if item != "tea":
        raise NotFoundError(f"no order of {item}")
    return Order(item=item)


@desk.subscriber("shop.opened", queue_group="")
async def hear(item: str) -> None:
    """Hear what is sold."""
    print(f"there is {item}")


@desk.endpoint(timeout=2, metadata={"audience": "operators"})
async def status() -> str:
    return "open"


class ShopApi(Protocol):
    @micro.endpoint
    async def place(self, order: Order) -> Receipt:
        """Place an order."""
        ...


@micro.service("shop", "1.0.0")
class Shop(ShopApi):
    """Sells tea."""

    admin = micro.group("admin")

    def __init__(self, first_number: int = 1) -> None:
        self.number = first_number

    async def place(self, order: Order) -> Receipt:
        return Receipt(number=self.number, item=order.item)

    @admin.endpoint(queue_group="")
    async def reset(self) -> None:
        """Start again with number 1, in each instance."""
        self.number = 1


services = [desk, Shop(first_number=100)]

if __name__ == "__main__":
    micro.run(services, trap_signals=True)
