"""Header blocks of messages, as they go over the wire (ADR-4)."""

from __future__ import annotations

from collections.abc import Mapping

STATUS = "Status"
DESCRIPTION = "Description"

_VERSION = b"NATS/1.0"
_BLANKS = " \t\v\f"  # what readers strip; other white space of Unicode is text


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Return the block of headers that have been checked."""
    lines = [f"{name}: {value.strip(_BLANKS)}\r\n" for name, value in headers.items()]
    return b"NATS/1.0\r\n%b\r\n" % "".join(lines).encode()


def decode_headers(block: bytes) -> dict[str, str]:
    """Return the headers of a received block; of a repeated name the last value.

    A status of the server (``NATS/1.0 503 No Responders``) appears as ``Status`` and
    ``Description``, as in nats-py. Lines that are no header are left out, and bytes that are no
    UTF-8 replaced: no message can make this fail.
    """
    first, *lines = block.split(b"\r\n")
    found: dict[str, str] = {}
    status = first[len(_VERSION) :].strip()
    if status:
        code, text = status[:3], status[4:].strip()
        if code.isdigit():
            found[STATUS] = code.decode()
        if text:
            found[DESCRIPTION] = text.decode(errors="replace")
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name.isascii() and len(name.split()) == 1:
            found[name.decode()] = value.strip().decode(errors="replace")
    return found
