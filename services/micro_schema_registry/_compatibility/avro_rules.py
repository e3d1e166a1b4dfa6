"""Avro: parsing, and schema resolution as the Avro specification defines it."""

import json
from typing import Any

from avro.errors import AvroException
from avro.name import Names
from avro.schema import (
    ArraySchema,
    EnumSchema,
    FixedSchema,
    MapSchema,
    NamedSchema,
    RecordSchema,
    Schema,
    UnionSchema,
    make_avsc_object,
)

from micro_schema_registry._compatibility.levels import SchemaText
from micro_schema_registry._errors import Cause

# The types that a reader of a type accepts beside that type.
_PROMOTIONS = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "bytes": {"string"},
    "string": {"bytes"},
}


def parse(text: SchemaText) -> Schema:
    """Parse a schema after those it names; see `Format.parse`."""
    names = Names()
    try:
        for _, content in text.references:
            make_avsc_object(_without_logical_types(json.loads(content)), names)
        return make_avsc_object(_without_logical_types(json.loads(text.content)), names)
    except (AvroException, TypeError, AttributeError, KeyError) as error:
        # The parser meets JSON of an unexpected shape with Python's own errors.
        raise ValueError(f"not an Avro schema: {error}") from error


def unreadable(reader: Schema, writer: Schema) -> list[Cause]:
    """Return the places that the reader cannot resolve; see `Format.unreadable`."""
    resolution = _Resolution()
    return [] if resolution.resolves(reader, writer) else resolution.causes(reader, writer, "")


def misused(new: Schema, old: Schema) -> list[Cause]:
    """Return no cause: schema resolution decides alone for Avro; see `Format.misused`."""
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


class _Resolution:
    """The comparison of two schemas; each pair of their parts is compared once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}
        self._readable: list[tuple[int, int]] = []
        self._explained: set[tuple[int, int]] = set()
        self._branches: dict[int, dict[str, list[Schema]]] = {}

    def resolves(self, reader: Schema, writer: Schema) -> bool:
        """Tell whether the reader reads the writer's data; a pair inside itself counts as read."""
        pair = (id(reader), id(writer))
        known = self._known.get(pair)
        if known is None:
            self._known[pair] = True
            first = len(self._readable)
            self._readable.append(pair)
            known = self._resolves(reader, writer)
            if not known:
                # Pairs that were found readable meanwhile may depend on this pair.
                for other in self._readable[first:]:
                    del self._known[other]
                del self._readable[first:]
                self._known[pair] = False
        return known

    def _resolves(self, reader: Schema, writer: Schema) -> bool:
        if isinstance(writer, UnionSchema):
            for branch in writer.schemas:  # noqa: SIM110 - a plain loop, as schemas nest deeply
                if not self.resolves(reader, branch):
                    return False
            return True
        if isinstance(reader, UnionSchema):
            for branch in self._candidates(reader, writer):  # noqa: SIM110 - as above
                if self.resolves(branch, writer):
                    return True
            return False
        if _mismatches(reader, writer):
            return False
        for _, read, written in _parts(reader, writer):
            if written is None or not self.resolves(read, written):
                return False
        return True

    def _candidates(self, union: UnionSchema, writer: Schema) -> list[Schema]:
        """Return the branches that may read a schema: of a named one those of a fitting name."""
        if not isinstance(writer, NamedSchema):
            return list(union.schemas)
        by_name = self._branches.get(id(union))
        if by_name is None:
            by_name = self._branches[id(union)] = {}
            for branch in union.schemas:
                for name in _names(branch) if isinstance(branch, NamedSchema) else ():
                    by_name.setdefault(name, []).append(branch)
        return [*by_name.get(writer.name, ()), *by_name.get(f".{writer.fullname}", ())]

    def causes(self, reader: Schema, writer: Schema, path: str) -> list[Cause]:
        """Say why data cannot be read, at the innermost places."""
        pair = (id(reader), id(writer))
        if self.resolves(reader, writer) or pair in self._explained:
            return []
        self._explained.add(pair)
        place = path or "/"
        if isinstance(reader, UnionSchema):
            branches = writer.schemas if isinstance(writer, UnionSchema) else [writer]
            missing = [branch for branch in branches if not self.resolves(reader, branch)]
            return [cause for branch in missing for cause in self._lacking(reader, branch, place)]
        if isinstance(writer, UnionSchema):
            causes = [self.causes(reader, branch, path) for branch in writer.schemas]
            return list(dict.fromkeys(cause for each in causes for cause in each))
        reasons = [Cause(reason, place) for reason in _mismatches(reader, writer)]
        for step, read, written in _parts(reader, writer):
            if written is not None:
                reasons += self.causes(read, written, f"{path}/{step}")
            else:
                name = step.rpartition("/")[2]
                reason = f"reader field {name!r} has no default and the writer has no such field"
                reasons.append(Cause(reason, f"{path}/{step}"))
        return reasons

    def _lacking(self, union: UnionSchema, writer: Schema, place: str) -> list[Cause]:
        """Say why no branch reads a schema; with a branch of its name, why that one does not."""
        path = "" if place == "/" else place
        candidates = self._candidates(union, writer) if isinstance(writer, NamedSchema) else []
        causes = [cause for branch in candidates for cause in self.causes(branch, writer, path)]
        kind = writer.type.upper()
        lacking = Cause(f"missing union branch: reader union lacking writer type: {kind}", place)
        return causes or [lacking]


def _kind(schema: Schema) -> str:
    return "record" if isinstance(schema, RecordSchema) else str(schema.type)


def _mismatches(reader: Schema, writer: Schema) -> list[str]:
    """Return why two schemas do not match by themselves, without a look at their parts."""
    read, written = _kind(reader), _kind(writer)
    if read != written:
        promoted = written in _PROMOTIONS.get(read, ())
        shown = f"reader type: {reader.type} not compatible with writer type: {writer.type}"
        return [] if promoted else [f"type mismatch: {shown}"]
    reasons = []
    if (
        isinstance(reader, NamedSchema)
        and isinstance(writer, NamedSchema)
        and not {writer.name, f".{writer.fullname}"} & _names(reader)
    ):
        reasons.append(f"name mismatch: expected: {writer.fullname}")
    if (
        isinstance(reader, FixedSchema)
        and isinstance(writer, FixedSchema)
        and reader.size != writer.size
    ):
        reasons.append(f"fixed size mismatch: expected: {writer.size}, found: {reader.size}")
    if isinstance(reader, EnumSchema) and isinstance(writer, EnumSchema):
        lost = sorted(set(writer.symbols) - set(reader.symbols))
        if lost and reader.props.get("default") not in reader.symbols:
            reasons.append(f"missing enum symbols: {{{', '.join(map(repr, lost))}}}")
    return reasons


def _names(schema: NamedSchema) -> set[str]:
    """Return the names of a fitting writer: its last part, or a dot and a whole alias."""
    namespace = schema.fullname.rpartition(".")[0]
    full = (name if "." in name else f"{namespace}.{name}" for name in _aliases(schema))
    return {schema.name, *(f".{name.removeprefix('.')}" for name in full)}


def _aliases(declared: Any) -> list[str]:
    aliases = declared.props.get("aliases")
    return [name for name in aliases if isinstance(name, str)] if isinstance(aliases, list) else []


def _parts(reader: Schema, writer: Schema) -> list[tuple[str, Schema, Schema | None]]:
    """Return the pairs of parts that are read; without a writer's part, no data fill a field."""
    if isinstance(reader, ArraySchema) and isinstance(writer, ArraySchema):
        return [("items", reader.items, writer.items)]
    if isinstance(reader, MapSchema) and isinstance(writer, MapSchema):
        return [("values", reader.values, writer.values)]
    if not (isinstance(reader, RecordSchema) and isinstance(writer, RecordSchema)):
        return []
    parts: list[tuple[str, Schema, Schema | None]] = []
    for field in reader.fields:
        written = _written(writer, field)
        if written is not None or not field.has_default:
            parts.append((f"fields/{field.name}", field.type, written))
    return parts


def _written(writer: RecordSchema, field: Any) -> Schema | None:
    for name in (field.name, *_aliases(field)):
        if name in writer.fields_dict:
            return writer.fields_dict[name].type  # type: ignore[no-any-return]  # it has no annotations
    return None
