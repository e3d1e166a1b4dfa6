"""The operations of a service, as its INFO describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from micro._errors import ConfigError
from micro._protocol.adr32 import ITEMS, REQUEST, RESPONSE, SCHEMA, schema_in
from micro._protocol.models import EndpointInfo, ServiceInfo
from micro._protocol.subjects import version_order


class Payload(NamedTuple):
    """What discovery says of requests or answers.

    Attributes:
        schema: The JSON Schema; None without one.
        content_type: The content type; None when it is not said.
        message: The name of a Protobuf message; empty without one.
    """

    schema: dict[str, Any] | None
    content_type: str | None
    message: str

    @property
    def sha256(self) -> str:
        """The hash of the schema, whose members are sorted."""
        return hashlib.sha256(json.dumps(self.schema, sort_keys=True).encode()).hexdigest()


class Operation(NamedTuple):
    """An endpoint that callers use.

    Attributes:
        name: Its name.
        subject: Its subject.
        queue_group: Its queue group; empty for none.
        description: Its description; empty without one.
        request: The requests.
        response: The answers.
        metadata: Its metadata without schemas.
        streams: Whether it answers with many messages.
        items: The items that callers send; None if they send none.
    """

    name: str
    subject: str
    queue_group: str
    description: str
    request: Payload
    response: Payload
    metadata: dict[str, str]
    streams: bool
    items: Payload | None = None


def operations_of(info: ServiceInfo) -> list[Operation]:
    """Return the operations of a service, by subject.

    Raises:
        ConfigError: INFO has hashes in place of the schemas.
    """
    return sorted((_operation(each) for each in info.endpoints), key=lambda each: each.subject)


def newest(infos: Iterable[ServiceInfo]) -> ServiceInfo:
    """Return the instance of the newest version, of several the one with the least id."""
    by_id = sorted(infos, key=lambda each: each.id, reverse=True)
    return max(by_id, key=lambda each: version_order(each.version))


def _operation(endpoint: EndpointInfo) -> Operation:
    metadata = endpoint.metadata
    return Operation(
        endpoint.name,
        endpoint.subject,
        endpoint.queue_group,
        metadata.get("description", ""),
        _payload(endpoint, REQUEST),
        _payload(endpoint, RESPONSE),
        {
            key: value
            for key, value in metadata.items()
            if not key.startswith((REQUEST, RESPONSE)) and key != "description"
        },
        metadata.get(f"{RESPONSE}stream") == "true",
        _payload(endpoint, ITEMS) if metadata.get(f"{REQUEST}stream") == "true" else None,
    )


def _payload(endpoint: EndpointInfo, part: str) -> Payload:
    metadata: Mapping[str, str] = endpoint.metadata
    key = part + SCHEMA
    if key not in metadata and f"{key}.sha256" in metadata:
        raise ConfigError(
            f"endpoint {endpoint.name!r} shows only hashes of its schemas, because INFO exceeds "
            "64 KiB: generate from the program instead"
        )
    return Payload(
        schema_in(metadata, part),
        metadata.get(f"{part}content_type"),
        metadata.get(f"{part}message", ""),
    )
