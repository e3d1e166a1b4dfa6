"""The format of a streaming answer.

Each item is a message to the reply subject with its number, from 1, in the header `Micro-Seq`. The
end is a message without payload, as in ADR-47, whose `Micro-Seq` is the number of items; an error
is an answer with the error headers of ADR-32. An item has a payload.

A request with the header `Micro-Window` asks for flow control. The service then sends a message
with the header `Micro-Stream: open` first, whose reply subject is the control subject of the
stream. It sends at most so many items beyond the number that the caller has sent there. The caller
sends that number again within each lease, or `-` to leave; after a lease without a message the
service ends the stream. A message with `Micro-Stream: alive` in each lease tells the caller that
the service lives.

A request with the header `Micro-Upload` announces items of the caller. It sends them to the control
subject, numbered from 1, and a message with `Micro-Stream: end` and their number behind them. The
window holds for them, too: `Micro-Read` in the messages `open` and `alive` is the number of items
that the handler has read. One answer in place of a stream has `Micro-Stream: end` itself.
"""

from __future__ import annotations

from micro._protocol.headers import STREAM_END, STREAM_STATE, encode_headers

SEQUENCE = "Micro-Seq"
WINDOW = "Micro-Window"
LEASE = "Micro-Lease-Ms"
STATE = STREAM_STATE
UPLOAD = "Micro-Upload"
READ = "Micro-Read"
OPEN, ALIVE, END = "open", "alive", STREAM_END
LEAVE = b"-"

ITEM = b"NATS/1.0\r\n" + SEQUENCE.encode() + b": "
"""The beginning of the header block of an item."""

MAX_WINDOW = 65_536
LEASES = (0.2, 60.0)
"""Seconds of the shortest and the longest lease."""

OPEN_BLOCK = encode_headers({STATE: OPEN})
ALIVE_BLOCK = encode_headers({STATE: ALIVE})


def item_block(number: int) -> bytes:
    """Return the header block of an item."""
    return b"%b%d\r\n\r\n" % (ITEM, number)


def state_block(state: str, read: int | None) -> bytes:
    """Return the header block of a message that opens a stream or tells that its service lives."""
    if read is None:
        return OPEN_BLOCK if state == OPEN else ALIVE_BLOCK
    return encode_headers({STATE: state, READ: str(read)})


def upload_end_block(count: int) -> bytes:
    """Return the header block of the end of an upload, behind a number of items."""
    return encode_headers({STATE: END, SEQUENCE: str(count)})


def end_headers(count: int) -> dict[str, str]:
    """Return the headers of the end of a stream, behind a number of items."""
    return {"Status": "204", STATE: END, SEQUENCE: str(count)}


def read_number(text: str | None) -> int | None:
    """Return a number of a header, None when there is none."""
    usable = text is not None and text.isascii() and text.isdigit() and len(text) <= 18
    return int(text) if text is not None and usable else None
