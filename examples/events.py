"""A consumer with retries and dead letters, and a subscriber: `python examples/events.py`."""

from pydantic import BaseModel

import micro


class Order(BaseModel):
    number: int
    email: str


sent: list[int] = []
heard: list[str] = []


async def mail(order: Order, delivery: micro.Delivery) -> None:
    if "@" not in order.email:
        raise micro.Reject(f"order {order.number} has no usable address")
    if order.number == 13 and delivery.delivered == 1:
        raise ConnectionError("the mail server is away")  # the message comes again
    sent.append(order.number)


async def hear(request: micro.Request) -> None:
    heard.append(request.subject())


async def place(order: Order, request: micro.Request) -> int:
    ctx: micro.Context = request.state.ctx
    stored = await ctx.publish("orders.new", order, id=f"order-{order.number}", ack=True)
    return stored.sequence


async def setup(ctx: micro.Context) -> None:
    async def lend(request: micro.Request, next: micro.NextHandler) -> micro.Response:
        request.state.ctx = ctx
        return await next(request)

    service = await ctx.add_service("mailer", "1.0.0", middlewares=[lend])
    await service.add_consumer(
        "letters", hear, stream="DEAD", subjects="dead.>", ensure_stream=True
    )
    await service.add_consumer(
        "mail",
        mail,
        stream="NEW_ORDERS",
        subjects="orders.new",
        ensure_stream=True,
        max_deliver=5,
        backoff=[0.1, 1, 10],
        dead_letter="dead.mail",
    )
    await service.add_subscriber("hear", "shop.opened", hear)
    await service.add_endpoint("place", place)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
