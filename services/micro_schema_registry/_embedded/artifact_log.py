"""Artifacts in a bucket: changes are appended one at a time, whoever appends, and heads follow.

The create of the next slot is the one moment at which a change happens. Two writers cannot both take a slot, so whatever a
writer concluded from the changes before it (no such content yet, compatible with every version) still holds when its own
change becomes the next. Who loses reads what came first and decides again. A head is only a summary: if its writer dies, the
next one continues from the slots.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from micro_schema_registry._backoff import pauses
from micro_schema_registry._embedded.bucket import Bucket, Stored
from micro_schema_registry._embedded.history import Change, Head, VersionAdded, read_change
from micro_schema_registry._embedded.keys import Artifact, artifact_of, head_pattern
from micro_schema_registry._errors import Problem, SchemaRegistrationError

Decide = Callable[[Head], Awaitable[Change | None]]


@dataclass(frozen=True)
class _Known:
    """Hold a head with its revision and size in the bucket, 0 if it was never written."""

    head: Head
    revision: int
    size: int


class ArtifactLog:
    """Read and change the artifacts of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def head(self, artifact: Artifact) -> Head:
        """Return an artifact with every change whose writer was told that it is done."""
        return (await self._read(artifact)).head

    async def newest(self, artifact: Artifact) -> Head:
        """Return an artifact with every change there is, also of writers that did not finish."""
        return await self._continued(artifact, await self.head(artifact))

    async def append(self, artifact: Artifact, decide: Decide) -> tuple[Head, int]:
        """Append the change that ``decide`` makes of the head, asking again when others were faster.

        Return a head with the change in it and the change's revision, 0 if there was none: from ``decide``, None means that there is nothing to change. What ``decide`` raises ends the attempt without a change.
        """
        known = await self._read(artifact)
        waits = pauses(0.002, 0.05)
        while True:
            change = await decide(known.head)
            if change is None:
                return known.head, 0
            slot = known.head.slot + 1
            value = change.encoded()
            if isinstance(change, VersionAdded):
                self._check_room(artifact, known, value)
            stored, is_ours = await self._bucket.create(artifact.slot_key(slot), value)
            if is_ours:
                head = known.head.after(change, stored.revision)
                return await self._publish(artifact, known, head), stored.revision
            known = await self._catch_up(artifact, known, stored)
            # Somebody gets ahead in every round; jitter keeps the losers from meeting again.
            await asyncio.sleep(next(waits))

    async def restore(self, artifact: Artifact, changes: list[Change]) -> Head | None:
        """Write given changes into slots 1 to n, as far as they are not there; None if others are there."""
        head = Head()
        for change in changes:
            slot_key = artifact.slot_key(head.slot + 1)
            stored, is_ours = await self._bucket.create(slot_key, change.encoded())
            if not is_ours:
                return None
            head = head.after(change, stored.revision)
        known = await self._read(artifact)
        return await self._publish(artifact, known, head)

    async def heads(self, group_id: str | None) -> dict[Artifact, Head]:
        """Return the artifacts of one group, or of all, that have versions; ordered by name."""
        heads = {}
        async for stored in self._bucket.scan(head_pattern(group_id)):
            heads[self.artifact_of(stored)] = self._bucket.decoded(stored, Head.model_validate_json)
        return {artifact: heads[artifact] for artifact in sorted(heads) if heads[artifact].exists}

    def artifact_of(self, stored: Stored) -> Artifact:
        """Return the artifact that a head or a change belongs to."""
        return self._bucket.decoded(stored, lambda _: artifact_of(stored.key))

    async def changes(self, artifact: Artifact) -> AsyncIterator[tuple[int, Change]]:
        """Yield every change of an artifact with its revision, oldest first."""
        slot = 1
        while (stored := await self._bucket.get(artifact.slot_key(slot))) is not None:
            yield stored.revision, self._bucket.decoded(stored, read_change)
            slot += 1

    async def _read(self, artifact: Artifact) -> _Known:
        stored = await self._bucket.get(artifact.head_key)
        if stored is None:
            return _Known(Head(), 0, 0)
        head = self._bucket.decoded(stored, Head.model_validate_json)
        return _Known(head, stored.revision, len(stored.value))

    async def _continued(self, artifact: Artifact, head: Head) -> Head:
        while (stored := await self._bucket.get(artifact.slot_key(head.slot + 1))) is not None:
            head = head.after(self._bucket.decoded(stored, read_change), stored.revision)
        return head

    async def _catch_up(self, artifact: Artifact, behind: _Known, following: Stored) -> _Known:
        """Return the newest head, which has at least the slot that follows; if its writer did not write it, do so."""
        known = await self._read(artifact)
        head = known.head
        if head.slot <= behind.head.slot:
            head = behind.head.after(
                self._bucket.decoded(following, read_change), following.revision
            )
        head = await self._continued(artifact, head)
        if head.slot == known.head.slot:
            return known
        value = head.encoded()
        revision = await self._bucket.replace(artifact.head_key, value, known.revision)
        if revision is None:
            return await self._read(artifact)
        return _Known(head, revision, len(value))

    async def _publish(self, artifact: Artifact, known: _Known, head: Head) -> Head:
        """Write a head unless one with the same changes or more is there; return the one that is there then."""
        while True:
            if known.head.slot >= head.slot:
                return known.head
            written = await self._bucket.replace(artifact.head_key, head.encoded(), known.revision)
            if written is not None:
                return head
            known = await self._read(artifact)

    def _check_room(self, artifact: Artifact, known: _Known, value: bytes) -> None:
        """Refuse a version that would make the head too large; states, rules and deletions still have room then."""
        # A head holds less of a version than its slot does, but for the first one's labels.
        if known.size + 2 * len(value) > 0.9 * self._bucket.max_value:
            count = len(known.head.versions)
            problem = Problem(
                413, "LimitExceededException", f"no room for more than {count} versions"
            )
            raise SchemaRegistrationError(artifact.artifact_id, problem=problem)
