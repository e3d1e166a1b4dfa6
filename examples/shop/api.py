"""What the services of the shop say to each other."""

from typing import Protocol

from pydantic import BaseModel, Field

import micro


class Order(BaseModel):
    item: str
    count: int = Field(default=1, gt=0)


class Receipt(BaseModel):
    order: Order
    price: float


class BillingApi(Protocol):
    @micro.endpoint(subject="billing.charge")
    async def charge(self, order: Order) -> float:
        """Charge an order and return its price."""
        ...
