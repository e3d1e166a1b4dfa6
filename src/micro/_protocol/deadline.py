"""The deadline of a request: seconds in a header, then a moment of the event loop's clock.

Micro-Timeout-Ms: 1500      the caller waits 1,500 ms more, counted from the sending
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context, ContextVar, copy_context
from functools import lru_cache
from typing import Protocol

from micro._protocol.headers import encode_headers

HEADER = "Micro-Timeout-Ms"
"""The header of the time-out; handlers do not see it."""

PRECISION = 0.001
"""Seconds that the value of the header may be less than the time-out."""

LINE = b"\r\n" + HEADER.encode() + b":"
"""The beginning of the header's line in a header block."""


class Bound(Protocol):
    """Work that ends by a deadline, on the event loop's clock; None once the work has ended."""

    deadline: float | None


current: ContextVar[Bound | None] = ContextVar("micro_deadline", default=None)
"""The request that is being handled; requests made by its handler inherit its deadline.

Tasks that the handler starts share the value. The request has no deadline once it is answered, so
that a task that lives longer is bound by none.
"""

readers = False
"""Whether `current` is ever read. Without a client no request is made, and setting it costs."""


def inherited() -> float | None:
    """Return the deadline of the request that the caller works on, None without one."""
    bound = current.get()
    return None if bound is None else bound.deadline


def unbound_context() -> Context:
    """Return a copy of the context of the caller without the deadline of its request.

    Give it to tasks whose work several requests share, or that outlives one:

        asyncio.create_task(work(), context=micro.unbound_context())
    """
    context = copy_context()
    if current in context:
        context.run(current.set, None)
    return context


_MAX_DIGITS = 12

ALONE = len(b"NATS/1.0") + len(LINE) + 1 + _MAX_DIGITS + len(b"\r\n\r\n")
"""Bytes of a header block with no other header: callers send the same few blocks repeatedly."""


def from_value(value: bytes) -> float | None:
    """Return the seconds of the value of the header, None when it cannot be read."""
    digits = value.strip()
    usable = digits.isdigit() and len(digits) <= _MAX_DIGITS
    return int(digits) / 1000 if usable else None


def from_block(headers: bytes) -> float | None:
    """Return the seconds in a header block, None when there are none."""
    start = headers.find(LINE)
    if start < 0:
        return None
    start += len(LINE)
    return from_value(headers[start : headers.find(b"\r", start)])


from_short_block = lru_cache(maxsize=1024)(from_block)
"""The same for a block not longer than `ALONE`, which callers send again and again."""


def header_value(seconds: float) -> str:
    """Return the value of the header for a time-out."""
    return str(max(0, int(seconds * 1000)))


def with_patience(headers: Mapping[str, str], seconds: float) -> Mapping[str, str]:
    """Return headers with the header of the time-out added."""
    return {**headers, HEADER: header_value(seconds)}


@lru_cache(maxsize=1024)  # most requests have the same time-out, or what is left of it
def alone(milliseconds: int) -> tuple[Mapping[str, str], bytes]:
    """Return the header of the time-out as the only one, and its header block."""
    headers = {HEADER: str(max(0, milliseconds))}
    return headers, encode_headers(headers)
