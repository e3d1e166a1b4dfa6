"""Compatibility of each artifact type: verdicts, reasons and places; and what the levels mean."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micro_schema_registry._compatibility import checks
from micro_schema_registry._compatibility.levels import SchemaText, incompatibilities, parse

OPEN = {"type": "object", "properties": {"a": {"type": "integer"}}}
CLOSED = {**OPEN, "additionalProperties": False}


PAIRS = json.loads((Path(__file__).parent / "pairs.json").read_text())


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def text(schema: Any, *references: tuple[str, Any]) -> SchemaText:
    return SchemaText(_content(schema), tuple((n, _content(s)) for n, s in references))


def _content(schema: Any) -> str:
    return schema if isinstance(schema, str) else json.dumps(schema)


def causes(kind: str, level: str, new: Any, *existing: Any) -> list[str]:
    found = incompatibilities(kind, level, text(new), [text(old) for old in existing])
    return [str(cause) for cause in found]


V1, V2, V3 = record(field("a", "int")), record(field("a", "int"), field("b", "int")), record()


@pytest.mark.parametrize(
    ("level", "new", "existing", "accepted"),
    [
        ("NONE", V2, [V1], True),
        ("BACKWARD", V2, [V1], False),
        ("BACKWARD", V1, [V2], True),
        ("FORWARD", V2, [V1], True),
        ("FORWARD", V1, [V2], False),
        ("FULL", V2, [V1], False),
        ("FULL", V1, [V2], False),
        ("FULL", record(field("a", "int"), field("b", "int", default=0)), [V1], True),
        ("BACKWARD", V1, [V3, V2], True),
        ("BACKWARD_TRANSITIVE", V1, [V3, V2], False),
        ("FORWARD", V1, [V2, V3], True),
        ("FORWARD_TRANSITIVE", V1, [V2, V3], False),
        ("FULL_TRANSITIVE", V1, [V1, V3], False),
        ("FULL_TRANSITIVE", V1, [], True),
    ],
)
def test_levels(level: str, new: Any, existing: list[Any], accepted: bool) -> None:
    assert (not causes("AVRO", level, new, *existing)) is accepted


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("long", "int", []),
        ("int", "long", ["type mismatch: reader type: int not compatible with writer type: long at /"]),
        (["null", "int"], "int", []),
        ("int", ["null", "int"], ["type mismatch: reader type: int not compatible with writer type: null at /"]),
        (record(field("b", "int", aliases=["a"])), record(field("a", "int")), []),
        (
            record(field("a", "string"), field("b", "int")),
            record(field("a", "int")),
            [
                "type mismatch: reader type: string not compatible with writer type: int at /fields/a",
                "reader field 'b' has no default and the writer has no such field at /fields/b",
            ],
        ),
        (
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A"]})),
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]})),
            ["missing enum symbols: {'B'} at /fields/e"],
        ),
        (
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A"], "default": "A"})),
            record(field("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]})),
            [],
        ),
        (
            {"type": "array", "items": record(field("m", {"type": "map", "values": "int"}))},
            {"type": "array", "items": record(field("m", {"type": "map", "values": "long"}))},
            ["type mismatch: reader type: int not compatible with writer type: long at /items/fields/m/values"],
        ),
        (
            record(field("next", ["null", "R"]), field("a", "int")),
            record(field("next", ["null", "R"]), field("a", "string")),
            [
                "missing union branch: reader union lacking writer type: RECORD at /fields/next",
                "type mismatch: reader type: int not compatible with writer type: string at /fields/a"],
        ),
        (
            record(name="n.New", aliases=["Old"]),
            record(name="n.Old"),
            [],
        ),
        (
            record(name="n.New", aliases=["Old"]),
            record(name="m.Old"),
            ["name mismatch: expected: m.Old at /"],
        ),
        (
            [record(field("e", {"type": "error", "name": "E", "fields": [field("m", "int")]}))],
            [record(field("e", {"type": "error", "name": "E", "fields": [field("m", "long")]}))],
            ["type mismatch: reader type: int not compatible with writer type: long at /fields/e/fields/m"],
        ),
        (
            {"type": "long", "logicalType": "local-timestamp-nanos"},
            {"type": "long", "logicalType": "unheard-of"},
            [],
        ),
    ],
)  # fmt: skip
def test_avro_backward(new: Any, old: Any, expected: list[str]) -> None:
    assert causes("AVRO", "BACKWARD", json.dumps(new), json.dumps(old)) == expected


STRING, NUMBER = {"type": "string"}, {"type": "number"}


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (NUMBER, {"type": "integer"}, []),
        ({"type": "integer"}, NUMBER, ["type number is no longer allowed at #/type"]),
        ({**CLOSED, "properties": {"a": {"type": "integer"}, "b": STRING}}, CLOSED, []),
        (
            {**OPEN, "properties": {"a": {"type": "integer"}, "b": STRING}},
            OPEN,
            [
                "property 'b' is new where any value was allowed under that name: "
                "expected 'additionalProperties': false from the start at #/properties/b"
            ],
        ),
        ({**CLOSED, "required": ["a"]}, CLOSED, ["property 'a' is now required at #/required"]),
        (
            {**CLOSED, "properties": {}},
            CLOSED,
            ["property 'a' is no longer allowed at #/additionalProperties"],
        ),
        (CLOSED, OPEN, ["additional properties are no longer allowed at #/additionalProperties"]),
        ({"enum": [1, 2]}, {"enum": [1, 2, 3]}, ["values [3] are no longer allowed at #/enum"]),
        ({"const": "a"}, STRING, ["values are now limited to ['a'] at #/enum"]),
        (
            {**NUMBER, "maximum": 5},
            {**NUMBER, "maximum": 9},
            ["'maximum' changed from 9 to 5 at #/maximum"],
        ),
        ({**STRING, "minLength": 1}, STRING, ["'minLength' changed from None to 1 at #/minLength"]),
        (
            {"type": "array", "uniqueItems": True},
            {"type": "array"},
            ["items must now be unique at #/uniqueItems"],
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/T"}}, "$defs": {"T": STRING}},
            {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
            ["type null is no longer allowed at #/properties/a/type"],
        ),
        ({**STRING, "pattern": "^a"}, STRING, ["'pattern' changed from None to '^a' at #/pattern"]),
        (
            {"type": "object", "properties": {"a": {**STRING, "pattern": "x"}}},
            {"type": "object", "properties": {"a": STRING}},
            ["'pattern' changed from None to 'x' at #/properties/a/pattern"],
        ),
        (
            {"type": "object", "unevaluatedProperties": False},
            {"type": "object"},
            ["additional properties are no longer allowed at #/unevaluatedProperties"],
        ),
        (STRING, {**STRING, "pattern": "^a"}, []),
        # Nothing but words.
        ({**STRING, "title": "T", "description": "D", "default": ""}, STRING, []),
        # Another draft, and what it called things.
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [STRING]},
            {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [STRING]},
            [],
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "dependencies": {"a": ["b"]},
                "type": "object",
            },
            {"type": "object"},
            ["property 'a' now asks for ['b'] at #/dependentRequired/a"],
        ),
    ],
)
def test_json_backward(new: Any, old: Any, expected: list[str]) -> None:
    assert causes("JSON", "BACKWARD", new, old) == expected


def test_json_recursion_ends() -> None:
    def tree(value: Any, **more: Any) -> dict[str, Any]:
        node = {"properties": {"value": value, "next": {"$ref": "#/$defs/N", **more}}}
        return {"$defs": {"N": node}, "$ref": "#/$defs/N"}

    assert causes("JSON", "FULL", tree(STRING), tree(STRING)) == []
    assert causes("JSON", "BACKWARD", tree(NUMBER), tree(STRING)) == [
        "type string is no longer allowed at #/properties/value/type"
    ]
    beside = {"pattern": "x"}
    assert "'pattern' changed from None to 'x' at #/properties/next/pattern" in causes(
        "JSON", "BACKWARD", tree(STRING, **beside), tree(STRING)
    )


def test_a_dynamic_reference_only_follows_from_an_equal_document() -> None:
    def tree(**more: Any) -> dict[str, Any]:
        anchored = {"$dynamicAnchor": "q", "type": "string"}
        other = {"$id": "https://example.com/other", "$defs": {"b": anchored}}
        return {"$defs": {"a": anchored, "o": other}, "$dynamicRef": "#q", **more}

    assert causes("JSON", "FULL", tree(), {**tree(), "title": "T"}) == []
    assert causes("JSON", "BACKWARD", tree(), tree(maxLength=3)) == [
        "'$dynamicRef' to '#q' can only be compared with an equal one at #/$dynamicRef"
    ]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair["id"]))
def test_pairs(pair: dict[str, Any]) -> None:
    found = causes(pair["kind"], pair["direction"], pair["new"], pair["old"])
    assert (not found) is pair["compatible"]


def test_json_branches_are_followed() -> None:
    def either(first: Any) -> dict[str, Any]:
        return {"anyOf": [first, {"type": "null"}]}

    new, old = either({**STRING, "maxLength": 3}), either({**STRING, "maxLength": 5})
    assert causes("JSON", "BACKWARD", new, old) == [
        "'maxLength' changed from 5 to 3 at #/anyOf/0/maxLength"
    ]
    assert causes("JSON", "BACKWARD", old, new) == []
    assert causes("JSON", "BACKWARD", False, True) == [
        "nothing is allowed here any more: the schema is `false` at #"
    ]


def test_json_references_are_part_of_the_document() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "common.json#/$defs/A"}}}
    common = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": STRING}}
    wider = {"$defs": {"A": {"type": ["string", "null"]}}}

    def check(new: Any, old: Any) -> list[str]:
        found = incompatibilities(
            "JSON", "BACKWARD", text(schema, ("common.json", new)), [text(schema, ("common.json", old))]
        )  # fmt: skip
        return [str(cause) for cause in found]

    assert check(wider, common) == []
    assert check(common, wider) == ["type null is no longer allowed at #/properties/a/type"]
    with pytest.raises(ValueError, match=r"'common.json#/\$defs/A' is not among the references"):
        parse("JSON", text(schema))


PROTO = 'syntax = "proto3"; package p; '


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ("message M { int32 a = 1; string b = 2; }", "message M { int32 a = 1; }", []),
        ("message M { int64 a = 1; }", "message M { bool a = 1; }", []),
        (
            "message M { sint32 a = 1; }",
            "message M { int32 a = 1; }",
            ["type changed from 'int32' to 'sint32' at p.M.a"],
        ),
        ("message M { bytes a = 1; }", "message M { string a = 1; }", []),
        (
            "message M { string a = 1; }",
            "message M { bytes a = 1; }",
            ["type changed from 'bytes' to 'string' at p.M.a"],
        ),
        (
            "message M { repeated int32 a = 1; }",
            "message M { int32 a = 1; }",
            ["label changed from singular to repeated at p.M.a"],
        ),
        ("message M { optional int32 a = 1; }", "message M { int32 a = 1; }", []),
        (
            "message M { }",
            "message M { int32 a = 1; }",
            ["field 'a' was removed without reserving its number 1 at p.M"],
        ),
        ("message M { reserved 1 to 3; }", "message M { int32 a = 1; }", []),
        (
            "message M { int32 a = 4; }",
            "message M { reserved 2 to max; }",
            ["field 'a' takes reserved number 4 at p.M"],
        ),
        (
            "message M { int32 a = 4; }",
            'message M { reserved "a"; }',
            ["field 4 takes reserved name 'a' at p.M"],
        ),
        (
            "message M { oneof o { int32 a = 1; int32 b = 2; } }",
            "message M { int32 a = 1; int32 b = 2; }",
            ["fields a, b now share a oneof at p.M.o"],
        ),
        (
            "message M { oneof o { int32 a = 1; int32 b = 2; } }",
            "message M { oneof o { int32 a = 1; } int32 b = 2; }",
            ["fields a, b now share a oneof at p.M.o"],
        ),
        (
            "message M { oneof o { int32 a = 1; int32 c = 3; } }",
            "message M { int32 a = 1; }",
            [],
        ),
        ("message N { }", "message M { }", ["message is missing from the reader at p.M"]),
        (
            "message M { map<string, int32> a = 1; }",
            "message M { map<string, string> a = 1; }",
            ["type changed from 'string' to 'int32' at p.M.a.entry.value"],
        ),
        (
            "message M { I a = 1; message I { string x = 1; } }",
            "message M { I a = 1; message I { int32 x = 1; } }",
            ["type changed from 'int32' to 'string' at p.M.I.x"],
        ),
        (
            "enum E { A = 0; B = 2; } message M { E e = 1; }",
            "enum E { A = 0; B = 1; } message M { E e = 1; }",
            ["enum value 'B' changed from 1 to 2 at p.E"],
        ),
        ("enum E { A = 0; } message M { E e = 1; }", "message M { int32 e = 1; }", []),
        (
            'import "google/protobuf/timestamp.proto"; message M { google.protobuf.Timestamp t = 1; }',
            'import "google/protobuf/duration.proto"; message M { google.protobuf.Duration t = 1; }',
            ["message type changed from 'google.protobuf.Duration' at google.protobuf.Timestamp"],
        ),
        ("message M { M m = 1; // again\n }", "message M { /* once */ M m = 1; }", []),
    ],
)
def test_protobuf_backward(new: str, old: str, expected: list[str]) -> None:
    assert causes("PROTOBUF", "BACKWARD", PROTO + new, PROTO + old) == expected


PROTO2 = 'syntax = "proto2"; package p; '


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (
            "message M { required int32 a = 1; }",
            "message M { optional int32 a = 1; }",
            ["required field need not be written at p.M.a"],
        ),
        (
            "message M { oneof o { G g = 1; } optional group H = 2 { optional int32 x = 1; } message G {} }",
            "message M { optional group H = 2 { optional string x = 1; } }",
            ["type changed from 'string' to 'int32' at p.M.H.x"],
        ),
        (
            "message M { optional group G = 1 { } }",
            "message M { optional G g = 1; message G { } }",
            ["encoding changed from length-prefixed to delimited at p.M.g"],
        ),
        (
            "enum E { A = 0; } message M { optional E e = 1; }",
            "enum E { A = 0; B = 1; } message M { optional E e = 1; }",
            ["value 'B' of a closed enum was removed at p.E"],
        ),
        (
            "enum E { A = 0; B = 1; } message M { optional E e = 1; }",
            "enum E { A = 0; } message M { optional E e = 1; }",
            [],
        ),
        (
            "enum E { A = 0; C = 1; } message M { optional E e = 1; }",
            "enum E { A = 0; B = 1; } message M { optional E e = 1; }",
            ["enum number 1 changed from 'B' to 'C' at p.E"],
        ),
        (
            "enum E { option allow_alias = true; A = 0; B = 1; C = 1; }",
            "enum E { A = 0; B = 1; }",
            [],
        ),
        (
            "message M { extensions 10 to 20; }",
            "message M { extensions 10 to 20; } extend M { optional string x = 10; }",
            ["extension 'p.x' of number 10 was removed at p.M"],
        ),
        (
            "message M { extensions 10 to 20; } extend M { repeated int32 x = 10; }",
            "message M { extensions 10 to 20; } extend M { optional int32 x = 10; }",
            ["label changed from singular to repeated at p.M.x"],
        ),
        (
            "message M { map<string, int32> other = 1; }",
            "message M { map<string, int32> a = 1; }",
            [],
        ),
        (
            "message M { map<string, int32> a = 1; }",
            "message M { repeated P a = 1; message P { optional string key = 1; optional int32 value = 2; } }",
            ["message is missing from the reader at p.M.P", "entries of one key are lost in a map at p.M.a"],
        ),
        ("message M { repeated bytes a = 1; }", "message M { optional string a = 1; }", []),
        ("message M { repeated M a = 1; }", "message M { optional M a = 1; }", []),
        ("message M { optional M\n  a = 1; }", "message M {optional\n M a\n =\n 1; }", []),
    ],
)  # fmt: skip
def test_protobuf_2_backward(new: str, old: str, expected: list[str]) -> None:
    assert sorted(causes("PROTOBUF", "BACKWARD", PROTO2 + new, PROTO2 + old)) == sorted(expected)


@pytest.mark.parametrize("name", ["../q.proto", "/etc/q.proto", "a/../../q.proto", "", "a\\q"])
def test_a_protobuf_reference_stays_in_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be an import path"):
        parse("PROTOBUF", text("message M { }", (name, "message N { }")))


def test_common_imports_need_no_reference() -> None:
    parse("PROTOBUF", text(PROTO + 'import "google/api/annotations.proto"; message M { }'))


def test_protobuf_forward_allows_new_fields_and_reads_them_the_other_way() -> None:
    one, two = (
        PROTO + f"message M {{ {body} }}" for body in ("bytes a = 1;", "string a = 1; int32 b = 2;")
    )
    assert causes("PROTOBUF", "FORWARD", two, one) == []
    assert causes("PROTOBUF", "FULL", two, one) == [
        "type changed from 'bytes' to 'string' at p.M.a"
    ]


def test_protobuf_imports_are_looked_up_among_the_references() -> None:
    def file(kind: str) -> SchemaText:
        imported = f'syntax = "proto3"; package q; message I {{ {kind} x = 1; }}'
        return text(
            'syntax = "proto3"; import "q.proto"; message M { q.I i = 1; }', ("q.proto", imported)
        )

    found = incompatibilities("PROTOBUF", "BACKWARD", file("int32"), [file("string")])
    assert [str(cause) for cause in found] == ["type changed from 'string' to 'int32' at q.I.x"]


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("AVRO", {"type": "nonsense"}, "not an Avro schema"),
        ("AVRO", record({"type": "int"}), "not an Avro schema"),
        ("AVRO", 3, "not an Avro schema"),
        ("JSON", {"type": "nonsense"}, "not a JSON Schema: 'nonsense' is not valid"),
        ("JSON", {"pattern": "["}, r"not a JSON Schema: '\[' is not a regular expression"),
        ("JSON", {"patternProperties": {"(": {}}}, r"'\(' is not a regular expression"),
        ("JSON", [1], "not a JSON Schema: expected an object or a boolean"),
        ("PROTOBUF", PROTO + "message M { int32 a = ; }", "not a Protobuf schema: the schema:1:53: Expected field number"),
        ("PROTOBUF", PROTO + "message M { int32 a = 1; int32 b = 1; }", 'the schema:1:66: Field number 1 has already been used in "p.M"'),
        ("PROTOBUF", PROTO + "message M { N a = 1; }", 'the schema:1:43: "N" is not defined'),
        ("PROTOBUF", '{"type": "string"}', "not a Protobuf schema"),
    ],
)  # fmt: skip
def test_invalid_schemas_say_why(kind: str, content: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(kind, text(content))


WORDS = st.sampled_from(
    [
        "type",
        "record",
        "name",
        "fields",
        "items",
        "values",
        "symbols",
        "enum",
        "fixed",
        "size",
        "aliases",
        "default",
        "properties",
        "$ref",
        "required",
        "int",
        "string",
        "array",
        "object",
        "R",
        "#/$defs/a",
        "anyOf",
        "dependencies",
        "const",
    ]
)
NOISE = st.recursive(
    st.one_of(WORDS, st.none(), st.booleans(), st.integers(-1, 3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


def invalid(kind: str, schema: SchemaText) -> str | None:
    """Return why a schema is refused; an error other than a ValueError fails the test."""
    try:
        parse(kind, schema)
    except ValueError as exc:
        return str(exc) or pytest.fail("refused without a reason")
    return None


@settings(deadline=None)
@given(NOISE, NOISE, st.sampled_from(["AVRO", "JSON"]))
def test_whatever_json_is_sent_has_a_verdict_or_a_reason(new: Any, old: Any, kind: str) -> None:
    schemas = [SchemaText(json.dumps(schema)) for schema in (new, old)]
    if all(invalid(kind, schema) is None for schema in schemas):
        found = incompatibilities(kind, "FULL", schemas[0], schemas[1:])
        assert all(cause.description for cause in found)
        assert not incompatibilities(kind, "FULL", schemas[0], schemas[:1])


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "message",
                "M",
                "{",
                "}",
                ";",
                "=",
                "1",
                "2",
                "int32",
                "a",
                "oneof",
                "reserved",
                "to",
                "max",
                "repeated",
                "enum",
                "E",
                "0",
            ]
        )
    )
)
def test_whatever_protobuf_is_sent_has_a_verdict_or_a_reason(words: list[str]) -> None:
    schema = SchemaText(" ".join(words))
    valid = SchemaText(PROTO + "message M { int32 a = 1; }")
    if invalid("PROTOBUF", schema) is None:
        found = incompatibilities("PROTOBUF", "FULL", schema, [valid])
        assert all(cause.description for cause in found)


def test_other_types_are_taken_as_they_are_but_never_called_compatible() -> None:
    parse("GRAPHQL", text("type Query { a: Int }"))
    assert causes("GRAPHQL", "BACKWARD", "type A", "type A") == []
    assert causes("GRAPHQL", "BACKWARD", "type A", "type B") == [
        "artifact type 'GRAPHQL' cannot be compared: expected COMPATIBILITY NONE"
    ]


@pytest.mark.parametrize("pattern", [r"^\p{L}$", "(?<name>a)", r"(?<n>a)\k<n>", r"\d", "(?<!a)b"])
def test_patterns_of_ecma_262_are_valid(pattern: str) -> None:
    parse("JSON", text({"pattern": pattern, "patternProperties": {pattern: True}}))


async def test_a_refusal_deep_in_a_recursive_schema_is_short() -> None:
    """Every model leads to every other one, on countless ways; a process has the stack for it."""

    async def in_a_process(new: Any, old: Any) -> list[str]:
        arguments = ("JSON", "BACKWARD", text(new), [text(old)])
        refused = await checks.run(incompatibilities, *arguments, timeout=60)
        return [str(cause) for cause in refused]

    def models(closed: bool) -> dict[str, Any]:
        names = [f"M{i}" for i in range(30)]
        properties = {
            name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]} for name in names
        }
        definitions: Any = {n: {"type": "object", "properties": properties} for n in names}
        definitions["M29"] = {**definitions["M29"], "additionalProperties": not closed}
        return {"$defs": definitions, "$ref": "#/$defs/M0"}

    assert await in_a_process(models(closed=False), models(closed=True)) == []
    found = await in_a_process(models(closed=True), models(closed=False))
    assert 0 < len(found) <= 20
    assert all("additional" in cause and len(cause) < 300 for cause in found)
