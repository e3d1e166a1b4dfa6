"""Events of a watch as bytes, grouped by the revision that made them."""

from dataclasses import dataclass

from micro_etcd._model.values import KeyValue, WatchEventType


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key; the `kv` of a DELETE has an empty value."""

    type: WatchEventType
    kv: KeyValue
    prev: KeyValue | None


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """All events that one revision has for a watch; a progress report has none."""

    revision: int
    events: tuple[Event, ...]
