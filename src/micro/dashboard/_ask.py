"""The request form of the page: check, send, outcome in JSON types."""

from __future__ import annotations

import base64
import time
from typing import Any

import nats.errors
from pydantic import BaseModel, ConfigDict, Field

from micro._client.client import Client
from micro._connection.tool_connection import ToolConnection
from micro._errors import ConfigError, MicroError, ServiceError
from micro._protocol.subjects import check_prefix, check_subject

MAX_TIMEOUT = 60.0


class Ask(BaseModel):
    """A request of the page.

    Attributes:
        subject: The subject, without wildcards and without a leading `$`.
        data: The payload, as text.
        headers: The headers.
        timeout: Seconds to wait for the answer.
    """

    model_config = ConfigDict(extra="forbid")

    subject: str
    data: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float = Field(default=5.0, gt=0, le=MAX_TIMEOUT)


async def ask(source: ToolConnection, request: Ask) -> dict[str, Any]:
    """Send a request; return `outcome` ("reply", "error" or "failed"), content and time."""
    client = Client(source.nc)
    start = time.perf_counter()
    try:
        outcome = await _send(client, request)
    except ServiceError as error:
        outcome = {
            "outcome": "error",
            "code": error.code,
            "description": error.description,
            "headers": error.headers,
            **_payload(error.data),
        }
    except nats.errors.NoRespondersError:
        outcome = _failed(f"No service listens on {request.subject}")
    except TimeoutError:
        silence = f"No answer from {request.subject} within {request.timeout:g} s"
        outcome = _failed(source.refusal("publish", request.subject) or silence)
    except (MicroError, nats.errors.Error, UnicodeError) as error:
        outcome = _failed(str(error))
    return {**outcome, "elapsed_ms": round((time.perf_counter() - start) * 1000, 2)}


async def _send(client: Client, request: Ask) -> dict[str, Any]:
    check_subject(request.subject)
    check_prefix("subject", request.subject)  # without wildcards
    if not client.nc.is_connected:  # else it would be sent too late
        raise ConfigError("there is no connection to a NATS server")
    answer = await client.request(
        request.subject, request.data.encode(), request.headers, request.timeout
    )
    return {"outcome": "reply", "headers": dict(answer.headers or {}), **_payload(answer.data)}


def _failed(why: str) -> dict[str, Any]:
    return {"outcome": "failed", "description": why}


def _payload(data: bytes) -> dict[str, Any]:
    try:
        return {"data": data.decode(), "is_base64": False}
    except UnicodeDecodeError:
        return {"data": base64.b64encode(data).decode(), "is_base64": True}
