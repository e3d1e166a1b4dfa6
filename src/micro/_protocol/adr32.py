"""Facts of the ADR-32 wire format that need no model."""

from __future__ import annotations

from datetime import UTC, datetime

PING_TYPE = "io.nats.micro.v1.ping_response"
INFO_TYPE = "io.nats.micro.v1.info_response"
STATS_TYPE = "io.nats.micro.v1.stats_response"


def format_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC with a ``Z``; a time without zone is taken as UTC."""
    # Always with a fraction: nats-py's own reader refuses a time without one.
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
