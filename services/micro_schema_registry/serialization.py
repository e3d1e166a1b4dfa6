"""The schema id of a message: before its payload, in Kafka headers or in NATS headers."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from micro_schema_registry._errors import DeserializationError, SerializationError
from micro_schema_registry._model.models import CachedSchema

UseId = Literal["globalId", "contentId"]
Headers = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Headers of nats-py (str to str) or of a Kafka client (str to bytes, or pairs of them)."""

GLOBAL_ID_HEADER = "Schema-Global-Id"
CONTENT_ID_HEADER = "Schema-Content-Id"
_NATS_HEADERS: dict[UseId, str] = {"globalId": GLOBAL_ID_HEADER, "contentId": CONTENT_ID_HEADER}
_PREFIX = struct.Struct(">BI")
_KAFKA_ID = struct.Struct(">q")


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

    - `CONFLUENT_PAYLOAD`: 0x00 and four big-endian bytes before the encoded value.
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
    """A payload and its headers: bytes for Kafka, text for NATS, none for Confluent framing."""

    payload: bytes
    headers: dict[str, Any] = field(default_factory=dict)


def frame(
    payload: bytes,
    schema: CachedSchema,
    ctx: SerializationContext,
    *,
    wire_format: WireFormat,
    use_id: UseId = "globalId",
    content_type: str = "application/avro",
) -> SerializedMessage:
    """Return a message of encoded bytes and the id of their schema.

    Raises:
        SerializationError: The id does not fit into the four bytes of Confluent framing.
    """
    schema_id = schema.global_id if use_id == "globalId" else schema.content_id
    if wire_format is WireFormat.NATS_HEADERS:
        return SerializedMessage(payload, nats_headers(schema, content_type))
    if wire_format is WireFormat.KAFKA_HEADERS:
        name = f"apicurio.{ctx.field.value}.{use_id}"
        return SerializedMessage(payload, {name: _KAFKA_ID.pack(schema_id)})
    if schema_id >= 2**32:
        raise SerializationError(
            f"{use_id} {schema_id} does not fit into Confluent's four bytes: "
            "expected another wire format"
        )
    return SerializedMessage(_PREFIX.pack(0, schema_id) + payload)


def nats_headers(schema: CachedSchema, content_type: str) -> dict[str, str]:
    """Return the NATS headers that name the schema of a payload."""
    return {
        GLOBAL_ID_HEADER: str(schema.global_id),
        CONTENT_ID_HEADER: str(schema.content_id),
        "Content-Type": content_type,
    }


def unframe(
    data: bytes,
    ctx: SerializationContext,
    *,
    headers: Headers | None = None,
    use_id: UseId = "globalId",
) -> tuple[int, bytes]:
    """Return the schema id of a message, from its headers or first bytes, and its payload.

    Raises:
        DeserializationError: There is no readable id.
    """
    given: dict[str, Any] = dict(headers) if headers is not None else {}
    text = given.get(_NATS_HEADERS[use_id])
    if text is not None:
        return _decimal(text), data
    raw = given.get(f"apicurio.{ctx.field.value}.{use_id}")
    if raw is not None:
        if len(raw) != _KAFKA_ID.size:
            raise DeserializationError(f"invalid schema id {raw!r} in a header: expected 8 bytes")
        return int(_KAFKA_ID.unpack(raw)[0]), data
    if len(data) < _PREFIX.size:
        raise DeserializationError(
            f"message of {len(data)} bytes is too short: expected at least 5"
        )
    magic, schema_id = _PREFIX.unpack_from(data)
    if magic != 0:
        raise DeserializationError(f"invalid magic byte {magic:#04x}: expected 0x00")
    return schema_id, data[_PREFIX.size :]


def _decimal(text: Any) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 20):
        raise DeserializationError(
            f"invalid schema id {text!r} in a header: expected a decimal number"
        )
    return int(text)
