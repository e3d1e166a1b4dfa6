"""Schemas that refer to other artifacts, through serializers, deserializers and validators."""

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.conftest import NewRegistry, running
from tests.micro_schema_registry.jetstream import JetStreamServer

from micro_schema_registry import (
    ApicurioRegistryClient,
    InvalidArgumentError,
    InvalidPayloadError,
    NatsRegistryClient,
    Reference,
    SchemaNotFoundError,
    SchemaRegistry,
    SerializationError,
    ServiceConfig,
    ServiceOptions,
)
from micro_schema_registry._references import Inliner, ReferencedSchemas, inlined
from micro_schema_registry.avro import (
    AsyncAvroDeserializer,
    AsyncAvroSerializer,
    AvroDeserializer,
    AvroSerializer,
)
from micro_schema_registry.json_schema import JsonSchemaValidator
from micro_schema_registry.serialization import SerializationContext, WireFormat

CTX = SerializationContext("orders")
COUNTRY = {"type": "enum", "name": "Country", "namespace": "geo", "symbols": ["FR", "DE"]}
ADDRESS = {
    "type": "record",
    "name": "Address",
    "namespace": "geo",
    "fields": [
        {"name": "street", "type": "string"},
        {"name": "country", "type": "Country"},
    ],
}
USER = {
    "type": "record",
    "name": "User",
    "namespace": "com.example",
    "fields": [
        {"name": "home", "type": "geo.Address"},
        {"name": "work", "type": ["null", "geo.Address"]},
        {"name": "born", "type": "geo.Country"},
    ],
}
VALUE = {
    "home": {"street": "a", "country": "FR"},
    "work": {"street": "b", "country": "DE"},
    "born": "FR",
}
TO_COUNTRY = Reference(name="geo.Country", artifact_id="country", version="1")
TO_ADDRESS = Reference(name="geo.Address", artifact_id="address", version="1")


async def register_avro(registry: SchemaRegistry) -> None:
    await registry.register_schema("country", COUNTRY)
    await registry.register_schema("address", ADDRESS, references=[TO_COUNTRY])


def blocking(client: ApicurioRegistryClient) -> None:
    client.register_schema("country", COUNTRY)
    client.register_schema("address", ADDRESS, references=[TO_COUNTRY])


@pytest.mark.parametrize("use_id", ["globalId", "contentId"])
async def test_avro_values_come_back_in_each_wire_format(
    new_registry: NewRegistry, use_id: Any
) -> None:
    writer, reader = await new_registry(), await new_registry()
    await register_avro(writer)
    read = AsyncAvroDeserializer(reader, use_id=use_id)
    latest = AsyncAvroDeserializer(
        reader, use_id=use_id, artifact_id="user", use_latest_version=True
    )
    for wire_format in WireFormat:
        write = AsyncAvroSerializer(
            writer,
            "user",
            schema=USER,
            auto_register=True,
            references=[TO_ADDRESS, TO_COUNTRY],
            wire_format=wire_format,
            use_id=use_id,
        )

        message = await write.serialize(VALUE, CTX)

        assert await read(message.payload, CTX, headers=message.headers) == VALUE
        assert await latest(message.payload, CTX, headers=message.headers) == VALUE


async def test_a_reader_schema_may_refer_to_others(registry: SchemaRegistry) -> None:
    await register_avro(registry)
    await registry.register_schema("user", USER, references=[TO_ADDRESS, TO_COUNTRY])
    payload = await AsyncAvroSerializer(registry, "user")(VALUE, CTX)
    home = {
        "type": "record",
        "name": "User",
        "namespace": "com.example",
        "fields": USER["fields"][:1],
    }

    read = AsyncAvroDeserializer(registry, reader_schema=home, references=[TO_ADDRESS])

    assert await read(payload, CTX) == {"home": VALUE["home"]}


async def test_a_union_may_refer_to_others(registry: SchemaRegistry) -> None:
    await register_avro(registry)
    union = ["null", "geo.Address", "geo.Country"]
    await registry.register_schema("union", union, references=[TO_ADDRESS, TO_COUNTRY])

    payload = await AsyncAvroSerializer(registry, "union")("DE", CTX)

    assert await AsyncAvroDeserializer(registry)(payload, CTX) == "DE"


async def test_a_missing_reference_is_named(registry: SchemaRegistry) -> None:
    """No rule of the registry asks for references."""
    await registry.register_schema("user", USER)

    with pytest.raises(SerializationError, match=r"geo\.Address"):
        await AsyncAvroSerializer(registry, "user")(VALUE, CTX)


async def test_content_references_are_found_by_each_kind_of_id(
    registry: SchemaRegistry, group_id: str
) -> None:
    await registry.register_schema("country", COUNTRY)
    registered = await registry.register_schema("address", ADDRESS, references=[TO_COUNTRY])
    expected = (TO_COUNTRY.model_copy(update={"group_id": group_id}),)

    assert await registry.get_content_references("globalId", registered.global_id) == expected
    assert await registry.get_content_references("contentId", registered.content_id) == expected
    for kind in ("globalId", "contentId"):
        with pytest.raises(SchemaNotFoundError) as caught:
            await registry.get_content_references(kind, 2**40)
        assert (caught.value.id_type, caught.value.id_value) == (kind, 2**40)


async def test_references_to_the_default_group_stay_there(registry: SchemaRegistry) -> None:
    """Apicurio leaves its name out."""
    country = f"country-{registry.group_id}"
    await registry.register_schema(country, COUNTRY, group_id="default")
    reference = Reference(name="geo.Country", artifact_id=country, version="1", group_id="default")
    await registry.register_schema("address", ADDRESS, references=[reference])

    payload = await AsyncAvroSerializer(registry, "address")(VALUE["home"], CTX)

    assert await AsyncAvroDeserializer(registry)(payload, CTX) == VALUE["home"]
    assert await registry.get_references("address") == (reference,)


ORDER: dict[str, Any] = {
    "$id": "https://example.com/schemas/order.json",
    "type": "object",
    "properties": {
        "price": {"$ref": "money.json"},
        "lines": {"type": "array", "items": {"$ref": "line.json#/$defs/Line"}},
    },
}
MONEY = {"type": "object", "properties": {"currency": {"$ref": "currency.json"}}}
CURRENCY = {"enum": ["EUR", "USD"]}
LINE = {"$defs": {"Line": {"type": "object", "required": ["sku"]}}}


async def register_json(registry: SchemaRegistry) -> int:
    async def register(name: str, schema: Any, **references: str) -> int:
        made = await registry.register_schema(
            name,
            schema,
            artifact_type="JSON",
            references=[
                Reference(name=uri, artifact_id=artifact, version="1")
                for artifact, uri in references.items()
            ],
        )
        return made.global_id

    await register("currency", CURRENCY)
    await register("money", MONEY, currency="currency.json")
    await register("line", LINE)
    return await register("order", ORDER, money="money.json", line="line.json#/$defs/Line")


GOOD = {"price": {"currency": "EUR"}, "lines": [{"sku": 1}]}
BAD = {"price": {"currency": "XXX"}, "lines": [{}]}


async def test_json_values_are_validated_across_documents(new_registry: NewRegistry) -> None:
    await register_json(await new_registry())

    validator = await JsonSchemaValidator.load(await new_registry(), "order")

    validator.validate(GOOD)
    with pytest.raises(InvalidPayloadError) as caught:
        validator.validate(BAD)
    assert {cause.context for cause in caught.value.causes} == {"$.price.currency", "$.lines[0]"}


def test_a_validator_can_be_given_the_other_documents() -> None:
    schema = {"properties": {"a": {"$ref": "other.json"}}}

    validator = JsonSchemaValidator(schema, references={"other.json": {"type": "integer"}})

    assert validator.causes({"a": 1}) == ()
    assert validator.causes({"a": "x"})
    with pytest.raises(InvalidArgumentError, match=r"invalid JSON Schema 'other\.json' at"):
        JsonSchemaValidator(schema, references={"other.json": {"type": 3}})


async def test_the_blocking_classes_follow_references(apicurio_url: str, group_id: str) -> None:
    def run() -> None:
        with ApicurioRegistryClient(apicurio_url, group_id) as client:
            blocking(client)
            references = [TO_ADDRESS, TO_COUNTRY]
            write = AvroSerializer(
                client, "user", schema=USER, auto_register=True, references=references
            )
            assert AvroDeserializer(client)(write(VALUE, CTX), CTX) == VALUE
            client.register_schema("currency", CURRENCY, artifact_type="JSON")
            client.register_schema(
                "money",
                MONEY,
                artifact_type="JSON",
                references=[Reference(name="currency.json", artifact_id="currency", version="1")],
            )
            validator = JsonSchemaValidator.load_blocking(client, "money")
            assert not validator.causes({"currency": "EUR"})
            assert validator.causes({"currency": "XXX"})

    await asyncio.to_thread(run)


PROTO = 'syntax = "proto3";\nimport "common.proto";\nmessage User { common.Name name = 1; }\n'
COMMON = 'syntax = "proto3";\npackage common;\nmessage Name { string first = 1; }\n'
TO_COMMON = Reference(name="common.proto", artifact_id="common", version="1")


async def test_protobuf_schemas_are_registered_with_their_imports(
    new_registry: NewRegistry,
) -> None:
    registry = await new_registry()
    await registry.set_rule("VALIDITY", "FULL")
    await registry.set_rule("COMPATIBILITY", "BACKWARD")
    await registry.register_schema("common", COMMON, artifact_type="PROTOBUF")

    for text in (PROTO, PROTO.replace("}", "string mail = 2; }")):
        verdict = await registry.check_compatibility(
            "user", text, artifact_type="PROTOBUF", references=[TO_COMMON]
        )
        registered = await registry.register_schema(
            "user", text, artifact_type="PROTOBUF", references=[TO_COMMON]
        )

        assert verdict, verdict.causes
        reader = await new_registry()
        assert (await reader.get_content("globalId", registered.global_id)).content == text
        references = await reader.get_content_references("globalId", registered.global_id)
        assert [each.name for each in references] == ["common.proto"]


# --- definitions in one piece


def in_one_piece(schema: Any, *others: Any) -> Any:
    schemas = ReferencedSchemas()
    for number, other in enumerate(others):
        schemas.add(Reference(name="x", artifact_id=str(number), version="1"), other, ())
    return inlined(schema, schemas)


def record(name: str, *types: Any, **more: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": each} for number, each in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields, **more}


def test_a_definition_stands_where_it_is_first_used() -> None:
    other = record("a.B", "int")

    assert in_one_piece(record("C", "a.B", "a.B"), other) == record(
        "C", record("B", "int", namespace="a"), "a.B", namespace=""
    )


def test_names_are_found_in_the_namespace_of_their_schema() -> None:
    address = record("Address", "Country", namespace="geo")
    country = record("Country", namespace="geo")

    whole = in_one_piece(
        record("User", "geo.Address", "geo.Country", namespace="x"), address, country
    )

    assert Inliner({}).lacks_definitions(whole) is False
    assert whole["fields"][1]["type"] == "geo.Country"


def test_a_definition_that_came_twice_stands_once() -> None:
    shared = record("S", "int", namespace="a")
    whole = in_one_piece(
        record("C", "a.S", "a.One", "a.Two"), record("a.One", shared), record("a.Two", shared)
    )

    assert json.dumps(whole).count('"type": "record"') == 4


def test_recursive_definitions_end() -> None:
    node = record("a.Node", ["null", "a.Node"], {"type": "array", "items": "a.Leaf"})

    whole = in_one_piece({"type": "map", "values": "a.Node"}, node, record("a.Leaf"))

    assert Inliner({}).lacks_definitions(whole) is False


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        ["null", {"type": "array", "items": "long"}],
        {"type": "bytes", "logicalType": "decimal"},
        {"type": "record"},
        {"type": {"type": "map", "values": "int"}},
        record("A", "A", {"type": "enum", "name": "E", "symbols": []}, "E", namespace="n"),
    ],
    ids=str,
)
def test_complete_schemas_lack_nothing(schema: Any) -> None:
    assert Inliner({}).lacks_definitions(schema) is (schema == {"type": "record"})


# --- the service's validate


@pytest.mark.parametrize("backend", ["embedded", "apicurio"])
async def test_the_service_validates_across_documents(
    request: pytest.FixtureRequest,
    jetstream: JetStreamServer,
    nc: Client,
    bucket: str,
    group_id: str,
    backend: str,
) -> None:
    url = request.getfixturevalue("apicurio_url") if backend == "apicurio" else None
    options = ServiceOptions(group=group_id, timeout=30)
    config = ServiceConfig(backend=backend, url=url, bucket=bucket, options=options)
    async with running(jetstream, config):
        registry = NatsRegistryClient(nc, group_id, prefix=group_id, timeout=30)
        order = await register_json(registry)
        await register_avro(registry)
        user = await registry.register_schema("user", USER, references=[TO_ADDRESS, TO_COUNTRY])

        async def validate(global_id: int, value: Any) -> bool:
            query = {"global_id": global_id, "value": value}
            reply = await nc.request(f"{group_id}.validate", json.dumps(query).encode(), timeout=30)
            return bool(json.loads(reply.data)["valid"])

        assert await validate(order, GOOD)
        assert not await validate(order, BAD)
        assert await validate(user.global_id, VALUE)
        assert not await validate(user.global_id, VALUE | {"born": "XX"})
        await registry.register_schema("common", COMMON, artifact_type="PROTOBUF")
        person = await registry.register_schema(
            "person", PROTO, artifact_type="PROTOBUF", references=[TO_COMMON]
        )
        assert await validate(person.global_id, {"name": {"first": "Ada"}})
        for wrong in [{"name": {"first": 1}}, {"surname": "Ada"}, None]:
            assert not await validate(person.global_id, wrong)
