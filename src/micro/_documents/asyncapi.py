"""AsyncAPI 3.0 documents of services: operations with replies, events, schemas, errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from nats.aio.client import Client as NatsClient

from micro._documents.operations import Operation, Payload, newest, operations_of
from micro._protocol.adr32 import ERROR, ERROR_CODE
from micro._protocol.models import ServiceInfo
from micro._wire import nats_py

JSON = "application/json"

SECURITY = {
    "userPassword": {"type": "userPassword", "description": "User and password, or NATS_USER."},
    "token": {"type": "apiKey", "in": "password", "description": "A token, or NATS_TOKEN."},
    "nkey": {"type": "asymmetricEncryption", "description": "An nkey, or NATS_NKEY."},
    "jwt": {"type": "asymmetricEncryption", "description": "Credentials of nsc, or NATS_CREDS."},
    "tls": {"type": "X509", "description": "A certificate of the client, or NATS_CERT."},
}
"""The ways of nats-server to authenticate a client."""

_HEADERS = {
    "type": "object",
    "properties": {
        ERROR: {"type": "string", "description": "One line that describes the error."},
        ERROR_CODE: {"type": "string", "description": "The code; most are those of HTTP."},
    },
    "required": [ERROR, ERROR_CODE],
}
_INVALID = {
    "type": "array",
    "description": "The invalid members of a request that was refused with 400.",
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
            "msg": {"type": "string"},
        },
        "required": ["type", "loc", "msg"],
    },
}
_ERROR = {
    "name": "ServiceError",
    "title": "Error of a service (ADR-32)",
    "headers": _HEADERS,
    "payload": {"$ref": "#/components/schemas/InvalidMembers"},
}


def asyncapi(
    infos: Iterable[ServiceInfo], *, servers: Iterable[str] = (), secured: bool = False
) -> dict[str, Any]:
    """Return the AsyncAPI document of services; of each the newest version.

    Args:
        infos: The INFO of the services.
        servers: The addresses of NATS servers, `host:port`.
        secured: Whether the servers ask for credentials.

    Raises:
        ConfigError: INFO has hashes in place of the schemas.
    """
    by_name: dict[str, list[ServiceInfo]] = {}
    for info in infos:
        by_name.setdefault(info.name, []).append(info)
    services = [newest(by_name[name]) for name in sorted(by_name)]
    writer = _Writer()
    for service in services:
        writer.add(service)
    document = {"asyncapi": "3.0.0", "info": _info(services), "defaultContentType": JSON}
    if listed := _servers(servers, secured=secured):
        document["servers"] = listed
    return {**document, **writer.document()}


def of_server(nc: NatsClient, infos: Iterable[ServiceInfo]) -> dict[str, Any]:
    """Return the AsyncAPI document of services on the server of a connection.

    Raises:
        ConfigError: INFO has hashes in place of the schemas.
    """
    url = nc.connected_url
    servers = [] if url is None else [f"{url.hostname}:{url.port}"]
    secured = bool(nats_py.server_info(nc).get("auth_required"))
    return asyncapi(infos, servers=servers, secured=secured)


def _info(services: list[ServiceInfo]) -> dict[str, Any]:
    if len(services) == 1:
        (one,) = services
        described = {"description": one.description} if one.description else {}
        return {"title": one.name, "version": one.version, **described}
    listed = "\n".join(f"- {each.name} {each.version}: {each.description}" for each in services)
    return {"title": "NATS services", "version": "1.0.0", "description": listed}


def _servers(addresses: Iterable[str], *, secured: bool) -> dict[str, Any]:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY]
    return {
        f"nats{number}": {
            "host": address,
            "protocol": "nats",
            **({"security": security} if secured else {}),
        }
        for number, address in enumerate(sorted(set(addresses)), 1)
    }


class _Writer:
    """The parts of a document that services add."""

    def __init__(self) -> None:
        self._channels: dict[str, Any] = {}
        self._operations: dict[str, Any] = {}
        self._messages: dict[str, Any] = {"ServiceError": _ERROR}
        self._schemas: dict[str, Any] = {"InvalidMembers": _INVALID}

    def document(self) -> dict[str, Any]:
        """Return the parts."""
        return {
            "channels": self._channels,
            "operations": self._operations,
            "components": {
                "messages": self._messages,
                "schemas": self._schemas,
                "securitySchemes": SECURITY,
            },
        }

    def add(self, service: ServiceInfo) -> None:
        """Add the endpoints and the handlers of events of a service."""
        for operation in operations_of(service):
            key = self._free(f"{service.name}.{operation.name}", operation)
            sent = {} if operation.items is None else {"item": operation.items}
            self._channel(key, operation, {"request": operation.request, **sent})
            reply = {"response": operation.response}
            self._channels[f"{key}.reply"] = {
                "address": None,
                "messages": {
                    **self._add_messages(key, reply),
                    "error": {"$ref": "#/components/messages/ServiceError"},
                },
            }
            written = self._operation(key, service, operation)
            if operation.streams:
                written["x-stream"] = True
            if operation.items is not None:
                written["x-upload"] = True
            written["reply"] = {
                "channel": _channel(f"{key}.reply"),
                "messages": [_message(f"{key}.reply", each) for each in ("response", "error")],
            }
        events = service.model_copy(update={"endpoints": service.events})
        for operation in operations_of(events):
            key = self._free(f"{service.name}.{operation.name}", operation)
            self._channel(key, operation, {"request": operation.request})
            self._operation(key, service, operation)

    def _free(self, wanted: str, operation: Operation) -> str:
        """Return a key for an operation; endpoints of one name have the subject in theirs."""
        key = _key(wanted)
        return key if key not in self._channels else _key(f"{wanted}.{operation.subject}")

    def _channel(self, key: str, operation: Operation, messages: dict[str, Payload]) -> None:
        address, parameters = _address(operation.subject)
        self._channels[key] = {
            "address": address,
            "messages": self._add_messages(key, messages),
            **({"parameters": parameters} if parameters else {}),
        }

    def _operation(self, key: str, service: ServiceInfo, operation: Operation) -> dict[str, Any]:
        written: dict[str, Any] = {
            "action": "receive",
            "channel": _channel(key),
            "messages": [
                _message(key, each)
                for each in ("request", "item")
                if each == "request" or operation.items is not None
            ],
            "tags": [{"name": service.name}],
        }
        if operation.description:
            written["description"] = operation.description
        if operation.queue_group:
            written["bindings"] = {"nats": {"queue": operation.queue_group[:255]}}
        if operation.metadata:
            written["x-metadata"] = operation.metadata
        self._operations[key] = written
        return written

    def _add_messages(self, key: str, payloads: Mapping[str, Payload]) -> dict[str, Any]:
        added = {}
        for part, payload in payloads.items():
            name = f"{key}.{part}"
            message: dict[str, Any] = {"name": name}
            if payload.content_type is not None:
                message["contentType"] = payload.content_type
            if payload.schema is not None:
                message["payload"] = self._schema(payload.schema)
            elif payload.message:
                message["summary"] = f"Protobuf message {payload.message}"
            self._messages[name] = message
            added[part] = {"$ref": f"#/components/messages/{name}"}
        return added

    def _schema(self, schema: dict[str, Any]) -> Any:
        """Return a schema whose definitions stand among the components."""
        definitions = schema.get("$defs", {})
        names = {name: self._name(name, body, definitions) for name, body in definitions.items()}
        for name, body in definitions.items():
            self._schemas[names[name]] = _converted(body, names)
        return _converted({k: v for k, v in schema.items() if k != "$defs"}, names)

    def _name(self, name: str, body: Any, definitions: Any) -> str:
        """Return the name of a definition; another one if a different schema has the name."""
        key, number = _key(name), 2
        chosen = key
        plain = {each: _key(each) for each in definitions}
        while chosen in self._schemas and self._schemas[chosen] != _converted(body, plain):
            chosen, number = f"{key}{number}", number + 1
        return chosen


def _key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text, flags=re.ASCII)


def _channel(key: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{key}"}


def _message(key: str, part: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{key}/messages/{part}"}


def _address(subject: str) -> tuple[str, dict[str, Any]]:
    """Return the address of a subject: a wildcard becomes a parameter."""
    parameters: dict[str, Any] = {}
    parts = subject.split(".")
    for index, part in enumerate(parts):
        if part in _WILDCARDS:
            name, description = _WILDCARDS[part]
            name = name.format(index + 1)
            parameters[name] = {"description": description}
            parts[index] = f"{{{name}}}"
    return ".".join(parts), parameters


_WILDCARDS = {"*": ("token{}", "A token of the subject."), ">": ("rest", "One or more tokens.")}


def _converted(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema of JSON Schema 2020-12 as AsyncAPI has it, after draft 7."""
    if isinstance(schema, list):
        return [_converted(each, names) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    converted: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties") and isinstance(value, Mapping):
            converted[key] = {name: _converted(each, names) for name, each in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            converted[key] = value
        elif key == "discriminator" and isinstance(value, Mapping):
            converted[key] = value.get("propertyName")
        elif key == "prefixItems":
            converted["items"] = _converted(value, names)
        elif key == "$ref":
            target = str(value).removeprefix("#/$defs/")
            converted["$ref"] = f"#/components/schemas/{names.get(target, _key(target))}"
        else:
            converted[key] = _converted(value, names)
    if "$ref" in converted and len(converted) > 1:  # siblings of a reference are ignored
        return {"allOf": [{"$ref": converted.pop("$ref")}], **converted}
    return converted


def as_text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON, the same text for the same document."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
