"""Orders, billing and a mailer: `micro run shop.app:setup`, on a server with JetStream."""

import os

from pydantic import BaseModel, Field

import micro
from micro.opentelemetry import TracedClient, trace_requests
from micro_schema_registry import EmbeddedRegistry

from .api import BillingApi, Order, Receipt

PRICES = {"tea": 3.5, "cup": 9.0}


class Settings(BaseModel):
    sender: str = Field(default="shop@example.org", alias="SHOP_SENDER")
    tries: int = Field(default=3, alias="SHOP_TRIES", ge=1)


class UnknownItemError(Exception): ...


settings = Settings.model_validate(dict(os.environ))
mailer = micro.service("mailer", "1.0.0")


@micro.service("billing", "1.0.0", exception_handlers={UnknownItemError: 404}, timeout=2)
class Billing(BillingApi):
    async def charge(self, order: Order) -> float:
        if order.item not in PRICES:
            raise UnknownItemError(f"no item {order.item!r}")
        return order.count * PRICES[order.item]


@micro.service("orders", "1.0.0")
class Orders:
    def __init__(self, client: micro.Client) -> None:
        self.client = client
        self.billing = client.bind(BillingApi, service="billing")

    @micro.endpoint(subject="orders.place")
    async def place(self, order: Order) -> Receipt:
        """Place an order: charge it, and tell everybody."""
        try:
            receipt = Receipt(order=order, price=await self.billing.charge(order))
        except micro.RemoteServiceError as error:
            raise micro.ServiceError(error.code, error.description) from error
        await self.client.publish("events.order.placed", receipt, ack=True)
        return receipt


@mailer.consumer(
    "ORDERS",
    subjects="events.order.placed",
    ensure_stream={"subjects": ["events.order.*"]},
    max_deliver=settings.tries,
    backoff=[0.1, 1],
    dead_letter="events.order.undelivered",
)
async def mail(receipt: Receipt) -> None:
    if receipt.order.item == "cup":  # an address that no mail server takes
        raise ConnectionError("no mail server")
    print(settings.sender, f"{receipt.order.count} x {receipt.order.item} for {receipt.price:.2f}")


async def setup(ctx: micro.Context) -> None:
    registry, tracing = EmbeddedRegistry(ctx.client, "default"), [trace_requests()]
    await ctx.add(mailer, middlewares=tracing)
    await ctx.add(Billing, contracts=registry, middlewares=tracing)
    await ctx.add(Orders(TracedClient(ctx)), contracts=registry, middlewares=tracing)
