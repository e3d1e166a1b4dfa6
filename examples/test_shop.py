"""Tests of handlers: as functions, with requests, on a real server."""

from typing import Any

import pytest
import typed
import uploads

import micro
from micro.pytest_plugin import MicroApp
from micro.testing import as_handler, make_request


async def test_save_as_a_function() -> None:
    saved = await typed.save(typed.Item(name="tea", price=2))
    assert saved.item.name == "tea"


async def test_save_as_a_request() -> None:
    request = make_request("shop.save", b'{"name": "tea", "price": 2}')
    await as_handler(typed.save)(request)
    assert typed.Saved.model_validate_json(request.response_data()).item.price == 2


async def test_invalid_item_is_refused() -> None:
    request = make_request("shop.save", b'{"name": "tea", "price": -1}')
    await as_handler(typed.save)(request)
    assert request.response_headers()["Nats-Service-Error-Code"] == "400"


async def test_items_are_sent_with_a_request() -> None:
    items = [b'{"celsius": 20}', b'{"celsius": 40}']
    request = make_request("sensors.alarms", b'{"celsius": 30}', items=items)
    await as_handler(uploads.alarms)(request)
    assert request.response_items() == [b'{"celsius":40.0}']


async def test_missing_item_on_a_real_server(micro_app: MicroApp) -> None:
    async with micro_app(typed.setup) as app:
        with pytest.raises(micro.ServiceError) as caught:
            await app.client.request("shop.find", b"999")
    assert caught.value.code == 404


async def greeter(ctx: micro.Context, greeting: str = "hello") -> None:
    async def greet(name: str) -> str:
        return f"{greeting} {name}"

    service = await ctx.add_service("greeter", "1.0.0")
    await service.add_endpoint("greet", greet)


async def test_with_another_resource(micro_app: MicroApp) -> None:
    async with micro_app(greeter, greeting="goodbye") as app:
        answer = await app.client.request("greet", b'"Ann"')
    assert answer.data == b'"goodbye Ann"'


async def contract(ctx: micro.Context, contracts: Any) -> None:
    service = await ctx.add_service("shop", "1.0.0", contracts=contracts)
    await service.add_endpoint("save", typed.save)


async def test_contracts_are_registered(registry: Any, micro_app: MicroApp) -> None:
    async with registry("shop") as schemas, micro_app(contract, contracts=schemas):
        artifacts = await schemas.list_artifacts()
    assert [each.artifact_id for each in artifacts] == ["save.request", "save.response"]
