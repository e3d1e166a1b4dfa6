"""The log of changes of each artifact, and its head.

Creating the next slot is the only moment at which a change happens. Two writers cannot both take
a slot, so what a writer concluded from the earlier changes (no equal content, compatible with
every version) still holds when its own change is next. The loser reads the new change and decides
again. A head is a summary: when its writer dies, the next writer continues from the slots.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from micro_schema_registry._backoff import pauses
from micro_schema_registry._embedded.bucket import Bucket, Stored
from micro_schema_registry._embedded.history import (
    Change,
    Head,
    VersionAdded,
    artifact_in,
    read_change,
)
from micro_schema_registry._embedded.keys import Artifact
from micro_schema_registry._errors import Problem, SchemaRegistrationError

Decide = Callable[[Head], Awaitable[Change | None]]


@dataclass(frozen=True)
class _Known:
    """A head with its revision and size in the bucket, both 0 if it was never written."""

    head: Head
    revision: int
    size: int


class ArtifactLog:
    """The artifacts of a bucket as logs of changes."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def head(self, artifact: Artifact) -> Head:
        """Return the head of an artifact: every change that was acknowledged to its writer."""
        return (await self._read(artifact)).head

    async def newest(self, artifact: Artifact) -> Head:
        """Return the head continued with changes whose writers did not finish."""
        return await self._continued(artifact, await self.head(artifact))

    async def append(self, artifact: Artifact, decide: Decide) -> tuple[Head, int]:
        """Append the change that `decide` returns for the head; decide again after a lost race.

        None from `decide` means that nothing changes. Its exceptions end the attempt.

        Returns:
            A head that includes the change, and the revision of the change, 0 if there was none.
        """
        known = await self._read(artifact)
        waits = pauses(0.002, 0.05)
        while True:
            change = await decide(known.head)
            if change is None:
                return known.head, 0
            slot = known.head.slot + 1
            value = change.of(artifact).encoded()
            if isinstance(change, VersionAdded):
                self._check_room(artifact, known, value)
            stored, is_ours = await self._bucket.create(artifact.slot_key(slot), value)
            if is_ours:
                head = known.head.after(change, stored.revision)
                return await self._publish(artifact, known, head), stored.revision
            known = await self._catch_up(artifact, known, stored)
            # One writer gets ahead in every round; jitter separates the others.
            await asyncio.sleep(next(waits))

    async def restore(self, artifact: Artifact, changes: list[Change]) -> Head | None:
        """Write changes into slots 1 to n unless they exist; None if other changes do."""
        head = Head()
        for change in changes:
            slot_key = artifact.slot_key(head.slot + 1)
            stored, is_ours = await self._bucket.create(slot_key, change.of(artifact).encoded())
            if not is_ours:
                return None
            head = head.after(change, stored.revision)
        known = await self._read(artifact)
        return await self._publish(artifact, known, head)

    def artifact_of(self, stored: Stored) -> Artifact:
        """Return the artifact that a head or a change belongs to."""
        return self._bucket.decoded(stored, partial(artifact_in, stored.key))

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
        """Return the newest head, which has at least `following`; write it if it is behind."""
        known = await self._read(artifact)
        head = known.head
        if head.slot <= behind.head.slot:
            head = behind.head.after(
                self._bucket.decoded(following, read_change), following.revision
            )
        head = await self._continued(artifact, head)
        if head.slot == known.head.slot:
            return known
        value = head.of(artifact).encoded()
        revision = await self._bucket.replace(artifact.head_key, value, known.revision)
        if revision is None:
            return await self._read(artifact)
        return _Known(head, revision, len(value))

    async def _publish(self, artifact: Artifact, known: _Known, head: Head) -> Head:
        """Write a head unless the stored one has the same changes or more; return the newer."""
        while True:
            if known.head.slot >= head.slot:
                return known.head
            value = head.of(artifact).encoded()
            written = await self._bucket.replace(artifact.head_key, value, known.revision)
            if written is not None:
                return head
            known = await self._read(artifact)

    def _check_room(self, artifact: Artifact, known: _Known, value: bytes) -> None:
        """Refuse a version that leaves the head no room for states, rules and deletions."""
        # A head holds less of a version than its slot does, except for the labels of the first.
        if known.size + 2 * len(value) > 0.9 * self._bucket.max_value:
            count = len(known.head.versions)
            problem = Problem(
                413, "LimitExceededException", f"no room for more than {count} versions"
            )
            raise SchemaRegistrationError(artifact.artifact_id, problem=problem)
