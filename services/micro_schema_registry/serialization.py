"""The schema id of a message: before its payload, in Kafka headers or in NATS headers."""

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple

from micro_schema_registry._errors import DeserializationError, SerializationError
from micro_schema_registry._model.models import CachedSchema, IdType

UseId = Literal["globalId", "contentId"]
IdBytes = Literal[4, 8]
Headers = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Headers of nats-py (str to str) or of a Kafka client (str to bytes, or pairs of them)."""

GLOBAL_ID_HEADER = "Schema-Global-Id"
CONTENT_ID_HEADER = "Schema-Content-Id"
_NATS_HEADERS: dict[IdType, str] = {"globalId": GLOBAL_ID_HEADER, "contentId": CONTENT_ID_HEADER}
_PREFIXES = {4: struct.Struct(">BI"), 8: struct.Struct(">Bq")}
_KAFKA_ID = struct.Struct(">q")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class MessageField(Enum):
    """The part of a Kafka record."""

    KEY = "key"
    VALUE = "value"


@dataclass(frozen=True)
class SerializationContext:
    """The Kafka topic or NATS subject of a message, and the part of the message."""

    topic: str
    field: MessageField = MessageField.VALUE


class WireFormat(Enum):
    """The place of the schema id in a message.

    - `CONFLUENT_PAYLOAD`: 0x00 and four big-endian bytes before the encoded value, or eight with
      `id_bytes=8`, as Apicurio's `Legacy8ByteIdHandler` writes them.
    - `KAFKA_HEADERS`: header `apicurio.value.globalId` (or `key`, `contentId`), eight big-endian
      bytes.
    - `NATS_HEADERS`: headers `Schema-Global-Id`, `Schema-Content-Id` (decimal text) and
      `Content-Type`. A NATS header cannot hold raw bytes: the id 3338 would be a line break.
    """

    CONFLUENT_PAYLOAD = "CONFLUENT_PAYLOAD"
    KAFKA_HEADERS = "KAFKA_HEADERS"
    NATS_HEADERS = "NATS_HEADERS"


@dataclass(frozen=True)
class SerializedMessage:
    """A payload and its headers: bytes for Kafka, text for NATS, none for an id in the payload.

    The payload of the value None is None: a Kafka tombstone.
    """

    payload: bytes
    headers: dict[str, Any] = field(default_factory=dict)


def frame(  # noqa: PLR0913 - all but the first three are optional
    payload: bytes,
    schema: CachedSchema,
    ctx: SerializationContext,
    *,
    wire_format: WireFormat,
    use_id: UseId = "globalId",
    content_type: str = "application/avro",
    id_bytes: IdBytes = 4,
) -> SerializedMessage:
    """Return a message of encoded bytes and the id of their schema.

    Raises:
        SerializationError: The id does not fit into four bytes of the payload.
    """
    schema_id = schema.global_id if use_id == "globalId" else schema.content_id
    if wire_format is WireFormat.NATS_HEADERS:
        return SerializedMessage(payload, nats_headers(schema, content_type))
    if wire_format is WireFormat.KAFKA_HEADERS:
        name = f"apicurio.{ctx.field.value}.{use_id}"
        return SerializedMessage(payload, {name: _KAFKA_ID.pack(schema_id)})
    if id_bytes == 4 and schema_id >= 2**32:
        raise SerializationError(
            f"{use_id} {schema_id} does not fit into Confluent's four bytes: "
            "expected another wire format"
        )
    return SerializedMessage(_PREFIXES[id_bytes].pack(0, schema_id) + payload)


def nats_headers(schema: CachedSchema, content_type: str) -> dict[str, str]:
    """Return the NATS headers that name the schema of a payload."""
    return {
        GLOBAL_ID_HEADER: str(schema.global_id),
        CONTENT_ID_HEADER: str(schema.content_id),
        "Content-Type": content_type,
    }


class Frame(NamedTuple):
    """The schema id of a message, its kind, and the encoded value."""

    id_type: IdType
    schema_id: int | str
    payload: bytes


def read_frame(
    data: bytes,
    ctx: SerializationContext,
    *,
    headers: Headers | None = None,
    use_id: UseId = "globalId",
    id_bytes: IdBytes = 4,
) -> Frame:
    """Return the schema id of a message and its encoded value.

    Headers name the kind of their id. Without headers the id is in the first bytes of the payload,
    which do not tell its kind and size: it is `use_id` in `id_bytes`.

    Raises:
        DeserializationError: There is no readable id.
    """
    given: dict[str, Any] = dict(headers) if headers is not None else {}
    for id_type in dict.fromkeys((use_id, *_ID_TYPES)):
        value = given.get(_NATS_HEADERS.get(id_type, ""))
        if value is not None:
            return Frame(id_type, _decimal(value), data)
        value = given.get(f"apicurio.{ctx.field.value}.{id_type}")
        if value is not None:
            return Frame(id_type, _hash(value) if id_type == "contentHash" else _int64(value), data)
    prefix = _PREFIXES[id_bytes]
    if len(data) < prefix.size:
        raise DeserializationError(
            f"message of {len(data)} bytes is too short: expected at least {prefix.size}"
        )
    magic, schema_id = prefix.unpack_from(data)
    if magic != 0:
        raise DeserializationError(f"invalid magic byte {magic:#04x}: expected 0x00")
    return Frame(use_id, schema_id, data[prefix.size :])


def unframe(
    data: bytes,
    ctx: SerializationContext,
    *,
    headers: Headers | None = None,
    use_id: UseId = "globalId",
) -> tuple[int, bytes]:
    """Return the schema id of a message, of the kind `use_id`, and its payload.

    Raises:
        DeserializationError: There is no readable id, or it is of another kind.
    """
    frame = read_frame(data, ctx, headers=headers, use_id=use_id)
    if frame.id_type != use_id:
        raise DeserializationError(f"message has a {frame.id_type}: expected a {use_id}")
    return int(frame.schema_id), frame.payload


def _decimal(text: Any) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 20):
        raise DeserializationError(
            f"invalid schema id {text!r} in a header: expected a decimal number"
        )
    return int(text)


def _int64(raw: Any) -> int:
    if not isinstance(raw, bytes | bytearray | memoryview) or len(raw) != _KAFKA_ID.size:
        raise DeserializationError(f"invalid schema id {raw!r} in a header: expected 8 bytes")
    return int(_KAFKA_ID.unpack(raw)[0])


def _hash(raw: Any) -> str:
    text = raw if isinstance(raw, str) else bytes(raw).decode(errors="replace")
    if not _SHA256.fullmatch(text):
        raise DeserializationError(f"invalid content hash {raw!r} in a header: expected a SHA-256")
    return text


_ID_TYPES: tuple[IdType, ...] = ("globalId", "contentId", "contentHash")
