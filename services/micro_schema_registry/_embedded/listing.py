"""Summaries of all artifacts, kept in memory and brought up to date before each use."""

import asyncio
from datetime import datetime
from functools import partial
from typing import NamedTuple

from micro_schema_registry._embedded.bucket import Bucket, Stored
from micro_schema_registry._embedded.history import Head, Labels, artifact_in
from micro_schema_registry._embedded.keys import HEAD_KEYS, Artifact

_READERS = 32
_SHORTEST_RANGE = 64


class Summary(NamedTuple):
    """The description of an artifact, and the contents of its versions."""

    artifact_type: str
    labels: Labels
    created_on: datetime | None
    modified_on: datetime | None
    content_ids: frozenset[int]


class Listing:
    """The artifacts of a bucket that have versions.

    Each use asks the leader for the last revision, and reads the heads written since the last use.
    A first use reads all heads, several at a time; if its caller goes, the next one continues.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._turn = asyncio.Lock()
        self._created = ""
        self._seen = 0
        self._unread: list[tuple[int, int]] = []
        self._summaries: dict[Artifact, Summary] = {}
        self._is_sorted = True

    async def artifacts(self, group_id: str | None) -> dict[Artifact, Summary]:
        """Return the artifacts of one group, or of all, ordered by name."""
        async with self._turn:
            await self._refresh()
            if not self._is_sorted:
                self._summaries = dict(sorted(self._summaries.items()))
                self._is_sorted = True
            if group_id is None:
                return dict(self._summaries)
            return {a: summary for a, summary in self._summaries.items() if a.group_id == group_id}

    def _forget(self, created: str) -> None:
        self._created = created
        self._seen = 0
        self._unread.clear()
        self._summaries.clear()

    async def _refresh(self) -> None:
        created, last = await self._bucket.span()
        if created != self._created or last < self._seen:
            self._forget(created)  # another bucket of that name, or an older state of it
        step = max(_SHORTEST_RANGE, (last - self._seen) // _READERS + 1)
        for first in range(self._seen + 1, last + 1, step):
            self._unread.append((first, min(first + step - 1, last)))
        self._seen = last
        try:
            async with asyncio.TaskGroup() as readers:
                for _ in range(min(_READERS, len(self._unread))):
                    readers.create_task(self._read())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _read(self) -> None:
        while self._unread:
            first, last = self._unread.pop()
            try:
                while first <= last:
                    stored = await self._bucket.following(HEAD_KEYS, first - 1)
                    if stored is None or stored.revision > last:
                        first = last + 1
                    else:
                        self._keep(stored)
                        first = stored.revision + 1
            finally:
                if first <= last:
                    self._unread.append((first, last))

    def _keep(self, stored: Stored) -> None:
        head = self._bucket.decoded(stored, Head.model_validate_json)
        artifact = self._bucket.decoded(stored, partial(artifact_in, stored.key))
        if not head.exists:
            self._summaries.pop(artifact, None)
            return
        self._is_sorted = self._is_sorted and artifact in self._summaries
        contents = frozenset(version.content_id for version in head.present)
        self._summaries[artifact] = Summary(
            head.artifact_type, head.labels, head.created_on, head.modified_on, contents
        )
