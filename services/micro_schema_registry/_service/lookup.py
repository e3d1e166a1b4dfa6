"""Read-through of the NATS service: content by id is kept for good, what a name stands for as long as nobody says it changed."""

import asyncio
import copy
import math
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from micro_schema_registry._caching.single_flight import AsyncFlights
from micro_schema_registry._errors import (
    RegistryConnectionError,
    RequestRefusedError,
    SchemaNotFoundError,
)
from micro_schema_registry._model.models import IdType, content_hash
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.byte_cache import ByteCache
from micro_schema_registry._wire.models import (
    ContentAnswer,
    ContentBatch,
    Event,
    SchemaAnswer,
    VersionQuery,
)

A = TypeVar("A", SchemaAnswer, ContentAnswer)

_OVERHEAD = 500
"""Bytes that an entry takes besides its content, roughly."""

_SLOTS = 1024
_STALE_PATIENCE = 0.2
"""Seconds to wait for the registry when there is an old answer to give instead."""

_IDS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Say what the service keeps in memory.

    Attributes:
        max_bytes: of all answers that are kept.
        latest_ttl: seconds that the version behind a name is believed without being told of a change: changes made
            through the service are told at once, others are seen after this time.
        negative_ttl: seconds that something missing is believed to be missing.
        serve_stale: answer with what was known when the registry cannot be reached; such answers are marked.

    Raises:
        ValueError: a number is negative.
    """

    max_bytes: int = 64 * 1024 * 1024
    latest_ttl: float = 30.0
    negative_ttl: float = 2.0
    serve_stale: bool = False

    def __post_init__(self) -> None:
        for name in ("max_bytes", "latest_ttl", "negative_ttl"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"invalid {name} {value!r}: expected 0 or more")


class Lookup:
    """Answer look-ups from memory, or from the registry, which is asked once however many callers wait.

    ``registry`` returns the registry to ask, which may change when a connection is replaced.
    """

    def __init__(self, registry: Callable[[], SchemaRegistry], options: CacheOptions) -> None:
        self._registry = registry
        self._options = options
        self.cache = ByteCache[SchemaAnswer | ContentAnswer | SchemaNotFoundError](
            options.max_bytes
        )
        self._flights = AsyncFlights()
        # A change counts up the slot of its tag, so that no later caller joins a fetch that began before it,
        # and the result of that fetch is not kept. Tags that share a slot cost a needless fetch at most.
        self._changes = [0] * _SLOTS

    async def schema(self, query: VersionQuery) -> SchemaAnswer:
        """Return one version of a schema."""
        key = (query.group, query.artifact, query.version)

        async def fetch() -> SchemaAnswer:
            found = await self._registry().get_schema(
                query.artifact, version=query.version, group_id=query.group
            )
            return SchemaAnswer(
                group=query.group,
                artifact=query.artifact,
                version=found.version,
                global_id=found.global_id,
                content_id=found.content_id,
                sha256=content_hash(found.content),
                type=found.artifact_type,
                content=found.content,
            )

        tag = (query.group, query.artifact)
        try:
            return await self._read(key, tag, fetch, ttl=self._options.latest_ttl)
        except (RegistryConnectionError, TimeoutError) as error:
            known = self.cache.expired(key)
            refused = isinstance(error, RequestRefusedError)
            if refused or not self._options.serve_stale or not isinstance(known, SchemaAnswer):
                raise
            return known.model_copy(update={"stale": True})

    async def content(self, id_type: IdType, value: int | str) -> ContentAnswer:
        """Return content by an immutable id."""

        async def fetch() -> ContentAnswer:
            found = await self._registry().get_content(id_type, value)
            return ContentAnswer(
                content=found.content,
                type=found.artifact_type,
                sha256=content_hash(found.content),
                global_id=int(value) if id_type == "globalId" else None,
            )

        return await self._read((id_type, value), id_type, fetch, ttl=math.inf)

    async def contents(self, global_ids: list[int]) -> ContentBatch:
        """Return contents by global ids, and which of them are missing."""
        turns = asyncio.Semaphore(_IDS_AT_ONCE)

        async def one(global_id: int) -> ContentAnswer | int:
            async with turns:
                try:
                    return await self.content("globalId", global_id)
                except SchemaNotFoundError:
                    return global_id

        results = await asyncio.gather(*(one(each) for each in dict.fromkeys(global_ids)))
        return ContentBatch(
            found=tuple(each for each in results if isinstance(each, ContentAnswer)),
            missing=tuple(each for each in results if isinstance(each, int)),
        )

    def forget(self, event: Event) -> None:
        """Drop what may not be true any more after a change."""
        self._drop((event.group, event.artifact))
        if event.withdrawn:
            self._drop("globalId")
        for kind in ("globalId", "contentId", "contentHash"):
            self.cache.discard(("missing", kind))

    def forget_names(self) -> None:
        """Drop everything but content by id: changes may have been missed."""
        for tag in self.cache.tags():
            if isinstance(tag, tuple):
                self._drop(tag)
        self._changes = [count + 1 for count in self._changes]

    async def aclose(self) -> None:
        """End fetches under way."""
        await self._flights.aclose()

    def _drop(self, tag: Hashable) -> None:
        self._changes[hash(tag) % _SLOTS] += 1
        self.cache.discard(tag)

    async def _read(
        self,
        key: Hashable,
        tag: Hashable,
        fetch: Callable[[], Coroutine[Any, Any, A]],
        *,
        ttl: float,
    ) -> A:
        kept = self.cache.get(key)
        if isinstance(kept, SchemaNotFoundError):
            raise copy.copy(kept)  # one that was raised grows with every traceback
        if kept is not None:
            return kept  # type: ignore[return-value]  # under its key only what its fetch returned
        patience = _STALE_PATIENCE if self._has_stale(key) else None
        changes = self._changes[hash(tag) % _SLOTS]
        async with asyncio.timeout(patience):
            return await self._flights.share(
                (key, changes), lambda: self._fetched(key, tag, fetch, ttl=ttl)
            )

    def _has_stale(self, key: Hashable) -> bool:
        return self._options.serve_stale and isinstance(self.cache.expired(key), SchemaAnswer)

    async def _fetched(
        self,
        key: Hashable,
        tag: Hashable,
        fetch: Callable[[], Coroutine[Any, Any, A]],
        *,
        ttl: float,
    ) -> A:
        slot = hash(tag) % _SLOTS
        changes = self._changes[slot]
        try:
            found = await fetch()
        except SchemaNotFoundError as error:
            if changes == self._changes[slot]:
                about = ("missing", tag) if isinstance(tag, str) else tag
                self.cache.put(key, copy.copy(error), _OVERHEAD, about, self._options.negative_ttl)
            raise
        if changes == self._changes[slot]:
            self.cache.put(key, found, len(found.content) + _OVERHEAD, tag, ttl)
        return found
