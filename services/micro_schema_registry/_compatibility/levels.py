"""Whether content may follow the versions before it: COMPATIBILITY levels over one format module per artifact type."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, cast

from micro_schema_registry._compatibility.room import with_room
from micro_schema_registry._errors import Cause

LEVELS = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)
_FORMATS = {
    "AVRO": "micro_schema_registry._compatibility.avro_rules",
    "JSON": "micro_schema_registry._compatibility.json_rules",
    "PROTOBUF": "micro_schema_registry._compatibility.protobuf_rules",
}


@dataclass(frozen=True)
class SchemaText:
    """Hold content with the (name, content) pairs it refers to, those it needs first coming first."""

    content: str
    references: tuple[tuple[str, str], ...] = ()


class Format(Protocol):
    """Describe a module that knows one artifact type; a schema is whatever its ``parse`` returns."""

    def parse(self, text: SchemaText) -> Any:
        """Return the schema, or raise ValueError with the reason why it is none."""
        ...

    def unreadable(self, reader: Any, writer: Any) -> list[Cause]:
        """Return why data written with one schema cannot be read with the other; empty if it always can."""
        ...

    def misused(self, new: Any, old: Any) -> list[Cause]:
        """Return what a successor must not do although each side could read the other's data."""
        ...


def parse(artifact_type: str, text: SchemaText) -> None:
    """Check that content is a valid schema; types without a format module are taken as they are.

    Raises:
        ValueError: it is not; the message is the reason.
    """
    if artifact_type in _FORMATS:
        with_room(_parsed, artifact_type, text)


def incompatibilities(
    artifact_type: str, level: str, new: SchemaText, existing: Sequence[SchemaText]
) -> tuple[Cause, ...]:
    """Return why ``new`` may not follow ``existing`` (oldest first) under a level; empty if it may.

    BACKWARD: the new schema reads data of the last one. FORWARD: the last one reads data of the new schema. FULL: both.
    ``_TRANSITIVE``: the same for all of them. The same text is always compatible with itself.

    Raises:
        ValueError: one of the schemas is not valid.
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
        causes |= dict.fromkeys(with_room(_between, artifact_type, direction, new, old))
    return tuple(causes)


def _between(artifact_type: str, direction: str, new: SchemaText, old: SchemaText) -> list[Cause]:
    schema_format = _format(artifact_type)
    successor, predecessor = _parsed(artifact_type, new), _parsed(artifact_type, old)
    causes = schema_format.misused(successor, predecessor)
    if direction in {"BACKWARD", "FULL"}:
        causes += schema_format.unreadable(successor, predecessor)
    if direction in {"FORWARD", "FULL"}:
        causes += schema_format.unreadable(predecessor, successor)
    return causes


def _parsed(artifact_type: str, text: SchemaText) -> Any:
    size = len(text.content) + sum(len(content) for _, content in text.references)
    parse_it = _parse if size > _MAX_KEPT else _parse_and_keep
    return parse_it(artifact_type, text)


def _parse(artifact_type: str, text: SchemaText) -> Any:
    return _format(artifact_type).parse(text)


# The newest versions are compared again and again; large ones are not kept, which bounds the memory.
_MAX_KEPT = 64 * 1024
_parse_and_keep = lru_cache(maxsize=256)(_parse)


def _format(artifact_type: str) -> Format:
    # Imported on first use: each brings a library that a user of another type need not load.
    return cast(Format, import_module(_FORMATS[artifact_type]))
