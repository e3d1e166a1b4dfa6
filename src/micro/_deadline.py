"""How much time a caller gives: told in a header, kept as a moment of the event loop's clock.

Micro-Timeout-Ms: 1500      the caller waits 1,500 ms more, counted from when this was sent
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache

from micro._headers import encode_headers

HEADER = "Micro-Timeout-Ms"
"""For the service, so that handlers do not see it among the headers."""

current: ContextVar[float | None] = ContextVar("micro_deadline", default=None)
"""The deadline of the request that is being handled; its own requests inherit it."""

_LINE = b"\r\n" + HEADER.encode() + b":"
_MAX_DIGITS = 12


def told(headers: bytes) -> float | None:
    """Return the seconds that a header block as it travels tells, None for none that can be read."""
    start = headers.find(_LINE)
    if start < 0:
        return None
    start += len(_LINE)
    return seconds(headers[start : headers.find(b"\r", start)])


@lru_cache(maxsize=1024)  # most callers give the same time
def seconds(value: bytes) -> float | None:
    """Return the seconds that the value of the header says, None for none that can be read."""
    digits = value.strip()
    return int(digits) / 1000 if digits.isdigit() and len(digits) <= _MAX_DIGITS else None


def header_value(seconds: float) -> str:
    """Return the value of the header for a time-out."""
    return str(max(0, int(seconds * 1000)))


@lru_cache(maxsize=1024)  # most requests give the same time, or what is left of it
def alone(milliseconds: int) -> tuple[Mapping[str, str], bytes]:
    """Return the headers that tell nothing but a time-out, and the same as they go over the wire."""
    headers = {HEADER: str(max(0, milliseconds))}
    return headers, encode_headers(headers)
