"""Headers of messages: their rules and their form on the wire (ADR-4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from micro._errors import ConfigError
from micro._native import accelerated
from micro._protocol.subjects import is_text

STATUS = "Status"
DESCRIPTION = "Description"
STREAM_STATE = "Micro-Stream"
STREAM_END = "end"
"""The state of a stream behind its last item, and of one answer in place of a stream."""

_VERSION = b"NATS/1.0"
_HEADER_NAME = re.compile(r"[!-9;-~]+", re.ASCII)
_BLANKS = " \t\v\f"  # readers strip these; other white space of Unicode is text


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Return the header block of headers that have been checked."""
    lines = [f"{name}: {value.strip(_BLANKS)}\r\n" for name, value in headers.items()]
    return b"NATS/1.0\r\n%b\r\n" % "".join(lines).encode()


@accelerated
def decode_headers(block: bytes) -> dict[str, str]:
    """Return the headers of a received block; of a repeated name the last value.

    A status of the server, such as `NATS/1.0 503 No Responders`, appears as `Status` and
    `Description`, as in nats-py. Invalid lines are left out, invalid UTF-8 is replaced: no message
    can make this fail.
    """
    first, *lines = block.split(b"\r\n")
    headers: dict[str, str] = {}
    status = first[len(_VERSION) :].strip()
    if status:
        code, text = status[:3], status[4:].strip()
        if code.isdigit():
            headers[STATUS] = code.decode()
        if text:
            headers[DESCRIPTION] = text.decode(errors="replace")
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name.isascii() and len(name.split()) == 1:
            headers[name.decode()] = value.strip().decode(errors="replace")
    return headers


def header_block(headers: Mapping[Any, Any]) -> bytes:
    """Return the header block of headers (ADR-4).

    Raises:
        ConfigError: A header cannot be sent.
    """
    if len(headers) == 1:
        ((name, value),) = headers.items()
        if isinstance(name, str) and isinstance(value, str) and len(name) + len(value) < 64:
            return _short_block(name, value)
    check_headers(headers)
    return encode_headers(headers)


@lru_cache(maxsize=1024)
def _short_block(name: str, value: str) -> bytes:
    """Return the block of one header; most often it is the same time-out or content type."""
    check_headers({name: value})
    return encode_headers({name: value})


def check_headers(headers: Mapping[Any, Any]) -> int:
    """Return the size of headers on the wire in bytes (ADR-4).

    Raises:
        ConfigError: A name is not printable ASCII without ':', or a value is not one line of text.
    """
    size = len("NATS/1.0\r\n\r\n")
    for name, value in headers.items():
        if not isinstance(name, str) or not _is_header_name(name):
            raise ConfigError(f"invalid header name {name!r}: expected printable ASCII without ':'")
        if not is_text(value) or "\r" in value or "\n" in value:
            raise ConfigError(f"invalid value of header {name!r}: expected one line of text")
        size += len(name) + len(value if value.isascii() else value.encode()) + len(": \r\n")
    return size


@lru_cache(maxsize=1024)
def _is_header_name(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None
