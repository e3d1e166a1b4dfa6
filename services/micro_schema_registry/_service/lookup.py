"""Cached look-ups of the service: content by id for good, names until an event or an age limit."""

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
from micro_schema_registry._model.models import IdType, content_hash, is_possible_id
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.byte_cache import ByteCache
from micro_schema_registry._wire import models as wire
from micro_schema_registry._wire.problems import refusal

A = TypeVar("A", wire.SchemaAnswer, wire.ContentAnswer)

_OVERHEAD = 500
"""Approximate bytes of an entry besides its content."""

_SLOTS = 1024
_STALE_PATIENCE = 0.2
"""Seconds to wait for the registry when a stale answer is at hand."""

_IDS_AT_ONCE = 16
_FETCHES_AT_ONCE = 100
"""The size of the pool of connections to Apicurio; further fetches wait."""


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Limits of the memory of the service.

    Attributes:
        max_bytes: Bytes of all answers that are kept.
        latest_ttl: Seconds that a name is believed to mean the same version. Changes made through
            the service are seen at once, others after this time.
        negative_ttl: Seconds that a missing schema is believed to be missing.
        serve_stale: Answer with the last known version, marked as stale, while the registry is
            unreachable.

    Raises:
        ValueError: A number is negative.
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
    """Answers from memory, or from one request to the registry however many callers wait.

    `registry` returns the registry to ask; it changes when a connection is replaced.
    """

    def __init__(self, registry: Callable[[], SchemaRegistry], options: CacheOptions) -> None:
        self._registry = registry
        self._options = options
        self.cache = ByteCache[wire.SchemaAnswer | wire.ContentAnswer | SchemaNotFoundError](
            options.max_bytes
        )
        self._flights = AsyncFlights()
        self._turns = asyncio.Semaphore(_FETCHES_AT_ONCE)
        # A change increments the slot of its tag: no later caller joins a fetch that began before
        # it, and the result of that fetch is not kept. A shared slot costs a needless fetch.
        self._changes = [0] * _SLOTS

    async def schema(self, query: wire.VersionQuery) -> wire.SchemaAnswer:
        """Return one version of a schema."""
        key = (query.group, query.artifact, query.version)

        async def fetch() -> wire.SchemaAnswer:
            version = await self._registry().get_schema(
                query.artifact, version=query.version, group_id=query.group
            )
            return wire.SchemaAnswer.of(query.group, query.artifact, version)

        tag = (query.group, query.artifact)
        try:
            return await self._read(key, tag, fetch, ttl=self._options.latest_ttl)
        except (RegistryConnectionError, TimeoutError) as error:
            known = self.cache.expired(key)
            refused = isinstance(error, RequestRefusedError)
            if refused or not self._options.serve_stale or not isinstance(known, wire.SchemaAnswer):
                raise
            return known.model_copy(update={"stale": True})

    async def content(self, id_type: IdType, value: int | str) -> wire.ContentAnswer:
        """Return content by an immutable id."""
        if not is_possible_id(value):
            raise SchemaNotFoundError.from_id(id_type, value)

        async def fetch() -> wire.ContentAnswer:
            content = await self._registry().get_content(id_type, value)
            return wire.ContentAnswer(
                content=content.content,
                type=content.artifact_type,
                sha256=content_hash(content.content),
                global_id=int(value) if id_type == "globalId" else None,
            )

        return await self._read((id_type, value), id_type, fetch, ttl=math.inf)

    async def contents(self, global_ids: list[int], max_bytes: int) -> wire.ContentBatch:
        """Return contents by global ids, and the missing ids.

        Raises:
            ServiceError: Together they exceed `max_bytes`, whose reading stops there.
        """

        async def one(global_id: int) -> wire.ContentAnswer | int:
            try:
                return await self.content("globalId", global_id)
            except SchemaNotFoundError:
                return global_id

        contents: list[wire.ContentAnswer] = []
        missing: list[int] = []
        ids = list(dict.fromkeys(global_ids))
        for start in range(0, len(ids), _IDS_AT_ONCE):
            answers = await asyncio.gather(*map(one, ids[start : start + _IDS_AT_ONCE]))
            missing += [each for each in answers if isinstance(each, int)]
            contents += [each for each in answers if not isinstance(each, int)]
            if sum(len(each.content) for each in contents) > max_bytes:
                reason = f"{len(ids)} contents take more than {max_bytes} bytes: expected fewer ids"
                raise refusal("refused", 413, reason)
        return wire.ContentBatch(found=tuple(contents), missing=tuple(missing))

    async def shared(
        self,
        draft: wire.Registration,
        register: Callable[[], Coroutine[Any, Any, wire.SchemaAnswer]],
    ) -> wire.SchemaAnswer:
        """Return the result of an equal registration under way, or of a new one."""
        changes = self._changes[hash((draft.group, draft.artifact)) % _SLOTS]
        key = ("register", content_hash(draft.model_dump_json()), changes)
        return await self._flights.share(key, register)

    def forget(self, event: wire.Event) -> None:
        """Drop the answers that an event makes doubtful."""
        self._drop((event.group, event.artifact))
        if event.withdrawn:
            self._drop("globalId")
        for kind in ("globalId", "contentId", "contentHash"):
            self.cache.discard(("missing", kind))

    def forget_names(self) -> None:
        """Drop everything but content by id: events may have been missed."""
        for tag in self.cache.tags():
            if isinstance(tag, tuple):
                self._drop(tag)
        self._changes = [count + 1 for count in self._changes]

    async def aclose(self) -> None:
        """End the requests in flight."""
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
            raise copy.copy(kept)  # a raised error grows with every traceback
        if kept is not None:
            return kept  # type: ignore[return-value]  # a key holds only values of its own fetch
        slot = hash(tag) % _SLOTS
        changes = self._changes[slot]

        async def fetched() -> A:
            try:
                async with self._turns:
                    answer = await fetch()
            except SchemaNotFoundError as error:
                if changes == self._changes[slot]:
                    about = ("missing", tag) if isinstance(tag, str) else tag
                    seconds = self._options.negative_ttl
                    self.cache.put(key, copy.copy(error), _OVERHEAD, about, seconds)
                raise
            may_change = getattr(answer, "draft", False)  # only a version can be a draft
            if changes == self._changes[slot] and not may_change:
                self.cache.put(key, answer, len(answer.content) + _OVERHEAD, tag, ttl)
            return answer

        async with asyncio.timeout(_STALE_PATIENCE if self._has_stale(key) else None):
            return await self._flights.share((key, changes), fetched)

    def _has_stale(self, key: Hashable) -> bool:
        return self._options.serve_stale and isinstance(self.cache.expired(key), wire.SchemaAnswer)
