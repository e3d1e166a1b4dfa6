"""The COMPATIBILITY levels: whether content may follow the versions before it."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from micro_schema_registry._errors import Cause

_FORMATS = {
    "AVRO": "micro_schema_registry._compatibility.avro_rules",
    "JSON": "micro_schema_registry._compatibility.json_schema.rules",
    "PROTOBUF": "micro_schema_registry._compatibility.protobuf_rules",
}


@dataclass(frozen=True)
class SchemaText:
    """Content with the (name, content) pairs that it refers to, dependencies first."""

    content: str
    references: tuple[tuple[str, str], ...] = ()


class Format(Protocol):
    """The functions of a module for one artifact type; `parse` defines the form of a schema."""

    def parse(self, text: SchemaText) -> Any:
        """Return the schema, or raise ValueError with the reason why it is none."""
        ...

    def unreadable(self, reader: Any, writer: Any) -> list[Cause]:
        """Return why the reader cannot read data of the writer; empty if it always can."""
        ...

    def misused(self, new: Any, old: Any) -> list[Cause]:
        """Return changes that a successor must not make although both sides read all data."""
        ...


def parse(artifact_type: str, text: SchemaText) -> None:
    """Check that content is a valid schema; types without a format module are taken as they are.

    Raises:
        ValueError: It is not; the message is the reason.
    """
    if artifact_type in _FORMATS:
        _SCHEMAS.parse(artifact_type, text)


def incompatibilities(
    artifact_type: str, level: str, new: SchemaText, existing: Sequence[SchemaText]
) -> tuple[Cause, ...]:
    """Return why `new` may not follow `existing` (oldest first) under a level; empty if it may.

    BACKWARD: the new schema reads data of the last one. FORWARD: the last one reads data of the new
        schema. FULL: both. `_TRANSITIVE`: the same for all of them. The same text is always
        compatible with itself.

    Raises:
        ValueError: One of the schemas is not valid.
    """
    direction, transitive, _ = level.partition("_TRANSITIVE")
    compared = [old for old in (existing if transitive else existing[-1:]) if old != new]
    if direction == "NONE" or not compared:
        return ()
    if artifact_type not in _FORMATS:
        reason = f"artifact type {artifact_type!r} cannot be compared: expected COMPATIBILITY NONE"
        return (Cause(reason),)
    causes: dict[Cause, None] = {}  # in order, each once
    for old in compared:
        causes |= dict.fromkeys(_between(artifact_type, direction, new, old))
    return tuple(causes)


def _between(artifact_type: str, direction: str, new: SchemaText, old: SchemaText) -> list[Cause]:
    schema_format = _format(artifact_type)
    successor = _SCHEMAS.parse(artifact_type, new)
    predecessor = _SCHEMAS.parse(artifact_type, old)
    causes = schema_format.misused(successor, predecessor)
    if direction in {"BACKWARD", "FULL"}:
        causes += schema_format.unreadable(successor, predecessor)
    if direction in {"FORWARD", "FULL"}:
        causes += schema_format.unreadable(predecessor, successor)
    return causes


class _ParsedSchemas:
    """The schemas parsed last; their size bounds the memory."""

    def __init__(self) -> None:
        self._schemas: OrderedDict[tuple[str, SchemaText], tuple[int, Any]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def parse(self, artifact_type: str, text: SchemaText) -> Any:
        """Return a schema, parsed now or before."""
        key = (artifact_type, text)
        with self._lock:
            if key in self._schemas:
                self._schemas.move_to_end(key)
                return self._schemas[key][1]
        schema = _format(artifact_type).parse(text)
        size = len(text.content) + sum(len(content) for _, content in text.references)
        size *= _WEIGHTS.get(artifact_type, 1)
        with self._lock:
            if size <= _MAX_KEPT and key not in self._schemas:
                self._schemas[key] = (size, schema)
                self._size += size
            while self._size > _MAX_KEPT or len(self._schemas) > _MAX_COUNT:
                self._size -= self._schemas.popitem(last=False)[1][0]
        return schema


# The newest versions are compared again and again. In characters of text; a JSON Schema takes about
# four times as much memory as another schema of its size.
_MAX_KEPT = 12 * 1024 * 1024
_WEIGHTS = {"JSON": 4}
_MAX_COUNT = 256
_SCHEMAS = _ParsedSchemas()


def _format(artifact_type: str) -> Format:
    # Imported on first use: each brings a library that a user of another type need not load.
    return cast(Format, import_module(_FORMATS[artifact_type]))
