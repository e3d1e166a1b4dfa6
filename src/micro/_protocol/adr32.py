"""Facts of the ADR-32 wire format that need no model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from micro._errors import ServiceError

PING_TYPE = "io.nats.micro.v1.ping_response"
INFO_TYPE = "io.nats.micro.v1.info_response"
STATS_TYPE = "io.nats.micro.v1.stats_response"

ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
SUCCESS_CODE = "Nats-Service-Success-Code"


def format_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC with a ``Z``; a time without zone is taken as UTC."""
    # Always with a fraction: nats-py's own reader refuses a time without one.
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def received_error(headers: Mapping[str, str], subject: str, data: bytes) -> ServiceError | None:
    """Return the service error that a received answer is, or None for a success.

    Either header marks an error. A missing or unusable code becomes 500, a missing text
    ``service error``.
    """
    text, code = headers.get(ERROR), headers.get(ERROR_CODE)
    if text is None and code is None:
        return None
    usable = code is not None and code.isascii() and code.isdigit() and len(code) <= 9
    rest = {name: value for name, value in headers.items() if name not in (ERROR, ERROR_CODE)}
    number = int(code) if code is not None and usable else 500
    return ServiceError(number, text or "service error", subject, data, rest)


def one_line(description: str) -> str:
    """Return an error's description as it travels, in the header and in ``last_error``."""
    # Half of a surrogate pair, as JSON may carry it, cannot be sent.
    text = description.encode(errors="replace").decode()
    return " ".join(text.split()) or "error"
