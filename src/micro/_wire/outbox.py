"""The messages of the next write of the fast path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from micro._errors import ConfigError, MicroError
from micro._native import accelerated
from micro._protocol.subjects import MAX_CONTROL_LINE
from micro._wire.congestion import PORTION

DOLLAR = ord("$")

Headers = Mapping[str, str] | None


class ServersSubjectError(MicroError):
    """A reply subject that begins with `$` and so belongs to the server."""


class LongSubjectError(ConfigError):
    """A subject, with a reply subject, that is longer than a line which the server accepts."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"invalid subject and reply subject of {size} bytes: expected at most {MAX_TARGET}"
        )


MAX_TARGET = MAX_CONTROL_LINE - len("12345678 12345678 ")
"""Bytes of a subject and a reply subject that leave room for two sizes."""

_PARTS = 5
"""Parts of a message: verb, subjects, sizes and headers, payload, end of line."""

_SIZES = tuple(b" %d\r\n" % size for size in range(1024))
"""The ends of the lines of small payloads; formatting one costs as much as all the rest."""

_BLOCK_SIZES = tuple(b" %d" % size for size in range(128))


@accelerated
class Outbox:
    """The messages of the next write, most of them the answers of one batch.

    Args:
        send: Sends an answer that has headers or a long subject, or that `room` is too small for.
        relieve: Called when the payloads have more than `PORTION` bytes.

    Attributes:
        room: The largest payload that `reply` adds; -1 outside of a batch.
        turn: The largest message that the accelerated `Requester` adds by itself, until the end of
            this turn of the event loop; -1 if it must ask the path.
        payload_bytes: The size of all payloads.
    """

    __slots__ = ("_parts", "_relieve", "_send", "payload_bytes", "room", "turn")

    def __init__(
        self, send: Callable[[bytes, bytes, Headers], None], relieve: Callable[[], None]
    ) -> None:
        self._parts: list[bytes] = []  # joined only once, so that payloads are not copied twice
        self._send = send
        self._relieve = relieve
        self.payload_bytes = 0
        self.room = self.turn = -1

    def __len__(self) -> int:
        return len(self._parts) // _PARTS

    def reply(self, subject: bytes, data: bytes, headers: Headers = None) -> None:
        """Send an answer; see `Path.reply`."""
        size = len(data)
        # Most answers: a subject that is not empty and does not begin with `$`.
        if size <= self.room and subject > b"%" and len(subject) <= MAX_TARGET and not headers:
            if data.__class__ is not bytes:
                data = _as_bytes(data)
                size = len(data)  # not the items of a memoryview
            line = _SIZES[size] if size < 1024 else b" %d\r\n" % size
            self._parts.extend((b"PUB ", subject, line, data, b"\r\n"))
            self.payload_bytes = unsent = self.payload_bytes + size
            if unsent > PORTION:
                self._relieve()
        elif subject:
            if subject[0] == DOLLAR:
                raise ServersSubjectError(subject)
            self._send(subject, data, headers)

    def add(self, target: bytes, block: bytes, data: bytes) -> None:
        """Add a message.

        Args:
            target: The subject, perhaps a blank and a reply subject.
            block: The header block; empty for none.
            data: The payload.
        """
        if data.__class__ is not bytes:
            data = _as_bytes(data)
        size = len(data)
        if block:
            length = len(block)
            if length < 128 and size < 512:
                line = _BLOCK_SIZES[length] + _SIZES[length + size] + block
            else:
                line = b" %d %d\r\n%b" % (length, length + size, block)
            self._parts.extend((b"HPUB ", target, line, data, b"\r\n"))
        else:
            line = _SIZES[size] if size < 1024 else b" %d\r\n" % size
            self._parts.extend((b"PUB ", target, line, data, b"\r\n"))
        self.payload_bytes += size

    def take(self, before: Sequence[bytes]) -> tuple[bytes, int, int]:
        """Remove the messages of one write: all of them, or a portion of many.

        Args:
            before: Bytes that precede the messages.

        Returns:
            The bytes to write, the number of messages in them, and the bytes of their payloads.
        """
        parts, payload_bytes = self._parts, self.payload_bytes
        self._parts = []
        if payload_bytes > 2 * PORTION:
            end = _portion(parts)
            parts, self._parts = parts[:end], parts[end:]
            payload_bytes = sum(map(len, parts[3::_PARTS]))
        self.payload_bytes -= payload_bytes
        return b"".join([*before, *parts]), len(parts) // _PARTS, payload_bytes

    def clear(self) -> None:
        """Remove all messages."""
        self._parts.clear()
        self.payload_bytes = 0


def _as_bytes(data: bytes) -> bytes:
    """Return a payload that a caller may have made of another type than is declared."""
    return data if data.__class__ is bytes else b"%b" % (data,)


def _portion(parts: list[bytes]) -> int:
    """Return how many parts make the messages of one portion."""
    size = 0
    for number, part in enumerate(parts, 1):
        size += len(part)
        if size > PORTION and number % _PARTS == 0:
            return number
    return len(parts)
