"""A cache bounded by bytes, whose entries have an age limit and a tag to drop them by."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    size: int
    tag: Hashable
    expires: float


class ByteCache(Generic[V]):
    """The values used last, up to `max_bytes` by the sizes given; for one event loop."""

    def __init__(self, max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()
        self._keys: dict[Hashable, set[Hashable]] = {}
        self.size = 0
        """Bytes of all values."""

    def get(self, key: Hashable) -> V | None:
        """Return a value within its age limit, and mark it used."""
        entry = self._entries.get(key)
        if entry is None or self._clock() >= entry.expires:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def expired(self, key: Hashable) -> V | None:
        """Return a value of any age."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def put(self, key: Hashable, value: V, size: int, tag: Hashable, ttl: float = math.inf) -> None:
        """Keep a value of `size` bytes for `ttl` seconds; `discard` drops it by its tag."""
        self._drop(key)
        if size > self._max_bytes:
            return
        self._entries[key] = _Entry(value, size, tag, self._clock() + ttl)
        self._keys.setdefault(tag, set()).add(key)
        self.size += size
        while self.size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def discard(self, tag: Hashable) -> None:
        """Drop every value with that tag."""
        for key in list(self._keys.get(tag, ())):
            self._drop(key)

    def tags(self) -> list[Hashable]:
        """Return the tags of all values."""
        return list(self._keys)

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.size -= entry.size
        keys = self._keys[entry.tag]
        keys.discard(key)
        if not keys:
            del self._keys[entry.tag]
