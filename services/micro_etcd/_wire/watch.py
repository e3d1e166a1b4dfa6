"""Bodies of `watch.*` and `status`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from micro_etcd._wire.values import Body, Item, Reply, Revision, Span


class WatchBody(Span):
    """`watch.start`. `deliver` is a subject in the caller's own inbox space.

    `resume` says that the caller has seen the revision before `start_revision`. A store that has
    not is another store, or was restored.
    """

    deliver: str
    start_revision: Revision | None = None
    resume: bool = False
    prev_kv: bool = False
    filters: list[Literal["noput", "nodelete"]] = Field(default_factory=list)
    heartbeat_s: Annotated[float, Field(ge=0.1, le=60)] = 10
    window: Annotated[int, Field(ge=1, le=10_000)] = 256


class WatchReply(Reply):
    """Events after `revision` follow on `deliver`."""

    watch_id: str
    revision: int
    instance: str
    heartbeat_s: float


class StopBody(Body):
    """`watch.stop`."""

    watch_id: str


class EventItem(Reply):
    """One change."""

    type: Literal["put", "delete"]
    kv: Item
    prev_kv: Item | None = None


class Delivery(Reply):
    """All events of one revision."""

    events: list[EventItem]


class StatusReply(Reply):
    """`status`: version, leader and errors of each endpoint."""

    class Endpoint(Reply):
        """One member."""

        model_config = ConfigDict(from_attributes=True)

        endpoint: str
        version: str
        leader: int
        revision: int
        errors: list[str]

    endpoints: list[Endpoint]
    namespace: str
    allow: list[str]
    watches: int
