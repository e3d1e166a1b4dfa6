"""How much one endpoint takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one endpoint takes on; beyond it, requests are refused with 503.

    Attributes:
        max_in_flight: Requests that run side by side; 1 keeps the order of arrival.
        pending_msgs: Requests that wait for one of them to end.
        pending_bytes: Payload bytes of the waiting requests.
        timeout: Seconds that a handler may take; then it is cancelled and its caller gets 504. As long
            may a request wait for its turn; then its caller gets 503.
        reply_prefixes: What the reply subjects of callers must begin with; None allows any.
    """

    max_in_flight: int = 512
    timeout: float | None = None
    pending_msgs: int = 4096
    pending_bytes: int = 32 * 1024 * 1024
    reply_prefixes: tuple[bytes, ...] | None = None
