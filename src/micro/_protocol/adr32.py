"""The wire format of ADR-32 as services write it; no other module names its fields.

The models read the same format, liberally and with pydantic, which a service does not need.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from micro._errors import ServiceError

PING_TYPE = "io.nats.micro.v1.ping_response"
INFO_TYPE = "io.nats.micro.v1.info_response"
STATS_TYPE = "io.nats.micro.v1.stats_response"

ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
SUCCESS_CODE = "Nats-Service-Success-Code"

EVENTS = "micro.events"
"""Metadata of INFO and STATS: the handlers of events as a JSON array, each in the form of an
endpoint. A field of its own would break strict readers of ADR-32."""
REQUEST = "micro.request."
RESPONSE = "micro.response."
ITEMS = "micro.request.items."
SCHEMA = "schema"
"""`micro.request.schema` in the metadata of an endpoint is the JSON Schema of its payloads."""

_PRINTABLE = re.compile(r"[ -~]*")
_UNPRINTABLE = re.compile(r"[^ -~]")
_MAX_BYTES = 4
"""Limit on the bytes of a character in UTF-8."""


class Counters(Protocol):
    """The counters of an endpoint; times are nanoseconds."""

    num_requests: int
    num_errors: int
    last_error: str
    processing_time: int


def schema_in(metadata: Mapping[str, str], part: str) -> dict[str, Any] | None:
    """Return the JSON Schema of requests or answers in the metadata of an endpoint.

    None stands for no schema, and for one that cannot be read.
    """
    try:
        schema = json.loads(metadata.get(part + SCHEMA, "null"))
    except (ValueError, RecursionError):
        return None
    return schema if isinstance(schema, dict) else None


def identity(name: str, id: str, version: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that all three answers begin with."""
    return {"name": name, "id": id, "version": version, "metadata": metadata}


def endpoint_info(
    name: str, subject: str, queue_group: str, metadata: Mapping[str, str]
) -> dict[str, Any]:
    """Return an endpoint's part of INFO."""
    return {"name": name, "subject": subject, "queue_group": queue_group, "metadata": metadata}


def endpoint_stats(
    name: str, subject: str, queue_group: str, counters: Counters, data: Any
) -> dict[str, Any]:
    """Return an endpoint's part of STATS, without `data` if that is None.

    The average is truncated, 0 before the first request.
    """
    requests, total = counters.num_requests, counters.processing_time
    part = {
        "name": name,
        "subject": subject,
        "queue_group": queue_group,
        "num_requests": requests,
        "num_errors": counters.num_errors,
        "last_error": counters.last_error,
        "processing_time": total,
        "average_processing_time": total // requests if requests else 0,
    }
    return part if data is None else {**part, "data": data}


def ping(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to PING of an identity."""
    return {"type": PING_TYPE, **of}


def info(
    of: Mapping[str, Any],
    description: str,
    endpoints: list[dict[str, Any]],
    events: str = "",
) -> dict[str, Any]:
    """Return the answer to INFO of an identity.

    Handlers of events are not among the endpoints, since no caller can send them requests.

    Args:
        of: The identity.
        description: The description of the service.
        endpoints: Its endpoints.
        events: The JSON array of its handlers of events; empty for none.
    """
    body = {"type": INFO_TYPE, **_with_events(of, events)}
    return {**body, "description": description, "endpoints": endpoints}


def stats(
    of: Mapping[str, Any],
    started: datetime,
    endpoints: list[dict[str, Any]],
    events: str = "",
) -> dict[str, Any]:
    """Return the answer to STATS of an identity; see `info` for the events."""
    body = {"type": STATS_TYPE, **_with_events(of, events)}
    return {**body, "started": format_time(started), "endpoints": endpoints}


def _with_events(of: Mapping[str, Any], events: str) -> Mapping[str, Any]:
    return {**of, "metadata": {**of["metadata"], EVENTS: events}} if events else of


def format_time(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC with a `Z`; a time without a zone is taken as UTC."""
    # Always with a fraction: nats-py's own reader refuses a time without one.
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def received_error(
    headers: Mapping[str, str],
    subject: str,
    data: bytes,
    kind: type[ServiceError] = ServiceError,
) -> ServiceError | None:
    """Return the service error of a received answer, or None for a success.

    Either header marks an error. A missing or unusable code becomes 500, a missing text
    `service error`. A text with characters that headers cannot carry is taken from the payload.
    """
    text, code = headers.get(ERROR), headers.get(ERROR_CODE)
    if text is None and code is None:
        return None
    usable = code is not None and code.isascii() and code.isdigit() and len(code) <= 9
    rest = {name: value for name, value in headers.items() if name not in (ERROR, ERROR_CODE)}
    number = int(code) if code is not None and usable else 500
    if number == 0 and kind is ServiceError:
        number = 500  # only a client receives it, from services in other languages
    return kind(number, _whole_text(text or "service error", data), subject, data, rest)


def one_line(description: str) -> str:
    """Return the description of an error as one line, for the header and `last_error`."""
    # Half of a surrogate pair, as JSON may carry it, cannot be sent.
    text = description.encode(errors="replace").decode()
    return " ".join(text.split()) or "error"


def header_text(line: str) -> str:
    """Return one line as ADR-4 allows it in a header: printable ASCII, `?` for anything else."""
    return line if _PRINTABLE.fullmatch(line) else _UNPRINTABLE.sub("?", line)


def _whole_text(text: str, data: bytes) -> str:
    """Return the text that a payload has in full, if a header has it with `?` in places."""
    if "?" in text and len(text) <= len(data) <= _MAX_BYTES * len(text):
        whole = data.decode(errors="replace")
        if header_text(whole) == text:
            return whole
    return text
