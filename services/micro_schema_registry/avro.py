"""Avro serializers and deserializers over a registry, blocking and async."""

import io
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import fastavro

from micro_schema_registry._apicurio.blocking_client import ApicurioRegistryClient
from micro_schema_registry._artifact_ids import (
    ArtifactNames,
    ArtifactResolver,
    QualifiedRecordIdStrategy,
    SimpleTopicIdStrategy,
    TopicIdStrategy,
    TopicRecordIdStrategy,
)
from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._drivers import run, run_async
from micro_schema_registry._errors import (
    DeserializationError,
    SchemaNotFoundError,
    SerializationError,
)
from micro_schema_registry._model.models import CachedSchema, IfExists, Schema
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry.serialization import (
    Headers,
    SerializationContext,
    SerializedMessage,
    UseId,
    WireFormat,
    frame,
    unframe,
)

__all__ = [
    "ArtifactResolver",
    "AsyncAvroDeserializer",
    "AsyncAvroSerializer",
    "AvroDeserializer",
    "AvroSerializer",
    "QualifiedRecordIdStrategy",
    "SimpleTopicIdStrategy",
    "TopicIdStrategy",
    "TopicRecordIdStrategy",
]

C = TypeVar("C")
T = TypeVar("T")
Steps = Generator[Callable[[SchemaRegistry], Awaitable[Any]], Any, T]
"""Yields calls of a registry and is sent what they return."""
_PARSED = 1000
"""The number of parsed schemas that a serializer or deserializer keeps."""


def _parse(schema: Any) -> Any:
    return fastavro.parse_schema(schema)


class _Parsed:
    """A cache of parsed schemas by id."""

    def __init__(self) -> None:
        self._cache = Cache[int, Any](_PARSED)

    def get(self, schema_id: int, schema: Any) -> Any:
        parsed = self._cache.get(schema_id)
        if parsed is None:
            parsed = _parse(schema)
            self._cache.put(schema_id, parsed)
        return parsed


class _Serializer(Generic[C]):
    """The part that the blocking and the async serializer share."""

    def __init__(  # noqa: PLR0913 - the documented signature
        self,
        registry_client: C,
        artifact_id: str | None = None,
        artifact_resolver: ArtifactResolver | None = None,
        schema: Schema | None = None,
        auto_register: bool = False,
        if_exists: IfExists = "FIND_OR_CREATE_VERSION",
        to_dict: Callable[[Any, SerializationContext], Any] | None = None,
        use_id: UseId = "globalId",
        strict: bool = False,
        wire_format: WireFormat = WireFormat.CONFLUENT_PAYLOAD,
        use_latest_version: bool = False,
    ) -> None:
        self.registry_client = registry_client
        self._names = ArtifactNames(artifact_id, artifact_resolver)
        if auto_register and schema is None:
            raise ValueError("auto_register needs a schema")
        if auto_register and use_latest_version:
            raise ValueError("auto_register and use_latest_version exclude each other")
        if use_id not in {"globalId", "contentId"}:
            raise ValueError(f"invalid use_id {use_id!r}: expected 'globalId' or 'contentId'")
        self._schema = schema if auto_register else None
        self._if_exists = if_exists
        self._to_dict = to_dict
        self._use_id = use_id
        self._strict = strict
        self._wire_format = WireFormat(wire_format)
        self._parsed = _Parsed()

    def _call(self, call: Callable[[Any], Any]) -> Any:
        return call(self.registry_client)

    def _serialize(self, data: Any, ctx: SerializationContext) -> Steps[SerializedMessage]:
        artifact_id = self._names.find(ctx)
        try:
            cached = yield lambda registry: registry.get_schema(artifact_id)
        except SchemaNotFoundError:
            schema = self._schema
            if schema is None:
                raise
            cached = yield lambda registry: registry.register_schema(
                artifact_id, schema, self._if_exists
            )
        return self._encode(cached, data, ctx)

    def _encode(
        self, cached: CachedSchema, data: Any, ctx: SerializationContext
    ) -> SerializedMessage:
        if self._to_dict is not None:
            try:
                data = self._to_dict(data, ctx)
            except Exception as error:
                raise SerializationError(f"to_dict failed: {error}") from error
        buffer = io.BytesIO()
        try:
            parsed = self._parsed.get(cached.global_id, cached.schema)
            fastavro.schemaless_writer(buffer, parsed, data, strict_allow_default=self._strict)
        except Exception as error:
            raise SerializationError(f"value does not fit its Avro schema: {error}") from error
        return frame(
            buffer.getvalue(), cached, ctx, wire_format=self._wire_format, use_id=self._use_id
        )

    def _payload(self, message: SerializedMessage) -> bytes:
        if message.headers:
            raise TypeError(
                f"{self._wire_format.name} has headers: expected serialize() to be called"
            )
        return message.payload


class AvroSerializer(_Serializer[ApicurioRegistryClient]):
    """An encoder of values with the newest schema of an artifact, whose id it puts into messages.

    Args:
        registry_client: The client of the registry.
        artifact_id: The artifact of the schema; or
        artifact_resolver: A function that derives it for each message.
        schema: The schema to register with `auto_register`.
        auto_register: Register `schema` when the artifact is missing.
        if_exists: The same parameter of that registration.
        to_dict: A function from value and context to a dict.
        use_id: The id that goes into the message.
        strict: Refuse fields that the schema does not have.
        wire_format: The place of the id.
        use_latest_version: No effect, as the newest version is always used; it excludes
            `auto_register`.

    Raises:
        ValueError: The parameters contradict each other.
    """

    def serialize(self, data: Any, ctx: SerializationContext) -> SerializedMessage:
        """Return the payload and headers of a value.

        Raises:
            SerializationError: The value does not fit its schema, or `to_dict` failed.
            ResolverError: There is no artifact id.
            SchemaNotFoundError: The artifact is missing and `auto_register` is off.
            SchemaRegistrationError: The registry refused the schema.
            RegistryConnectionError: The registry gives no usable answer.
        """
        return run(self._serialize(data, ctx), self._call)

    def __call__(self, data: Any, ctx: SerializationContext) -> bytes:
        """Return the payload of a value, for a wire format without headers."""
        return self._payload(self.serialize(data, ctx))


class AsyncAvroSerializer(_Serializer[SchemaRegistry]):
    """The async counterpart of `AvroSerializer`, for any `SchemaRegistry`."""

    async def serialize(self, data: Any, ctx: SerializationContext) -> SerializedMessage:
        """Return the payload and headers of a value; see `AvroSerializer.serialize`."""
        return await run_async(self._serialize(data, ctx), self._call)

    async def __call__(self, data: Any, ctx: SerializationContext) -> bytes:
        """Return the payload of a value, for a wire format without headers."""
        return self._payload(await self.serialize(data, ctx))


class _Deserializer(Generic[C]):
    """The part that the blocking and the async deserializer share."""

    def __init__(  # noqa: PLR0913 - the documented signature
        self,
        registry_client: C,
        from_dict: Callable[[Any, SerializationContext], Any] | None = None,
        use_id: UseId = "globalId",
        *,
        artifact_id: str | None = None,
        artifact_resolver: ArtifactResolver | None = None,
        use_latest_version: bool = False,
        reader_schema: Schema | None = None,
    ) -> None:
        named = artifact_id is not None or artifact_resolver is not None
        if named != use_latest_version:
            raise ValueError(
                "use_latest_version and an artifact_id or artifact_resolver need each other"
            )
        if use_latest_version and reader_schema is not None:
            raise ValueError("use_latest_version and reader_schema exclude each other")
        if use_id not in {"globalId", "contentId"}:
            raise ValueError(f"invalid use_id {use_id!r}: expected 'globalId' or 'contentId'")
        self.registry_client = registry_client
        self._names = ArtifactNames(artifact_id, artifact_resolver) if named else None
        self._from_dict = from_dict
        self._use_id: UseId = use_id
        self._reader = None if reader_schema is None else _parse(reader_schema)
        self._writers = _Parsed()
        self._readers = _Parsed()

    def _call(self, call: Callable[[Any], Any]) -> Any:
        return call(self.registry_client)

    def _deserialize(
        self, data: bytes, ctx: SerializationContext, headers: Headers | None
    ) -> Steps[Any]:
        schema_id, payload = unframe(data, ctx, headers=headers, use_id=self._use_id)
        writer = yield lambda registry: registry.get_content(self._use_id, schema_id)
        latest = None
        if self._names is not None:
            artifact_id = self._names.find(ctx)
            latest = yield lambda registry: registry.get_schema(artifact_id)
        return self._decode((schema_id, payload), writer.schema, latest, ctx)

    def _decode(
        self,
        message: tuple[int, bytes],
        writer: Any,
        latest: CachedSchema | None,
        ctx: SerializationContext,
    ) -> Any:
        schema_id, payload = message
        try:
            reader = self._reader
            if latest is not None:
                reader = self._readers.get(latest.global_id, latest.schema)
            parsed = self._writers.get(schema_id, writer)
            value = fastavro.schemaless_reader(io.BytesIO(payload), parsed, reader)
        except Exception as error:
            raise DeserializationError(
                f"payload does not fit the Avro schema with {self._use_id} {schema_id}: {error!r}"
            ) from error
        if self._from_dict is None:
            return value
        try:
            return self._from_dict(value, ctx)
        except Exception as error:
            raise DeserializationError(f"from_dict failed: {error}") from error


class AvroDeserializer(_Deserializer[ApicurioRegistryClient]):
    """A decoder of messages, each with the schema that it was written with.

    Args:
        registry_client: The client of the registry.
        from_dict: A function from decoded value and context to an object.
        use_id: The kind of id that messages carry.
        artifact_id: The artifact of the reader schema, with `use_latest_version`; or
        artifact_resolver: A function that derives it for each message.
        use_latest_version: Read as the newest version of that artifact: Avro fills in defaults
            and promotes types.
        reader_schema: Read as this schema instead.

    Raises:
        ValueError: The parameters contradict each other.
    """

    def __call__(
        self, data: bytes, ctx: SerializationContext, *, headers: Headers | None = None
    ) -> Any:
        """Return the value of a message; `headers` are needed unless the payload has the id.

        Raises:
            DeserializationError: Framing or payload are not as expected, or `from_dict` failed.
            ResolverError: There is no artifact id.
            SchemaNotFoundError: The registry does not have the message's schema.
            RegistryConnectionError: The registry gives no usable answer.
        """
        return run(self._deserialize(data, ctx, headers), self._call)


class AsyncAvroDeserializer(_Deserializer[SchemaRegistry]):
    """The async counterpart of `AvroDeserializer`, for any `SchemaRegistry`."""

    async def __call__(
        self, data: bytes, ctx: SerializationContext, *, headers: Headers | None = None
    ) -> Any:
        """Return the value of a message; see `AvroDeserializer`."""
        return await run_async(self._deserialize(data, ctx, headers), self._call)
