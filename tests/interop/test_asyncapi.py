"""AsyncAPI documents are valid by the official JSON Schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel
from tests.interop.conftest import HERE, built
from tests.micro._documents import kinds

import micro
from micro._documents.asyncapi import asyncapi, of_server
from micro.adapters import msgpack

pytestmark = pytest.mark.interop


@cache
def official() -> Any:
    """Return the validator of AsyncAPI 3.0, by the package of its authors."""
    folder = built(HERE / "asyncapi", "npm", "ci", "--no-audit", "--no-fund")
    path = folder / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
    return jsonschema_rs.Draft7Validator(json.loads(path.read_text()))


def assert_valid(document: dict[str, Any]) -> None:
    errors = [
        f"{each.instance_path}: {each.message[:200]}" for each in official().iter_errors(document)
    ]
    assert errors == []
    for target in references(document):
        place: Any = document
        for part in target.removeprefix("#/").split("/"):
            place = place[part]


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [target for each in value for target in references(each)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [target for each in value.values() for target in references(each)]


def test_rules_of_the_official_schema_are_applied() -> None:
    assert not official().is_valid({"asyncapi": "3.0.0", "info": {"title": "x"}})


class Order(BaseModel):
    item: str


async def place(order: Order) -> int:
    """Place an order."""
    return 1


async def raw(request: micro.Request) -> None: ...


async def test_document_of_running_services_is_valid(nc: NatsClient) -> None:
    async with (
        micro.add_service(nc, "shop", "1.0.0", "Sells tea.") as shop,
        micro.add_service(nc, "desk", "2.0.0") as desk,
    ):
        await shop.add_group("eu").add_endpoint("place", place, metadata={"description": "Place."})
        await shop.add_endpoint("place", place, codec=msgpack.codec)
        await shop.add_endpoint("any", raw, subject="any.*.of", queue_group="")
        await shop.add_subscriber("placed", "events.*.new", place)
        await desk.add_endpoint("raw", raw)
        document = of_server(nc, await micro.Client(nc).info())

    assert_valid(document)
    assert document["asyncapi"] == "3.0.0"
    assert document["servers"]["nats1"]["protocol"] == "nats"
    assert {key: each["channel"]["$ref"] for key, each in document["operations"].items()} == {
        key: f"#/channels/{key}"
        for key in ("desk.raw", "shop.any", "shop.place", "shop.place.place", "shop.placed")
    }
    assert document["channels"]["shop.any"]["address"] == "any.{token2}.of"
    assert document["channels"]["shop.placed"]["address"] == "events.{token2}.new"
    assert "reply" not in document["operations"]["shop.placed"]
    assert document["operations"]["shop.any"]["reply"]["messages"] == [
        {"$ref": "#/channels/shop.any.reply/messages/response"},
        {"$ref": "#/channels/shop.any.reply/messages/error"},
    ]


def test_schemas_of_all_kinds_give_a_valid_document() -> None:
    from tests.micro._documents.test_python_client import info_of

    assert_valid(asyncapi([info_of(kinds.KINDS)], servers=["localhost:4222"], secured=True))
