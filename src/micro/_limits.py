"""How much one endpoint takes on."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from micro._errors import ConfigError

WAITING_PER_SLOT = 8
LEAST_WAITING = 64


class Limits(NamedTuple):
    """How much one endpoint takes on; beyond it, requests are refused with 503.

    Attributes:
        max_in_flight: Requests that run side by side; 1 keeps the order of arrival.
        timeout: Seconds that a handler may take; then it is cancelled and its caller gets 504. As long
            may a request wait for its turn; then its caller gets 503.
        pending_msgs: Requests that wait for one of them to end.
        pending_bytes: Payload bytes of the waiting requests.
        reply_prefixes: What the reply subjects of callers must begin with; None allows any.
    """

    max_in_flight: int = 512
    timeout: float | None = None
    pending_msgs: int = 4096
    pending_bytes: int = 32 * 1024 * 1024
    reply_prefixes: tuple[bytes, ...] | None = None


@lru_cache(maxsize=64)  # most endpoints of a service have the same
def limits(
    max_in_flight: int | None,
    timeout: float | None,
    pending_msgs: int | None,
    pending_bytes: int | None,
    reply_prefixes: tuple[str, ...] | None,
) -> Limits:
    """Return the limits, with defaults for None; eight requests may wait for each that runs.

    Raises:
        ConfigError: A limit is negative, or nothing could run.
    """
    default = Limits()
    running = default.max_in_flight if max_in_flight is None else max_in_flight
    waiting = pending_msgs
    if waiting is None:
        waiting = max(LEAST_WAITING, WAITING_PER_SLOT * running)
    size = default.pending_bytes if pending_bytes is None else pending_bytes
    if running < 1:
        raise ConfigError(f"invalid max_in_flight {running!r}: expected at least 1")
    if waiting < 0 or size < 0:
        raise ConfigError(
            f"invalid pending limits {waiting!r} messages, {size!r} bytes: expected at least 0"
        )
    if timeout is not None and timeout <= 0:
        raise ConfigError(f"invalid timeout {timeout!r}: expected seconds above 0")
    prefixes = None if reply_prefixes is None else tuple(p.encode() for p in reply_prefixes)
    return Limits(running, timeout, waiting, size, prefixes)
