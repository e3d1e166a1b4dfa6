"""Messages of a JetStream consumer, with what their reply subjects say (ADR-15)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from micro._events.event import Event
from micro._published import publish
from micro._wire.frames import Headers

ACK = b"$JS.ACK."
"""The beginning of the reply subject of a delivered message."""

_LONG = 11
"""Tokens of a reply subject that names the domain and the account; a short one has nine."""


class Metadata(NamedTuple):
    """The parts of the reply subject of a delivery.

    `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<ns>.<pending>`
    """

    delivered: int
    stream_sequence: int
    consumer_sequence: int
    timestamp_ns: int
    pending: int


def read_metadata(reply: bytes) -> Metadata:
    """Return the numbers in the reply subject of a delivery."""
    tokens = reply.split(b".")
    first = 6 if len(tokens) >= _LONG else 4
    return Metadata(*map(int, tokens[first : first + 5]))


class Delivery(Event):
    """A message of a JetStream consumer, as its handler sees it.

    Attributes:
        round: The round of the keeping alive in which the message arrived.
        attempts: Its deliveries so far, local repetitions included.
        key: The key that orders it; None without one.
    """

    __slots__ = ("_metadata", "attempts", "key", "round")

    def __init__(
        self, subject: bytes, reply: bytes, data: bytes, headers: Headers, round: int = 0
    ) -> None:
        super().__init__(subject, reply, data, headers)
        self.round = round
        self.key: object = None
        self._metadata: Metadata | None = None
        self.attempts = 0

    @property
    def metadata(self) -> Metadata:
        """The numbers in its reply subject."""
        if self._metadata is None:
            self._metadata = read_metadata(self.raw_reply)
        return self._metadata

    @property
    def delivered(self) -> int:
        """How often the message has been delivered or repeated, this time included."""
        return self.metadata.delivered + self.attempts

    @property
    def stream_sequence(self) -> int:
        """Its sequence number in the stream."""
        return self.metadata.stream_sequence

    @property
    def stored(self) -> datetime:
        """When the stream stored it, in UTC."""
        return datetime.fromtimestamp(self.metadata.timestamp_ns / 1e9, UTC)

    def again(self) -> Delivery:
        """Return the same message for one more run of its handler."""
        repeated = Delivery(self._subject, self.raw_reply, self.data(), self._headers, self.round)
        repeated.attempts = self.attempts + 1
        repeated.key = self.key
        return repeated


publish(Delivery)
