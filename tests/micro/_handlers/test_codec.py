"""Codecs of typed handlers and typed calls."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import ormsgpack
import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel, ConfigDict, Field

import micro
from micro import Codec, ConfigError
from micro.adapters import msgpack, protobuf


class Order(BaseModel):
    model_config = ConfigDict(strict=True)

    item_name: str = Field(alias="itemName")
    at: datetime
    data: set[int]


class Receipt(BaseModel):
    number: int


ORDER = Order.model_validate(
    {"itemName": "tea", "at": datetime(2026, 1, 2, tzinfo=UTC), "data": {1, 2}}
)


async def echo(order: Order) -> Order:
    return order


async def place(order: Order) -> Receipt:
    return Receipt(number=len(order.data))


async def add(pair: list[int]) -> int:
    return sum(pair)


async def same(data: bytes) -> bytes:
    return data


async def nothing() -> None:
    return None


async def message(given: wrappers_pb2.Int64Value) -> wrappers_pb2.StringValue:
    return wrappers_pb2.StringValue(value=str(given.value))


async def wrong(given: wrappers_pb2.Int64Value) -> wrappers_pb2.StringValue:
    return given  # type: ignore[return-value]  # on purpose


TEXT = Codec.of_data("text/x-json", lambda data: json.dumps(data).encode(), json.loads)


@pytest.mark.parametrize("codec", [msgpack.codec, TEXT, Codec.JSON, None])
async def test_values_travel_in_the_form_of_the_codec(nc: NatsClient, codec: Codec | None) -> None:
    async with micro.add_service(nc, "coded", "1.0.0", codec=codec) as service:
        group = service.add_group("coded")
        for handler in (echo, place, add, same, nothing):
            await group.add_endpoint(handler.__name__, handler)
        client = micro.Client(nc)

        assert await client.call("coded.echo", ORDER, returns=Order, codec=codec) == ORDER
        receipt = await client.call("coded.place", ORDER, returns=Receipt, codec=codec)
        assert receipt == Receipt(number=2)
        assert await client.call("coded.add", [1, 2], returns=int, codec=codec) == 3
        assert await client.call("coded.same", b"\xff", returns=bytes, codec=codec) == b"\xff"
        await client.call("coded.nothing", codec=codec)
        named = client.service("coded")
        assert await named.call("add", [1, 2], returns=int, codec=codec) == 3


async def test_messages_carry_their_content_type(nc: NatsClient) -> None:
    seen: list[str | None] = []

    async def look(request: micro.Request, next: micro.NextHandler) -> micro.Response:
        seen.append(request.headers().get("Content-Type"))
        return await next(request)

    async with micro.add_service(nc, "typed", "1.0.0", middlewares=[look]) as service:
        await service.add_endpoint("a", add, subject="typed.add", codec=msgpack.codec)
        client = micro.Client(nc)
        await client.call("typed.add", [1], returns=int, codec=msgpack.codec)
        answer = await client.request("typed.add", ormsgpack.packb([1, 2]))

    assert seen == ["application/msgpack", None]
    assert (ormsgpack.unpackb(answer.data), answer.headers) == (
        3,
        {"Content-Type": "application/msgpack"},
    )


@pytest.mark.parametrize(
    ("data", "headers", "code", "kinds"),
    [
        (b'{"a": 1}', {"content-type": "application/json"}, 415, []),
        (b"[1]", {"Content-Type": "Application/MsgPack; v=1"}, 400, ["list_type"]),
        (b"\xc1", {}, 400, ["decoding"]),
        (ormsgpack.packb(["x"]), {}, 400, ["int_parsing"]),
    ],
)
async def test_other_payloads_are_refused(
    nc: NatsClient, data: bytes, headers: dict[str, str], code: int, kinds: list[str]
) -> None:
    async with micro.add_service(nc, "strict", "1.0.0") as service:
        await service.add_endpoint("a", add, subject="strict.add", codec=msgpack.codec)
        with pytest.raises(micro.ServiceError) as caught:
            await micro.Client(nc).request("strict.add", data, headers)
    assert caught.value.code == code
    assert [each["type"] for each in caught.value.errors] == kinds


async def test_answer_in_another_form_is_invalid(nc: NatsClient) -> None:
    async with micro.add_service(nc, "json", "1.0.0") as service:
        await service.add_endpoint("same", same, subject="json.same")
        for codec, kind in ((msgpack.codec, Receipt), (protobuf.codec, wrappers_pb2.Int64Value)):
            with pytest.raises(micro.InvalidAnswerError) as caught:
                await micro.Client(nc).call("json.same", b"\xc1", returns=kind, codec=codec)
            assert caught.value.errors[0]["type"] == "decoding"


async def test_inner_level_chooses_another_codec(nc: NatsClient) -> None:
    async with micro.add_service(nc, "levels", "1.0.0", codec=msgpack.codec) as service:
        group = service.add_group("levels", codec=Codec.JSON)
        await group.add_endpoint("add", add)
        assert await micro.Client(nc).call("levels.add", [1, 2], returns=int) == 3


async def test_protobuf_messages_are_payloads(nc: NatsClient) -> None:
    async with micro.add_service(nc, "proto", "1.0.0", codec=protobuf.codec) as service:
        await service.add_endpoint("m", message, subject="proto.m")
        await service.add_endpoint("w", wrong, subject="proto.w")
        client = micro.Client(nc)
        answer = await client.call(
            "proto.m",
            wrappers_pb2.Int64Value(value=7),
            returns=wrappers_pb2.StringValue,
            codec=protobuf.codec,
        )
        assert answer.value == "7"
        with pytest.raises(micro.ServiceError) as caught:
            await client.request("proto.w", b"")
        assert caught.value.code == 500
        metadata = service.info().endpoints[0].metadata

    assert metadata["micro.request.content_type"] == "application/protobuf"
    assert metadata["micro.request.message"] == "google.protobuf.Int64Value"
    assert metadata["micro.response.message"] == "google.protobuf.StringValue"
    assert "micro.request.schema" not in metadata


def test_descriptor_of_a_message_is_that_of_its_file() -> None:
    import base64

    assert protobuf.codec.describe is not None
    told = protobuf.codec.describe(Timestamp)
    file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(told["descriptor"]))
    assert [each.name for each in file.message_type] == ["Timestamp"]


async def test_schema_in_discovery_follows_the_codec(nc: NatsClient) -> None:
    async with micro.add_service(nc, "seen", "1.0.0") as service:
        await service.add_endpoint("a", place, subject="seen.a", codec=msgpack.codec)
        await service.add_endpoint("b", place, subject="seen.b")
        coded, plain = (each.metadata for each in service.info().endpoints)

    types = {
        "micro.request.content_type": "application/msgpack",
        "micro.response.content_type": "application/msgpack",
    }
    assert coded == {**plain, **types}


@pytest.mark.parametrize("handler", [add, echo])
async def test_type_that_a_codec_does_not_know_is_refused(nc: NatsClient, handler: Any) -> None:
    async with micro.add_service(nc, "unknown", "1.0.0") as service:
        with pytest.raises(ConfigError, match="expected a protobuf message class"):
            await service.add_endpoint("a", handler, codec=protobuf.codec)


@pytest.mark.parametrize("content_type", ["", "json", "/", "a/b\nc"])
def test_content_type_is_checked(content_type: str) -> None:
    with pytest.raises(ConfigError, match="invalid content type"):
        Codec(content_type, lambda value, kind: b"", lambda data, kind: None)
