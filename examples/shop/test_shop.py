"""The shop on a real server: `pytest shop` in the folder `examples`."""

import pytest
from shop.api import Order
from shop.app import Orders, setup

import micro
from micro.testing import nats_server


async def test_orders_are_charged_and_mailed(capsys: pytest.CaptureFixture[str]) -> None:
    with nats_server(jetstream=True) as server:
        async with micro.Context() as ctx:
            await ctx.connect(micro.options.servers(server.url))
            await setup(ctx)
            orders = micro.Client(ctx).bind(Orders)
            dead = await ctx.client.subscribe("events.order.undelivered")

            assert (await orders.place(Order(item="tea", count=2))).price == 7
            with pytest.raises(micro.ServiceError, match="404: no item 'milk'"):
                await orders.place(Order(item="milk"))
            await orders.place(Order(item="cup"))
            letter = await dead.next_msg(timeout=30)
            assert (letter.headers or {})["Micro-Dead-Letter-Deliveries"] == "3"
    assert "2 x tea for 7.00" in capsys.readouterr().out
