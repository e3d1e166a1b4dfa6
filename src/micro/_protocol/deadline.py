"""The deadline of a request: seconds in a header, then a moment of the event loop's clock.

Micro-Timeout-Ms: 1500      the caller waits 1,500 ms more, counted from the sending
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache

HEADER = "Micro-Timeout-Ms"
"""The header of the time-out; handlers do not see it."""

LINE = b"\r\n" + HEADER.encode() + b":"
"""The beginning of the header's line in a header block."""

current: ContextVar[float | None] = ContextVar("micro_deadline", default=None)
"""The deadline of the request that is being handled; requests made by its handler inherit it."""

_MAX_DIGITS = 12

_ALONE = len(b"NATS/1.0") + len(LINE) + 1 + _MAX_DIGITS + len(b"\r\n\r\n")
"""Bytes of a header block with no other header: callers send the same few blocks repeatedly."""


def patience(headers: bytes | Mapping[str, str]) -> float | None:
    """Return the seconds that the headers of a request give, None when they give none.

    Args:
        headers: The header block as received, or the headers.
    """
    if isinstance(headers, bytes):
        return _read_again(headers) if len(headers) <= _ALONE else _read(headers)
    value = headers.get(HEADER)
    return None if value is None else from_value(value.encode())


def from_value(value: bytes) -> float | None:
    """Return the seconds of the value of the header, None when it cannot be read."""
    digits = value.strip()
    usable = digits.isdigit() and len(digits) <= _MAX_DIGITS
    return int(digits) / 1000 if usable else None


def _read(headers: bytes) -> float | None:
    start = headers.find(LINE)
    if start < 0:
        return None
    start += len(LINE)
    return from_value(headers[start : headers.find(b"\r", start)])


_read_again = lru_cache(maxsize=1024)(_read)


def header_value(seconds: float) -> str:
    """Return the value of the header for a time-out."""
    return str(max(0, int(seconds * 1000)))


def with_patience(headers: Mapping[str, str] | None, seconds: float) -> Mapping[str, str]:
    """Return headers with the header of the time-out added."""
    value = header_value(seconds)
    return {**headers, HEADER: value} if headers else {HEADER: value}
