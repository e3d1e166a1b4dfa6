"""Bodies of `lease.*` and `lock.*`."""

from typing import Annotated, Literal

from pydantic import Field

from micro_etcd._wire.values import Binary, Body, Id, Key, LeaseId, Reply


class GrantBody(Body):
    """`lease.grant`; seconds."""

    ttl: Annotated[int, Field(gt=0, lt=1 << 63)]


class LeaseBody(Body):
    """`lease.keepalive`, `lease.revoke`, `lease.ttl`."""

    lease: LeaseId


class LeaseReply(Reply):
    """State of a lease; `ttl` is the remaining time, -1 when the lease is gone."""

    lease: Id
    ttl: int
    granted_ttl: int = 0
    keys: list[Binary] = Field(default_factory=list)


class AcquireBody(Body):
    """`lock.acquire`; with a `lease` of the caller the place in the queue is kept between calls."""

    name: Key
    ttl: Annotated[int, Field(gt=0, lt=1 << 31)] = 15
    wait_s: Annotated[float, Field(ge=0, le=30)] = 0
    lease: LeaseId | None = None


class AcquireReply(Reply):
    """The state is `queued` only for a caller with a lease of its own; others get 409."""

    state: Literal["granted", "queued"]
    key: Binary
    lease: Id
    token: int
    ttl: int


class ReleaseBody(LeaseBody):
    """`lock.release`: revokes the lease, and with it the lock."""
