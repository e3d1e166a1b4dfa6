"""Bodies of `kv.*`: get, get.many, list, put and delete."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from micro_etcd._wire.values import Binary, Body, Item, Key, LeaseId, Reply, Revision, Span


class GetBody(Body):
    """`kv.get`."""

    key: Key
    revision: Revision | None = None
    serializable: bool = False


class GetReply(Reply):
    """One key; a missing key is `found: false`, not an error."""

    found: bool
    kv: Item | None = None


class GetManyBody(Body):
    """`kv.get.many`: several keys at one revision."""

    keys: Annotated[list[Key], Field(min_length=1, max_length=128)]


class GetManyReply(Reply):
    """The keys in the order of the request, null for a missing one."""

    items: list[Item | None]


class ListBody(Span):
    """`kv.list`: a page of keys in key order."""

    limit: Annotated[int, Field(gt=0)] | None = None
    cursor: str | None = None
    revision: Revision | None = None
    serializable: bool = False
    keys_only: bool = False


class ListReply(Reply):
    """One page; with a `cursor` more pages follow, all of them at `revision`."""

    revision: int
    items: list[Item]
    cursor: str | None = None


class Condition(Body):
    """A condition on the key itself: one of the three."""

    mod_revision: Revision | None = None
    version: Revision | None = None
    absent: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Condition":
        if sum(v is not None for v in (self.mod_revision, self.version, self.absent)) != 1:
            raise ValueError("expected one of 'mod_revision', 'version' or 'absent'")
        return self


class Guard(Body):
    """A lock that must be held: the key and the token of `lock.acquire`."""

    key: Key
    create_revision: Annotated[int, Field(gt=0, lt=1 << 63)]


class _Write(Body):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    prev_kv: bool = False
    condition: Condition | None = Field(default=None, alias="if")
    guard: Guard | None = None


class PutBody(_Write):
    """`kv.put`; null keeps the value and changes only the lease."""

    key: Key
    value: Binary | None = None
    lease: LeaseId | None = None
    ignore_lease: bool = False


class PutReply(Reply):
    """The revision that the put made."""

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
    """The number of deleted keys."""

    revision: int
    deleted: int
    prev_kvs: list[Item] = Field(default_factory=list)
