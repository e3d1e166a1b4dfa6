"""Types that the JSON bodies of the etcd service share.

Keys and values are bytes: `{"s": "text"}` when they are UTF-8, otherwise `{"b": "base64"}`. A plain
string is read as text. Keys are relative to the namespace of the caller.
"""

import base64
import binascii
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from micro_etcd._model.keys import prefix_range
from micro_etcd._model.values import KeyValue


def _read_bytes(given: Any) -> Any:
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, dict) and len(given) == 1:
        ((form, text),) = given.items()
        if form == "s" and isinstance(text, str):
            return text.encode()
        if form == "b" and isinstance(text, str):
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise ValueError("expected base64 in 'b'") from error
    if isinstance(given, bytes):
        return given
    raise ValueError('expected text, {"s": text} or {"b": base64}')


def _write_bytes(data: bytes) -> dict[str, str]:
    try:
        return {"s": data.decode()}
    except UnicodeDecodeError:
        return {"b": base64.b64encode(data).decode()}


_BYTES_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]},
        {
            "type": "object",
            "properties": {"b": {"type": "string", "contentEncoding": "base64"}},
            "required": ["b"],
        },
    ]
}

Binary = Annotated[
    bytes,
    BeforeValidator(_read_bytes),
    PlainSerializer(_write_bytes),
    WithJsonSchema(_BYTES_SCHEMA),
]
Key = Annotated[Binary, Field(min_length=1)]
Revision = Annotated[int, Field(ge=0, lt=1 << 63)]
# Sent as text, since a JSON number of JavaScript has 53 bits; read as text or number.
Id = Annotated[int, PlainSerializer(str, return_type=str)]
LeaseId = Annotated[Id, Field(gt=0, lt=1 << 63)]


class Body(BaseModel):
    """A request; unknown fields are refused, since a misspelt condition must not be lost."""

    model_config = ConfigDict(extra="forbid")


class Reply(BaseModel):
    """A reply."""


class Item(Reply):
    """A key with its value and history; `value` is None in a reply with keys only."""

    key: Binary
    value: Binary | None
    create_revision: int
    mod_revision: int
    version: int
    lease: Id = 0

    @classmethod
    def of(cls, kv: KeyValue, *, keys_only: bool = False) -> "Item":
        """Return the item of a key."""
        return cls.model_construct(
            key=kv.key,
            value=None if keys_only else kv.value,
            create_revision=kv.create_revision,
            mod_revision=kv.mod_revision,
            version=kv.version,
            lease=kv.lease,
        )

    def keyvalue(self) -> KeyValue:
        """Return the key as the client returns it."""
        return KeyValue(
            self.key,
            self.value if self.value is not None else b"",
            self.create_revision,
            self.mod_revision,
            self.version,
            self.lease,
        )


class Span(Body):
    """Keys: exactly one of `key`, `prefix` (may be empty: all), or `start` with `end` (exclusive).

    All of them are relative to the namespace, ends included: no range reaches outside.
    """

    key: Key | None = None
    prefix: Binary | None = None
    start: Binary | None = None
    end: Key | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Span":
        forms = (self.key is not None, self.prefix is not None, self.end is not None)
        if sum(forms) != 1 or (self.start is not None and self.end is None):
            raise ValueError("expected one of 'key', 'prefix', or 'start' and 'end'")
        return self

    def range(self) -> tuple[bytes, bytes]:
        """Return the relative (key, range_end) pair."""
        if self.key is not None:
            return self.key, b""
        if self.prefix is not None:
            return prefix_range(self.prefix)
        return self.start if self.start else b"\x00", self.end if self.end is not None else b"\x00"
