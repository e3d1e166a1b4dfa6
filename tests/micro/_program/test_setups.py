"""What `micro.run` takes as a program."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro._program.setups import setup_of

desk = micro.service("desk", "1.0.0")


@micro.service("shop", "1.0.0")
class Shop: ...


async def test_setup_function_is_taken_as_it_is() -> None:
    async def setup(ctx: micro.Context) -> None: ...

    assert setup_of(setup) is setup


@pytest.mark.parametrize(
    ("program", "names"), [(desk, ["desk"]), (Shop, ["shop"]), ([Shop(), desk], ["shop", "desk"])]
)
async def test_declared_services_are_added_in_order(
    nc: NatsClient, program: Any, names: list[str]
) -> None:
    async with micro.Context(nc) as ctx:
        await ctx.connect()
        await setup_of(program)(ctx)

        assert [service.name for service in ctx.services] == names


@pytest.mark.parametrize("program", [object(), int, "app:shop", [], [desk, object()]])
def test_run_refuses_other_values(program: Any) -> None:
    with pytest.raises(micro.ConfigError, match=r"invalid (program|services) .*declared"):
        micro.run(program)
