"""Splitting the byte stream of a NATS server into frames, and the messages out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from micro._native import accelerated

Headers: TypeAlias = "bytes | dict[str, str] | None"
"""Headers of a message: the block as received, or the mapping that nats-py has made of it."""

Message: TypeAlias = tuple[bytes, bytes, bytes, Headers]
"""Subject, reply subject (may be empty), payload, headers."""

Sink: TypeAlias = Callable[[list[Message]], None]
"""Takes consecutive messages of one subscription, outside of any task. Must not raise."""

_M, _H = b"MH"


@accelerated
class FrameSplitter:
    """The splitter that passes messages of known subscriptions to sinks and keeps other frames.

    An incomplete frame waits for the rest; a large payload is joined only once. After an invalid
    control line every byte is kept unchanged, and nats-py reports the error.

    Args:
        routes: Sinks by subscription id; may change at any time.

    Attributes:
        others: Frames without a sink, in order; the owner empties it.
        messages: The number of messages passed to sinks; the owner resets it.
        payload_bytes: The size of their payloads; the owner resets it.
    """

    __slots__ = (
        "_missing",
        "_parts",
        "_routes",
        "_senseless",
        "messages",
        "others",
        "payload_bytes",
    )

    def __init__(self, routes: Mapping[bytes, Sink]) -> None:
        self.others: list[bytes] = []
        self.messages = 0
        self.payload_bytes = 0
        self._routes = routes
        self._parts: list[bytes] = []
        self._missing = 0  # bytes that the message in _parts lacks, if its size is known
        self._senseless = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._senseless:
            self.others.append(data)
            return
        if self._parts:
            self._parts.append(data)
            if len(data) < self._missing:
                self._missing -= len(data)
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._missing = 0
        rest = self._split(data)
        if rest < len(data):
            self._parts.append(data[rest:])

    def feed_from(self, buffer: memoryview, size: int) -> None:
        """Take the next bytes of the stream from a buffer, which is not kept."""
        self.feed(bytes(buffer[:size]))

    def _split(self, data: bytes) -> int:
        """Process all complete frames; return the position of the incomplete one."""
        routes, others, find = self._routes, self.others, data.find
        size, position, payload_bytes = len(data), 0, 0
        last: Sink | None = None
        run: list[Message] = []  # messages for that sink, passed in one call
        while (line_end := find(b"\r\n", position)) >= 0:
            kind = data[position]
            if kind != _M and kind != _H:
                others.append(data[position : line_end + 2])
                position = line_end + 2
                continue
            words = data[position:line_end].split()  # MSG subject sid [reply] size
            start = body = line_end + 2  # ............ HMSG subject sid [reply] header_size size
            count = len(words)
            sink = None
            try:
                end = start + int(words[-1])
                if kind == _H:
                    body += int(words[-2])
                    count -= 1
                sink = routes.get(words[2])
            except (ValueError, IndexError):
                end = -1
            if end < body or body < start or not 4 <= count <= 5:
                self._senseless = True
                others.append(data[position:])
                position = size
                break
            if end + 2 > size:
                self._missing = end + 2 - size
                break
            if sink is None:
                others.append(data[position : end + 2])
            else:
                if sink is not last:
                    self._hand_over(run, last)
                    run, last = [], sink
                payload_bytes += end - body
                headers = data[start:body] if kind == _H else None
                run.append((words[1], words[3] if count == 5 else b"", data[body:end], headers))
            position = end + 2
        self.payload_bytes += payload_bytes
        self._hand_over(run, last)
        return position

    def _hand_over(self, run: list[Message], sink: Sink | None) -> None:
        if sink is not None:
            self.messages += len(run)
            sink(run)
