"""The history of a range, read without a watch, and a reader to compare with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from micro_etcd import EtcdCommunicator, EtcdError, EventStream, RangeOptions, WatchEventType
from micro_etcd._model.keys import prefix_range

Line = tuple[int, bytes, bytes]  # revision, key, value


async def history(
    communicator: EtcdCommunicator[str], prefix: str, first: int, last: int
) -> list[Line]:
    """Return every put under a prefix between two revisions, one read per revision."""
    lines: list[Line] = []
    for revision in range(first, last + 1):
        options = RangeOptions(revision=revision, min_mod_revision=revision)
        found = await communicator.kv.range(*prefix_range(prefix.encode()), options)
        lines += [(kv.mod_revision, kv.key, kv.value) for kv in found.kvs]
    return lines


class Reader:
    """Collects what a watch shows."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.lines: list[Line] = []
        self.error: EtcdError | None = None
        self._changed = asyncio.Event()

    @property
    def revision(self) -> int:
        return self.lines[-1][0] if self.lines else 0

    async def until(self, revision: int, seconds: float = 60) -> None:
        """Return when the watch has shown `revision`."""
        async with asyncio.timeout(seconds):
            while self.revision < revision:
                if self.error is not None:
                    raise self.error
                self._changed.clear()
                await self._changed.wait()

    async def run(self) -> None:
        try:
            async for batch in self.stream:
                assert all(e.kv.mod_revision == batch.revision for e in batch.events)
                self.lines += [
                    (e.kv.mod_revision, e.kv.key, e.kv.value)
                    for e in batch.events
                    if e.type is WatchEventType.PUT
                ]
                self._changed.set()
        except EtcdError as error:
            self.error = error
        finally:
            self._changed.set()


@asynccontextmanager
async def reading(communicator: EtcdCommunicator[str], prefix: str) -> AsyncIterator[Reader]:
    """Read a prefix in the background; the watch is on the server when this is entered."""
    stream = communicator.events(*prefix_range(prefix.encode()))
    await stream.start()
    reader = Reader(stream)
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        stream.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
