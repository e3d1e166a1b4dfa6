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

    __slots__ = ("_frames", "_relieve", "_send", "payload_bytes", "room", "turn")

    def __init__(
        self, send: Callable[[bytes, bytes, Headers], None], relieve: Callable[[], None]
    ) -> None:
        self._frames: list[bytes] = []
        self._send = send
        self._relieve = relieve
        self.payload_bytes = 0
        self.room = self.turn = -1

    def __len__(self) -> int:
        return len(self._frames)

    def reply(self, subject: bytes, data: bytes, headers: Headers = None) -> None:
        """Send an answer; see `Path.reply`."""
        size = len(data)
        usual = 0 < len(subject) <= MAX_TARGET and subject[0] != DOLLAR
        if usual and size <= self.room and not headers:  # most answers
            self._frames.append(b"PUB %b %d\r\n%b\r\n" % (subject, size, data))
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
        size = len(data)
        if block:
            head = b"HPUB %b %d %d\r\n" % (target, len(block), len(block) + size)
            self._frames.append(b"%b%b%b\r\n" % (head, block, data))
        else:
            self._frames.append(b"PUB %b %d\r\n%b\r\n" % (target, size, data))
        self.payload_bytes += size

    def take(self, before: Sequence[bytes]) -> tuple[bytes, int, int]:
        """Remove the messages of one write: all of them, or a portion of many.

        Args:
            before: Bytes that precede the messages.

        Returns:
            The bytes to write, the number of messages in them, and the bytes of their payloads.
        """
        frames, payload_bytes = self._frames, self.payload_bytes
        self._frames = []
        if payload_bytes > 2 * PORTION:
            count = _portion(frames)
            frames, self._frames = frames[:count], frames[count:]
            if self._frames:
                payload_bytes = min(payload_bytes, sum(map(len, frames)))
        self.payload_bytes -= payload_bytes
        return b"".join([*before, *frames]), len(frames), payload_bytes

    def clear(self) -> None:
        """Remove all messages."""
        self._frames.clear()
        self.payload_bytes = 0


def _portion(frames: list[bytes]) -> int:
    """Return how many messages make one portion."""
    size = 0
    for number, frame in enumerate(frames, 1):
        size += len(frame)
        if size > PORTION:
            return number
    return len(frames)
