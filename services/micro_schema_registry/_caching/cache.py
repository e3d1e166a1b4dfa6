"""A bounded cache that drops the least recently used value, with an optional age limit."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Up to `max_size` values, each for up to `ttl` seconds, for threads and coroutines.

    It needs no lock: each step is one atomic operation on the dictionary, and no step relies on
    the one before it.
    """

    def __init__(
        self,
        max_size: int,
        ttl: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_size = max_size
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the value and mark it used; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._ttl is not None and self._clock() >= entry[1]:
            return None
        try:  # noqa: SIM105 - suppress() takes longer than the rest of this method
            self._entries.move_to_end(key)
        except KeyError:
            pass  # another thread dropped it just now; the value is still good
        return entry[0]

    def put(self, key: K, value: V) -> None:
        """Keep a value; drop the least recently used if there are too many."""
        self._entries.pop(key, None)
        self._entries[key] = self._entry(value)
        self._trim()

    def add(self, key: K, value: V) -> None:
        """Keep a fetched value, unless a fresh one was put during the fetch."""
        entry = self._entry(value)
        kept = self._entries.setdefault(key, entry)
        if kept is not entry and self._ttl is not None and self._clock() >= kept[1]:
            self.put(key, value)
        self._trim()

    def _entry(self, value: V) -> tuple[V, float]:
        return value, 0.0 if self._ttl is None else self._clock() + self._ttl

    def _trim(self) -> None:
        while len(self._entries) > self._max_size:
            self._entries.popitem(last=False)

    def discard(self, matches: Callable[[K], bool]) -> None:
        """Drop every value whose key matches."""
        for key in [key for key in list(self._entries) if matches(key)]:
            self._entries.pop(key, None)
