"""Avro serializers and deserializers over a registry, blocking and async."""

import io
import json
from collections.abc import Callable, Sequence
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
    RegistryError,
    SchemaNotFoundError,
    SerializationError,
)
from micro_schema_registry._model.models import (
    CachedSchema,
    IdType,
    IfExists,
    Reference,
    Schema,
    check_if_exists,
)
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._references import Steps, complete_avro, inlined, schemas_of
from micro_schema_registry.serialization import (
    Headers,
    IdBytes,
    SerializationContext,
    SerializedMessage,
    UseId,
    WireFormat,
    frame,
    read_frame,
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
_PARSED = 1000
"""The number of parsed schemas that a serializer or deserializer keeps."""


class _Codec(Generic[C]):
    """The registry of a serializer or deserializer, and the schemas that it has parsed."""

    def __init__(self, registry_client: C, use_id: UseId, id_bytes: IdBytes) -> None:
        if use_id not in {"globalId", "contentId"}:
            raise ValueError(f"invalid use_id {use_id!r}: expected 'globalId' or 'contentId'")
        if id_bytes not in {4, 8}:
            raise ValueError(f"invalid id_bytes {id_bytes!r}: expected 4 or 8")
        self.registry_client = registry_client
        self.use_id: UseId = use_id
        self.id_bytes: IdBytes = id_bytes
        self._parsed = Cache[tuple[IdType, int | str], Any](_PARSED)

    def _call(self, call: Callable[[Any], Any]) -> Any:
        return call(self.registry_client)

    def _parse(self, schema: Any, id_type: IdType, value: int | str) -> Steps[Any]:
        """Return the parsed schema of an id, completed with the schemas that it refers to."""
        parsed = self._parsed.get((id_type, value))
        if parsed is None:
            parsed = fastavro.parse_schema((yield from complete_avro(schema, id_type, value)))
            self._parsed.put((id_type, value), parsed)
        return parsed


class _Serializer(_Codec[C]):
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
        *,
        references: Sequence[Reference] = (),
        id_bytes: IdBytes = 4,
    ) -> None:
        if auto_register and schema is None:
            raise ValueError("auto_register needs a schema")
        if auto_register and use_latest_version:
            raise ValueError("auto_register and use_latest_version exclude each other")
        check_if_exists(if_exists)
        super().__init__(registry_client, use_id, id_bytes)
        self.artifact_id = artifact_id
        self.auto_register = auto_register
        self.if_exists: IfExists = if_exists
        self.to_dict = to_dict
        self.strict = strict
        self.wire_format = WireFormat(wire_format)
        self.use_latest_version = use_latest_version
        self._names = ArtifactNames(artifact_id, artifact_resolver)
        self._schema = schema if auto_register else None
        self._references = references

    def _serialize(self, data: Any, ctx: SerializationContext) -> Steps[SerializedMessage]:
        if data is None:
            return SerializedMessage(None)  # type: ignore[arg-type]  # see SerializedMessage
        artifact_id = self._names.find(ctx)
        try:
            cached = yield lambda registry: registry.get_schema(artifact_id)
        except SchemaNotFoundError:
            schema = self._schema
            if schema is None:
                raise
            cached = yield lambda registry: registry.register_schema(
                artifact_id, schema, self.if_exists, references=self._references
            )
        try:
            parsed = yield from self._parse(cached.schema, "globalId", cached.global_id)
        except RegistryError:
            raise
        except Exception as error:
            raise SerializationError(f"invalid Avro schema {artifact_id!r}: {error}") from error
        return self._encode(parsed, cached, data, ctx)

    def _encode(
        self, parsed: Any, cached: CachedSchema, data: Any, ctx: SerializationContext
    ) -> SerializedMessage:
        if self.to_dict is not None:
            try:
                data = self.to_dict(data, ctx)
            except Exception as error:
                raise SerializationError(f"to_dict failed: {error}") from error
        buffer = io.BytesIO()
        try:
            fastavro.schemaless_writer(buffer, parsed, data, strict_allow_default=self.strict)
        except Exception as error:
            raise SerializationError(f"value does not fit its Avro schema: {error}") from error
        return frame(
            buffer.getvalue(),
            cached,
            ctx,
            wire_format=self.wire_format,
            use_id=self.use_id,
            id_bytes=self.id_bytes,
        )

    def _payload(self, message: SerializedMessage) -> bytes:
        if message.headers:
            raise TypeError(
                f"{self.wire_format.name} has headers: expected serialize() to be called"
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
        references: The references of `schema`.
        id_bytes: The size of the id in payloads: 4, or 8 for Apicurio's `Legacy8ByteIdHandler`.

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


class _Deserializer(_Codec[C]):
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
        references: Sequence[Reference] = (),
        id_bytes: IdBytes = 4,
    ) -> None:
        named = artifact_id is not None or artifact_resolver is not None
        if named != use_latest_version:
            raise ValueError(
                "use_latest_version and an artifact_id or artifact_resolver need each other"
            )
        if use_latest_version and reader_schema is not None:
            raise ValueError("use_latest_version and reader_schema exclude each other")
        super().__init__(registry_client, use_id, id_bytes)
        self.artifact_id = artifact_id
        self.from_dict = from_dict
        self.use_latest_version = use_latest_version
        self._names = ArtifactNames(artifact_id, artifact_resolver) if named else None
        self._references = references
        self._reader_schema = reader_schema
        self._reader: Any = None
        if reader_schema is not None and not references:
            self._reader = fastavro.parse_schema(_loaded(reader_schema))

    def _deserialize(
        self, data: bytes | None, ctx: SerializationContext, headers: Headers | None
    ) -> Steps[Any]:
        if data is None:
            return None
        id_type, schema_id, payload = read_frame(
            data, ctx, headers=headers, use_id=self.use_id, id_bytes=self.id_bytes
        )
        try:
            writer = self._parsed.get((id_type, schema_id))
            if writer is None:
                content = yield lambda registry: registry.get_content(id_type, schema_id)
                writer = yield from self._parse(content.schema, id_type, schema_id)
            reader = yield from self._reader_of(ctx)
            value = fastavro.schemaless_reader(io.BytesIO(payload), writer, reader)
        except RegistryError:
            raise
        except Exception as error:
            raise DeserializationError(
                f"payload does not fit the Avro schema with {id_type} {schema_id}: {error!r}"
            ) from error
        if self.from_dict is None:
            return value
        try:
            return self.from_dict(value, ctx)
        except Exception as error:
            raise DeserializationError(f"from_dict failed: {error}") from error

    def _reader_of(self, ctx: SerializationContext) -> Steps[Any]:
        """Return the parsed schema to read as; None means the writer's."""
        if self._names is not None:
            artifact_id = self._names.find(ctx)
            latest = yield lambda registry: registry.get_schema(artifact_id)
            return (yield from self._parse(latest.schema, "globalId", latest.global_id))
        if self._reader is None and self._reader_schema is not None:
            others = yield from schemas_of(self._references)
            self._reader = fastavro.parse_schema(inlined(_loaded(self._reader_schema), others))
        return self._reader


def _loaded(schema: Schema) -> Any:
    return json.loads(schema) if isinstance(schema, str) else schema


class AvroDeserializer(_Deserializer[ApicurioRegistryClient]):
    """A decoder of messages, each with the schema that it was written with.

    Args:
        registry_client: The client of the registry.
        from_dict: A function from decoded value and context to an object.
        use_id: The kind of the id in payloads, which do not tell it; headers do.
        artifact_id: The artifact of the reader schema, with `use_latest_version`; or
        artifact_resolver: A function that derives it for each message.
        use_latest_version: Read as the newest version of that artifact: Avro fills in defaults
            and promotes types.
        reader_schema: Read as this schema instead.
        references: The references of `reader_schema`.
        id_bytes: The size of the id in payloads: 4, or 8 for Apicurio's `Legacy8ByteIdHandler`.

    Raises:
        ValueError: The parameters contradict each other.
    """

    def __call__(
        self, data: bytes | None, ctx: SerializationContext, *, headers: Headers | None = None
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
        self, data: bytes | None, ctx: SerializationContext, *, headers: Headers | None = None
    ) -> Any:
        """Return the value of a message; see `AvroDeserializer`."""
        return await run_async(self._deserialize(data, ctx, headers), self._call)
