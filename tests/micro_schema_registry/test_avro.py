"""Avro through a registry: both drivers, every framing, evolution, and what goes wrong."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from micro_schema_registry import (
    ApicurioRegistryClient,
    AsyncApicurioRegistryClient,
    DeserializationError,
    ResolverError,
    SchemaNotFoundError,
    SerializationError,
)
from micro_schema_registry._model.models import content_hash
from micro_schema_registry.avro import (
    AsyncAvroDeserializer,
    AsyncAvroSerializer,
    AvroDeserializer,
    AvroSerializer,
    QualifiedRecordIdStrategy,
    SimpleTopicIdStrategy,
    TopicIdStrategy,
    TopicRecordIdStrategy,
)
from micro_schema_registry.serialization import MessageField, SerializationContext, WireFormat

USER = {
    "type": "record",
    "name": "User",
    "namespace": "com.example",
    "fields": [{"name": "id", "type": "string"}],
}
USER_2 = {**USER, "fields": [*USER["fields"], {"name": "age", "type": "int", "default": 7}]}
CTX = SerializationContext("users", MessageField.VALUE)


class Blocking:
    """Run the blocking classes as the async ones are run, so that one test serves both."""

    def __init__(self, target: Any) -> None:
        self._target = target

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(self._target, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return Blocking(getattr(self._target, name))


class Codec:
    """One client of a real registry, and what it serializes with."""

    def __init__(self, client: Any, serializer: Any, deserializer: Any) -> None:
        self.client = client
        self.serializer = serializer
        self.deserializer = deserializer


@pytest.fixture(params=["async", "blocking"])
async def codec(
    request: pytest.FixtureRequest,
    apicurio_url: str,
    group_id: str,
    async_http: httpx.AsyncClient,
    http: httpx.Client,
) -> Any:
    """Clients and classes of either kind on a real Apicurio."""
    if request.param == "async":
        async with AsyncApicurioRegistryClient(
            apicurio_url, group_id, http_client=async_http
        ) as client:
            yield Codec(
                client,
                lambda *args, **options: AsyncAvroSerializer(client, *args, **options),
                lambda *args, **options: AsyncAvroDeserializer(client, *args, **options),
            )
        return
    with ApicurioRegistryClient(apicurio_url, group_id, http_client=http) as blocking:
        yield Codec(
            Blocking(blocking),
            lambda *args, **options: Blocking(AvroSerializer(blocking, *args, **options)),
            lambda *args, **options: Blocking(AvroDeserializer(blocking, *args, **options)),
        )


@pytest.mark.parametrize("wire_format", WireFormat)
@pytest.mark.parametrize("use_id", ["globalId", "contentId"])
async def test_values_come_back(codec: Codec, wire_format: WireFormat, use_id: str) -> None:
    await codec.client.register_schema("user", USER)
    serializer = codec.serializer("user", wire_format=wire_format, use_id=use_id)

    message = await serializer.serialize({"id": "a"}, CTX)
    value = await codec.deserializer(use_id=use_id)(message.payload, CTX, headers=message.headers)

    assert value == {"id": "a"}


async def test_headers_are_read_by_the_kind_of_id_that_they_name(codec: Codec) -> None:
    """Java and Confluent write content ids; the global id of the same number is another schema."""
    await codec.client.register_schema("other", USER)
    for _ in range(2):
        await codec.client.register_schema("other", USER, "CREATE_VERSION")
    registered = await codec.client.register_schema("user", USER_2)
    assert registered.content_id != registered.global_id
    kafka = codec.serializer("user", wire_format=WireFormat.KAFKA_HEADERS, use_id="contentId")
    value = {"id": "a", "age": 1}

    message = await kafka.serialize(value, CTX)

    assert [*message.headers] == ["apicurio.value.contentId"]
    assert await codec.deserializer()(message.payload, CTX, headers=message.headers) == value
    headers = {"apicurio.value.contentHash": content_hash(registered.content).encode()}
    assert await codec.deserializer()(message.payload, CTX, headers=headers) == value


@pytest.mark.parametrize("use_id", ["globalId", "contentId"])
async def test_ids_of_eight_bytes_are_written_and_read(codec: Codec, use_id: str) -> None:
    registered = await codec.client.register_schema("user", USER)
    number = registered.global_id if use_id == "globalId" else registered.content_id

    payload = await codec.serializer("user", use_id=use_id, id_bytes=8)({"id": "a"}, CTX)

    assert payload == b"\0" + number.to_bytes(8, "big") + b"\x02a"
    assert await codec.deserializer(use_id=use_id, id_bytes=8)(payload, CTX) == {"id": "a"}


async def test_none_comes_back_as_none(codec: Codec) -> None:
    """The value of a Kafka tombstone is no value of the schema, which need not even exist."""
    for wire_format in WireFormat:
        serializer = codec.serializer("missing", wire_format=wire_format, to_dict=fail)
        assert (await serializer.serialize(None, CTX)).payload is None
        assert (await serializer.serialize(None, CTX)).headers == {}
        assert await serializer(None, CTX) is None
    assert await codec.deserializer(fail)(None, CTX) is None
    assert await codec.deserializer()(None, CTX, headers={"Schema-Global-Id": "1"}) is None


async def test_calling_gives_bytes_where_there_are_no_headers(codec: Codec) -> None:
    await codec.client.register_schema("user", USER)

    payload = await codec.serializer("user")({"id": "a"}, CTX)

    assert payload[:1] == b"\0"
    assert payload[5:] == b"\x02a"
    with pytest.raises(TypeError, match=r"expected serialize\(\)"):
        await codec.serializer("user", wire_format=WireFormat.NATS_HEADERS)({"id": "a"}, CTX)


async def test_a_missing_artifact_is_registered_only_if_asked_for(codec: Codec) -> None:
    resolver = TopicIdStrategy()
    with pytest.raises(SchemaNotFoundError):
        await codec.serializer(artifact_resolver=resolver, schema=USER)({"id": "a"}, CTX)

    registering = codec.serializer(artifact_resolver=resolver, schema=USER, auto_register=True)
    await registering({"id": "a"}, CTX)

    assert (await codec.client.get_version("users-value")).version == "1"


async def test_each_topic_has_its_own_artifact(codec: Codec) -> None:
    """apicurio-serdes keeps the answer for the first topic for ever."""
    serializer = codec.serializer(
        artifact_resolver=SimpleTopicIdStrategy(), schema=USER, auto_register=True
    )
    for topic in ("one", "two"):
        await serializer({"id": "a"}, SerializationContext(topic))

    assert (await codec.client.list_artifacts()).count == 2


async def test_a_new_version_is_used_at_once(codec: Codec) -> None:
    """apicurio-serdes keeps the first schema for ever."""
    serializer = codec.serializer("user")
    await codec.client.register_schema("user", USER)
    assert await serializer({"id": "a", "age": 1}, CTX)
    await codec.client.register_schema("user", USER_2)

    payload = await serializer({"id": "a", "age": 1}, CTX)

    assert await codec.deserializer()(payload, CTX) == {"id": "a", "age": 1}


async def test_readers_may_have_another_schema(codec: Codec) -> None:
    await codec.client.register_schema("user", USER)
    payload = await codec.serializer("user")({"id": "a"}, CTX)
    await codec.client.register_schema("user", USER_2)
    read = codec.deserializer

    assert await read()(payload, CTX) == {"id": "a"}
    assert await read(reader_schema=USER_2)(payload, CTX) == {"id": "a", "age": 7}
    latest = read(artifact_id="user", use_latest_version=True)
    assert await latest(payload, CTX) == {"id": "a", "age": 7}


async def test_values_are_converted_both_ways(codec: Codec) -> None:
    await codec.client.register_schema("user", USER)
    serializer = codec.serializer("user", to_dict=lambda value, ctx: {"id": f"{ctx.topic}/{value}"})
    deserializer = codec.deserializer(lambda value, ctx: (ctx.topic, value["id"]))

    payload = await serializer("a", CTX)

    assert await deserializer(payload, CTX) == ("users", "users/a")


async def test_strict_refuses_unknown_fields(codec: Codec) -> None:
    await codec.client.register_schema("user", USER_2)

    assert await codec.serializer("user")({"id": "a", "more": 1}, CTX)
    assert await codec.serializer("user", strict=True)({"id": "a"}, CTX)
    with pytest.raises(SerializationError, match="more"):
        await codec.serializer("user", strict=True)({"id": "a", "more": 1}, CTX)


def fail(*_: object) -> Any:
    raise LookupError("no luck")


async def test_what_goes_wrong_has_a_type_and_a_cause(codec: Codec) -> None:
    await codec.client.register_schema("user", USER)
    await codec.client.register_schema("bad", {"type": "record"})  # no rule forbids it
    payload = await codec.serializer("user")({"id": "a"}, CTX)
    unknown = (2**31).to_bytes(5, "big")

    async def error_of(kind: type[Exception], act: Any) -> Any:
        with pytest.raises(kind) as caught:
            await act
        return caught.value

    serializer, deserializer = codec.serializer, codec.deserializer
    wrong = await error_of(SerializationError, serializer("user")({"id": 3}, CTX))
    assert wrong.cause is wrong.__cause__ is not None
    await error_of(SerializationError, serializer("bad")({}, CTX))
    hook = await error_of(SerializationError, serializer("user", to_dict=fail)({}, CTX))
    assert isinstance(hook.cause, LookupError)
    await error_of(ResolverError, serializer(artifact_resolver=fail)({}, CTX))
    await error_of(ResolverError, serializer(artifact_resolver=lambda ctx: " ")({}, CTX))
    await error_of(DeserializationError, deserializer()(payload[:5], CTX))
    await error_of(DeserializationError, deserializer(fail)(payload, CTX))
    await error_of(SchemaNotFoundError, deserializer()(unknown, CTX))


async def test_the_strategies_name_artifacts() -> None:
    plain = {"type": "record", "name": "User"}

    assert TopicIdStrategy()(SerializationContext("users", MessageField.KEY)) == "users-key"
    assert SimpleTopicIdStrategy()(CTX) == "users"
    assert QualifiedRecordIdStrategy(USER)(CTX) == "com.example.User"
    assert QualifiedRecordIdStrategy(plain)(CTX) == "User"
    assert TopicRecordIdStrategy(USER)(CTX) == "users-com.example.User"
    assert TopicRecordIdStrategy(plain)(CTX) == "users-User"
    with pytest.raises(ValueError, match="expected a name"):
        QualifiedRecordIdStrategy({"type": "record"})


CONTRADICTIONS: list[Callable[[Any], object]] = [
    AvroSerializer,
    lambda client: AvroSerializer(client, "a", lambda ctx: "b"),
    lambda client: AvroSerializer(client, "a", auto_register=True),
    lambda client: AvroSerializer(
        client, "a", schema=USER, auto_register=True, use_latest_version=True
    ),
    lambda client: AvroSerializer(client, "a", use_id="x"),  # type: ignore[arg-type]  # wrong on purpose
    lambda client: AvroSerializer(client, "a", wire_format="x"),  # type: ignore[arg-type]  # wrong on purpose
    lambda client: AvroDeserializer(client, artifact_id="a"),
    lambda client: AvroDeserializer(client, use_latest_version=True),
    lambda client: AvroDeserializer(
        client, use_latest_version=True, artifact_id="a", reader_schema=USER
    ),
    lambda client: AvroDeserializer(
        client, use_latest_version=True, artifact_id="a", artifact_resolver=lambda ctx: "b"
    ),
    lambda client: AvroSerializer(client, "a", if_exists="x"),  # type: ignore[arg-type]  # wrong on purpose
    lambda client: AvroSerializer(client, "a", id_bytes=5),  # type: ignore[arg-type]  # wrong on purpose
    lambda client: AvroDeserializer(client, id_bytes=5),  # type: ignore[arg-type]  # wrong on purpose
    lambda client: AvroDeserializer(client, use_id="x"),  # type: ignore[arg-type]  # wrong on purpose
]


@pytest.mark.parametrize("make", CONTRADICTIONS)
def test_parameters_that_contradict_each_other_are_refused(make: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r"expected|exclude|need|not a valid"):
        make(None)


def test_parameters_are_those_of_apicurio_serdes() -> None:
    """Parameters of this package come last, by keyword only."""
    assert [*inspect.signature(AvroSerializer).parameters] == [
        *("registry_client", "artifact_id", "artifact_resolver", "schema", "auto_register"),
        *("if_exists", "to_dict", "use_id", "strict", "wire_format", "use_latest_version"),
        *("references", "id_bytes"),
    ]
    assert [*inspect.signature(AvroDeserializer).parameters] == [
        *("registry_client", "from_dict", "use_id"),
        *("artifact_id", "artifact_resolver", "use_latest_version", "reader_schema"),
        *("references", "id_bytes"),
    ]
    for kind in (AvroSerializer, AvroDeserializer):
        added = list(inspect.signature(kind).parameters.values())[-2:]
        assert {each.kind for each in added} == {inspect.Parameter.KEYWORD_ONLY}


def test_attributes_are_those_of_apicurio_serdes() -> None:
    client: Any = object()
    hook: Any = print

    serializer = AvroSerializer(client, "a", None, USER, True, "FAIL", hook, "contentId", True)
    deserializer = AvroDeserializer(client, hook, "contentId")

    assert serializer.registry_client is deserializer.registry_client is client
    assert (serializer.artifact_id, serializer.auto_register, serializer.if_exists) == (
        *("a", True, "FAIL"),
    )
    assert (serializer.to_dict, serializer.use_id, serializer.strict) == (hook, "contentId", True)
    assert serializer.wire_format is WireFormat.CONFLUENT_PAYLOAD
    assert serializer.use_latest_version is False
    assert (deserializer.from_dict, deserializer.use_id) == (hook, "contentId")


async def test_an_unreachable_registry_is_not_a_wrong_value() -> None:
    from micro_schema_registry import RegistryConnectionError

    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    client = AsyncApicurioRegistryClient("http://registry.invalid", "g", http_client=http)

    with pytest.raises(RegistryConnectionError):
        await AsyncAvroSerializer(client, "user").serialize({}, CTX)
