"""Tests of handlers: as functions, with requests, on a real server."""

from collections.abc import AsyncIterator

import nats
import pytest
import typed

import micro
from micro.testing import as_handler, make_request, nats_server


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


@pytest.fixture
async def client() -> AsyncIterator[micro.Client]:
    with nats_server() as server:
        async with micro.Context() as ctx:
            await ctx.connect(micro.options.servers(server.url))
            await typed.setup(ctx)
            nc = await nats.connect(server.url)
            yield micro.Client(nc)
            await nc.close()


async def test_missing_item_on_a_real_server(client: micro.Client) -> None:
    with pytest.raises(micro.ServiceError) as caught:
        await client.request("shop.find", b"999")
    assert caught.value.code == 404
