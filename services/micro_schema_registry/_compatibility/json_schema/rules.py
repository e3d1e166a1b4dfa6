"""JSON Schema: parsing, and which documents a reader's schema refuses."""

import json
from dataclasses import dataclass
from typing import Any

from referencing import Registry

from micro_schema_registry._compatibility.json_schema.dialects import parse_json_schema
from micro_schema_registry._compatibility.json_schema.goals import GOALS
from micro_schema_registry._compatibility.json_schema.nodes import Node, Reader
from micro_schema_registry._compatibility.json_schema.proof import Prover, TooComplexError
from micro_schema_registry._compatibility.json_schema.spelling import without_annotations
from micro_schema_registry._compatibility.levels import SchemaText
from micro_schema_registry._errors import Cause


@dataclass(frozen=True)
class JsonSchema:
    """A parsed document with those it refers to.

    Attributes:
        texts: The documents as sorted JSON, without annotations.
        root: The schema.
        thorough: Whether a part of it uses `unevaluated...`.
    """

    texts: tuple[str, ...]
    root: Node
    thorough: bool


def parse(text: SchemaText) -> JsonSchema:
    """Parse a schema with those it refers to; see `Format.parse`."""
    schema, dialect = parse_json_schema(text.content)
    references = {name: parse_json_schema(content) for name, content in text.references}
    base = dialect.specification.id_of(schema) or ""
    registry: Registry[Any] = Registry().with_resource(
        base, dialect.specification.create_resource(schema)
    )
    for name, (document, kind) in references.items():
        registry = registry.with_resource(name, kind.specification.create_resource(document))
    reader = Reader(lambda raw, kind: kind.check(raw), registry, references)
    root = reader.read(schema, dialect, base)
    documents = [schema, *(document for document, _ in references.values())]
    texts = tuple(
        json.dumps(without_annotations(document), sort_keys=True) for document in documents
    )
    return JsonSchema(texts, root, any('"unevaluated' in text for text in texts))


def unreadable(reader: JsonSchema, writer: JsonSchema) -> list[Cause]:
    """Return why the reader may refuse documents of the writer; see `Format.unreadable`."""
    if reader.texts == writer.texts:
        return []
    prover = Prover(GOALS, thorough=reader.thorough or writer.thorough)
    try:
        return prover.prove(frozenset({(writer.root, True)}), reader.root, "#")
    except (TooComplexError, RecursionError):
        return [Cause("the schemas are too complex to be compared", prover.place)]


def misused(new: JsonSchema, old: JsonSchema) -> list[Cause]:
    """Return no cause: the allowed documents decide alone; see `Format.misused`."""
    return []
