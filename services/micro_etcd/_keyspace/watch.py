"""Watches as users read them: event by event, decoded."""

from typing import Generic, Self

from micro_etcd._model.codec import Codec
from micro_etcd._model.events import Event
from micro_etcd._model.protocols import Batches
from micro_etcd._model.values import T, WatchEvent


class Watch(Generic[T]):
    """An async iterator of `WatchEvent`.

    Leaving the loop, cancelling it or `aclose` ends the server's watcher.
    """

    def __init__(self, stream: Batches, codec: Codec[T]) -> None:
        self._stream = stream
        self._decode = codec.decode
        self._events: list[Event] = []

    @property
    def stream(self) -> Batches:
        """The stream of batches that the events come from."""
        return self._stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent[T]:
        while not self._events:
            self._events = list(reversed((await anext(self._stream)).events))
        event = self._events.pop()
        prev = None if event.prev is None else self._decode(event.prev.value)
        return WatchEvent(
            self._decode(event.kv.key), self._decode(event.kv.value), prev, event.type
        )

    async def aclose(self) -> None:
        """End the watch; idempotent."""
        self._stream.close()

    async def __aenter__(self) -> Self:
        await self._stream.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
