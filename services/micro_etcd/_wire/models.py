"""What goes over NATS between `NatsEtcd` (or any other caller) and the etcd service: JSON bodies.

Keys and values are bytes. They travel as `{"s": "text"}` when they are UTF-8 and as `{"b": "base64"}`
when they are not; a plain string is taken for text. Keys are relative to the caller's namespace.
"""

import base64
import binascii
from typing import Annotated, Any, Literal

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


def _read_bytes(found: Any) -> Any:
    if isinstance(found, str):
        return found.encode()
    if isinstance(found, dict) and len(found) == 1:
        ((form, text),) = found.items()
        if form == "s" and isinstance(text, str):
            return text.encode()
        if form == "b" and isinstance(text, str):
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise ValueError("expected base64 in 'b'") from error
    if isinstance(found, bytes):
        return found
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
# Sent as text, because JavaScript and others cannot hold 62 bits in a JSON number; read as either.
Id = Annotated[int, PlainSerializer(str, return_type=str)]
LeaseId = Annotated[Id, Field(gt=0, lt=1 << 63)]


class Body(BaseModel):
    """A request; unknown fields are refused, because a misspelt condition must not be a missing one."""

    model_config = ConfigDict(extra="forbid")


class Reply(BaseModel):
    """An answer."""


class Item(Reply):
    """A key with its value and history; `value` is None where only keys were asked for."""

    key: Binary
    value: Binary | None
    create_revision: int
    mod_revision: int
    version: int
    lease: Id = 0

    @classmethod
    def of(cls, kv: KeyValue, *, keys_only: bool = False) -> "Item":
        """Return the item for a key as etcd has it."""
        return cls.model_construct(
            key=kv.key,
            value=None if keys_only else kv.value,
            create_revision=kv.create_revision,
            mod_revision=kv.mod_revision,
            version=kv.version,
            lease=kv.lease,
        )

    def keyvalue(self) -> KeyValue:
        """Return the item as the client has it."""
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

    All are relative to the namespace, and so is what an end means: nothing reaches outside.
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


class GetBody(Body):
    """`kv.get`."""

    key: Key
    revision: Revision | None = None
    serializable: bool = False


class GetReply(Reply):
    """A missing key is `found: false`, not an error."""

    found: bool
    kv: Item | None = None


class GetManyBody(Body):
    """`kv.get.many`: several keys at one revision."""

    keys: Annotated[list[Key], Field(min_length=1, max_length=128)]


class GetManyReply(Reply):
    """In the order asked for; null for a missing key."""

    items: list[Item | None]


class ListBody(Span):
    """`kv.list`: a page of keys in key order."""

    limit: Annotated[int, Field(gt=0)] | None = None
    cursor: str | None = None
    revision: Revision | None = None
    serializable: bool = False
    keys_only: bool = False


class ListReply(Reply):
    """One page; with a `cursor` there is more, all of it at `revision`."""

    revision: int
    items: list[Item]
    cursor: str | None = None


class Condition(Body):
    """What must hold of the key itself: one of the three."""

    mod_revision: Revision | None = None
    version: Revision | None = None
    absent: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Condition":
        if sum(v is not None for v in (self.mod_revision, self.version, self.absent)) != 1:
            raise ValueError("expected one of 'mod_revision', 'version' or 'absent'")
        return self


class Guard(Body):
    """A lock that must still be held: the key and token of `lock.acquire`."""

    key: Key
    create_revision: Annotated[int, Field(gt=0, lt=1 << 63)]


class _Write(Body):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    prev_kv: bool = False
    condition: Condition | None = Field(default=None, alias="if")
    guard: Guard | None = None


class PutBody(_Write):
    """`kv.put`; a value of null keeps the value and changes only the lease."""

    key: Key
    value: Binary | None = None
    lease: LeaseId | None = None
    ignore_lease: bool = False


class PutReply(Reply):
    """The revision the put made."""

    revision: int
    prev_kv: Item | None = None


class DeleteBody(_Write, Span):
    """`kv.delete`; conditions need a single `key`."""

    @model_validator(mode="after")
    def _single(self) -> "DeleteBody":
        if self.condition is not None and self.key is None:
            raise ValueError("'if' needs 'key'")
        return self


class DeleteReply(Reply):
    """How many keys went."""

    revision: int
    deleted: int
    prev_kvs: list[Item] = []


class GrantBody(Body):
    """`lease.grant`; seconds."""

    ttl: Annotated[int, Field(gt=0, lt=1 << 63)]


class LeaseBody(Body):
    """`lease.keepalive`, `lease.revoke`, `lease.ttl`."""

    lease: LeaseId


class LeaseReply(Reply):
    """State of a lease; `ttl` is what remains, -1 when it is gone. `keys` are those of the namespace."""

    lease: Id
    ttl: int
    granted_ttl: int = 0
    keys: list[Binary] = []


class AcquireBody(Body):
    """`lock.acquire`: with a `lease` of one's own the place in the queue is kept between calls."""

    name: Key
    ttl: Annotated[int, Field(gt=0, lt=1 << 31)] = 15
    wait_s: Annotated[float, Field(ge=0, le=30)] = 0
    lease: LeaseId | None = None


class AcquireReply(Reply):
    """`queued` is only answered to those who brought a lease; others get 409."""

    state: Literal["granted", "queued"]
    key: Binary
    lease: Id
    token: int
    ttl: int


class ReleaseBody(Body):
    """`lock.release`: revokes the lease, and with it the lock."""

    lease: LeaseId
