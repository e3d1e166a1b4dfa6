"""The payload of a plain request: bytes as they are, everything else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from micro._errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

Payload: TypeAlias = "bytes | Mapping[str, Any] | BaseModel | None"
"""Bytes, or a value that is sent as JSON, such as a dict or a pydantic model; None is empty."""


def payload_of(data: Payload) -> bytes:
    """Return the payload of a request.

    Raises:
        ConfigError: It is a text, which may mean itself or JSON, or it has no JSON.
    """
    given: object = data
    if given is None:
        return b""
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if isinstance(given, str):
        raise ConfigError(
            "invalid payload of type 'str': expected bytes, or a dict or model to send as JSON"
        )
    from micro._client import payloads  # imports pydantic

    return payloads.encode(given)
