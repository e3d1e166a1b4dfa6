"""Avro: parsing, and which data a reader's schema can resolve (Avro specification, schema resolution)."""

import json
from typing import Any

from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    lookup_writer_field,
)
from avro.errors import AvroException
from avro.name import Names
from avro.schema import ArraySchema, MapSchema, RecordSchema, Schema, make_avsc_object

from micro_schema_registry._compatibility.levels import SchemaText
from micro_schema_registry._errors import Cause


def parse(text: SchemaText) -> Schema:
    """Parse a schema after those it names; see Format.parse."""
    names = Names()
    try:
        for _, content in text.references:
            make_avsc_object(_without_logical_types(json.loads(content)), names)
        return make_avsc_object(_without_logical_types(json.loads(text.content)), names)
    except (AvroException, TypeError, AttributeError, KeyError) as error:
        # The parser meets JSON of an unexpected shape with Python's own errors.
        raise ValueError(f"not an Avro schema: {error}") from error


def unreadable(reader: Schema, writer: Schema) -> list[Cause]:
    """Find what the reader cannot resolve; see Format.unreadable."""
    return _causes(reader, writer, "", set())


def misused(new: Schema, old: Schema) -> list[Cause]:
    """Find nothing: resolution says it all for Avro; see Format.misused."""
    return []


def _without_logical_types(schema: Any) -> Any:
    # They play no part in resolution, and the parser warns about those it does not know.
    if isinstance(schema, list):
        return [_without_logical_types(item) for item in schema]
    if isinstance(schema, dict):
        return {
            key: value if key in {"default", "doc"} else _without_logical_types(value)
            for key, value in schema.items()
            if key != "logicalType" or isinstance(value, dict | list)
        }
    return schema


def _causes(reader: Schema, writer: Schema, path: str, seen: set[tuple[int, int]]) -> list[Cause]:
    """Ask the checker for a verdict, then descend to the innermost pairs with the same verdict: it loses the places."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(  # type: ignore[no-untyped-call]  # it has no annotations
        reader, writer
    )
    if result.compatibility is not SchemaCompatibilityType.incompatible:
        return []
    pair = (id(reader), id(writer))
    if pair in seen:
        return []
    seen.add(pair)
    found: list[Cause] = []
    if isinstance(reader, RecordSchema) and isinstance(writer, RecordSchema):
        found = _field_causes(reader, writer, path, seen)
    elif isinstance(reader, ArraySchema) and isinstance(writer, ArraySchema):
        found = _causes(reader.items, writer.items, f"{path}/items", seen)
    elif isinstance(reader, MapSchema) and isinstance(writer, MapSchema):
        found = _causes(reader.values, writer.values, f"{path}/values", seen)
    if found:
        return found
    kinds = sorted({kind.value.replace("_", " ") for kind in result.incompatibilities})
    return [Cause(f"{', '.join(kinds)}: {'; '.join(sorted(result.messages))}", path or "/")]


def _field_causes(
    reader: RecordSchema, writer: RecordSchema, path: str, seen: set[tuple[int, int]]
) -> list[Cause]:
    found = []
    for field in reader.fields:
        place = f"{path}/fields/{field.name}"
        written = lookup_writer_field(writer, field)
        if written is not None:
            found += _causes(field.type, written.type, place, seen)
        elif not field.has_default:
            reason = f"reader field {field.name!r} has no default and the writer has no such field"
            found.append(Cause(reason, place))
    return found
