"""Options of reads and watches, and the orders that a read can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from micro_etcd._model.values import (
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    WatchCreateRequestFilterType,
)
from micro_etcd.errors import EtcdInvalidArgumentError


class RangeOptions(NamedTuple):
    """Options of a range read; None and 0 mean no restriction."""

    limit: int | None = None
    max_create_revision: int | None = None
    max_mod_revision: int | None = None
    min_create_revision: int | None = None
    min_mod_revision: int | None = None
    revision: int | None = None
    serializable: bool = False
    sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE
    sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY
    keys_only: bool = False
    count_only: bool = False


PLAIN = RangeOptions()


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Options of a watch.

    Attributes:
        start_revision: First revision to deliver; None or 0 means from now on.
        prev_kv: Send the key as it was before each event.
        filters: Kinds of event to leave out.
        watch_id: Id of the watch on the server; 0 lets the server choose.
        progress: Also yield batches without events when etcd reports progress (every 10 minutes).
    """

    start_revision: int | None = None
    prev_kv: bool = False
    filters: Sequence[WatchCreateRequestFilterType] = ()
    watch_id: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        given: object = self.filters
        if isinstance(given, str | bytes):
            raise EtcdInvalidArgumentError(f"invalid filters {given!r}: expected a list")


# `KeyValue` and the message of the protocol have the same attributes.
SORT_KEYS = {
    RangeRequestSortTarget.KEY: attrgetter("key"),
    RangeRequestSortTarget.VERSION: attrgetter("version"),
    RangeRequestSortTarget.CREATE: attrgetter("create_revision"),
    RangeRequestSortTarget.MOD: attrgetter("mod_revision"),
    RangeRequestSortTarget.VALUE: attrgetter("value"),
}
