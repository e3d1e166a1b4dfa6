"""Measure how long it takes to compare large schemas, in processor time.

    python benchmarks/schema_checks.py [json protobuf compute avro]

The inputs are made here, of the kind and size of real ones. Another build is measured with its
folders in PYTHONPATH.
"""

import json
import sys
import threading
import time
from typing import Any

try:
    from micro_schema_registry._compatibility.levels import SchemaText, incompatibilities
except ImportError:  # a build from before the modules moved
    from micro_schema_registry._compat import (  # type: ignore[import-not-found,no-redef]
        SchemaText,
        incompatibilities,
    )

SCALARS = ("string", "integer", "boolean")


def json_models(count: int, *, grown: bool) -> SchemaText:
    """Return closed models as pydantic writes them, all of which lead to each other."""
    models: dict[str, Any] = {}
    for i in range(count):
        members: dict[str, Any] = {
            f"field_{j}": {
                "anyOf": [{"type": SCALARS[j % 3]}, {"type": "null"}],
                "default": None,
                "title": f"Field {j}",
            }
            for j in range(6)
        }
        members["next"] = {"$ref": f"#/$defs/Model{(i + 1) % count}"}
        members["items"] = {
            "type": "array",
            "items": {"$ref": f"#/$defs/Model{(i * 7 + 3) % count}"},
        }
        if grown and i % 5 == 0:
            members["added"] = {"type": "string"}
        models[f"Model{i}"] = {
            "type": "object",
            "title": f"Model {i}",
            "description": "A model of something, described at some length",
            "properties": members,
            "required": ["field_0"],
            "additionalProperties": False,
        }
    roots = {f"m{i}": {"$ref": f"#/$defs/Model{i}"} for i in range(count)}
    schema = {"$defs": models, "type": "object", "properties": roots, "additionalProperties": False}
    return SchemaText(json.dumps(schema))


def protobuf_messages(count: int, *, grown: bool) -> SchemaText:
    """Return a commented file of messages, enums and maps with imports."""
    lines = [
        'syntax = "proto3";',
        "package big.v1;",
        'import "google/protobuf/timestamp.proto";',
        'import "common/types.proto";',
    ]
    scalars = ("string", "int32", "bool", "double", "bytes")
    for i in range(count):
        lines.append(f"// A resource, with a long comment on its purpose.\nmessage Resource{i} {{")
        lines += [
            f"  // A field\n  {scalars[j % 5]} some_field_name_{j} = {j};" for j in range(1, 16)
        ]
        lines.append(f"  repeated Resource{(i + 1) % count} next = 20;")
        lines.append(f"  map<string, Resource{i * 3 % count}> by_name = 21;")
        lines.append("  enum Kind { KIND_UNSPECIFIED = 0; A_KIND = 1; }\n  Kind kind = 22;")
        lines.append("  google.protobuf.Timestamp at = 23;\n  common.T t = 24;")
        lines.append("  string added = 25;\n}" if grown else "}")
    common = 'syntax = "proto3"; package common; message T { string a = 1; }'
    return SchemaText("\n".join(lines), (("common/types.proto", common),))


def avro_union(count: int, *, grown: bool) -> SchemaText:
    """Return a union of records with optional members and enums."""
    scalars = ("string", "int", "long", "boolean", "double")
    records = []
    for i in range(count):
        fields: list[dict[str, Any]] = [
            {"name": f"f{j}", "type": ["null", scalars[j % 5]], "default": None, "doc": "A field"}
            for j in range(12)
        ]
        status = {"type": "enum", "name": f"Status{i}", "symbols": ["A", "B", "C"]}
        fields.append({"name": "status", "type": status})
        if grown and i % 7 == 0:
            fields.append({"name": "added", "type": "string", "default": ""})
        record = {"type": "record", "name": f"Record{i}", "namespace": "com.example.events"}
        records.append({**record, "doc": "A record of an event", "fields": fields})
    return SchemaText(json.dumps(records))


CASES = {
    "json": ("JSON", json_models, 290),
    "protobuf": ("PROTOBUF", protobuf_messages, 420),
    "compute": ("PROTOBUF", protobuf_messages, 3800),
    "avro": ("AVRO", avro_union, 339),
}


def measure(names: list[str]) -> None:
    """Print a line for each case."""
    for name in names:
        kind, make, count = CASES[name]
        old, new = make(count, grown=False), make(count, grown=True)
        incompatibilities(kind, "FULL", make(1, grown=True), [make(1, grown=False)])  # imports
        began, used = time.perf_counter(), time.process_time()
        causes = incompatibilities(kind, "BACKWARD", new, [old])
        took, cpu = time.perf_counter() - began, time.process_time() - used
        size = len(old.content) // 1024
        print(f"{name:9} {size:5} KB  {took:6.2f} s  {cpu:6.2f} s cpu  causes: {len(causes)}")


if __name__ == "__main__":
    sys.setrecursionlimit(100_000)  # for builds that bring no room of their own
    threading.stack_size(512 * 1024 * 1024)
    thread = threading.Thread(target=measure, args=(sys.argv[1:] or list(CASES),))
    thread.start()
    thread.join()
