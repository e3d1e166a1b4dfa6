"""Protobuf payloads: handlers take and return generated message classes. Extra: `protobuf`.

await service.add_endpoint("place", place, codec=protobuf.codec)
"""

from __future__ import annotations

import base64
from typing import Any

from micro._errors import ConfigError
from micro._handlers.codec import Codec

__all__ = ["codec"]

_METHODS = ("FromString", "SerializeToString", "DESCRIPTOR")


def _encode(value: Any, kind: Any) -> bytes:
    if kind is not Any and not isinstance(value, kind):
        raise ValueError(f"expected {kind.__name__}, not {type(value).__name__}")
    encoded: bytes = value.SerializeToString()
    return encoded


def _decode(payload: bytes, kind: Any) -> Any:
    try:
        return kind.FromString(payload)
    except Exception as error:
        raise ValueError(f"expected a message {kind.DESCRIPTOR.full_name!r}") from error


def _describe(kind: Any) -> dict[str, str]:
    if not all(hasattr(kind, name) for name in _METHODS):
        raise ConfigError(f"invalid handler type {kind!r}: expected a protobuf message class")
    proto = _file_of(kind.DESCRIPTOR)
    return {"message": kind.DESCRIPTOR.full_name, "descriptor": base64.b64encode(proto).decode()}


def _file_of(descriptor: Any) -> bytes:
    """Return the serialized FileDescriptorProto of the file that declares a message."""
    serialized: bytes = descriptor.file.serialized_pb
    return serialized


codec = Codec("application/protobuf", _encode, _decode, describe=_describe)
"""The codec of Protobuf; discovery has the names of messages and the descriptors of their files."""
