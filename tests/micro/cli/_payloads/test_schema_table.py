"""Schemas of any service as rows."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from micro.cli._payloads.schema_table import MAX_ROWS, fields_of


class Item(BaseModel):
    name: str
    kind: Literal["tea", "pot"] = "tea"


class Order(BaseModel):
    items: list[Item]
    first: Item | None = None
    prices: dict[str, float] = {}
    parent: Order | None = None


def test_nested_objects_lists_and_alternatives_have_rows() -> None:
    rows = [tuple(field) for field in fields_of(json.dumps(Order.model_json_schema()))]

    assert rows[:7] == [
        ("items", "list of object", True, ""),
        ("items[].name", "string", True, ""),
        ("items[].kind", '"tea" or "pot"', False, '"tea"'),
        ("first", "object or null", False, "null"),
        ("first.name", "string", True, ""),
        ("first.kind", '"tea" or "pot"', False, '"tea"'),
        ("prices", "map of number", False, "{}"),
    ]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "string", "format": "date"}, "string (date)"),
        ({"const": 3}, "3"),
        ({}, "any"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "any"),
        ({"type": "array", "items": {"$ref": "#"}}, "list of list of list of list of ..."),
        ({"$ref": "#/nowhere"}, "any"),
        ({"properties": 3}, "any"),
    ],
)
def test_a_schema_without_fields_is_one_type(schema: dict[str, Any], kind: str) -> None:
    assert fields_of(json.dumps(schema)) == [("", kind, True, "")]


def test_a_schema_of_another_service_has_a_limit() -> None:
    wide = {"type": "object", "properties": {f"f{i}": {"type": "string"} for i in range(1000)}}

    assert len(fields_of(json.dumps(wide))) == MAX_ROWS


@pytest.mark.parametrize("text", ["[]", "true", "{", ""])
def test_what_is_no_object_is_no_schema(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        fields_of(text)
