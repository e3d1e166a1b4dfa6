"""JSON values against JSON Schemas."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from micro_schema_registry import Cause, InvalidPayloadError, RegistryError
from micro_schema_registry._model.frozen_json import freeze
from micro_schema_registry.json_schema import JsonSchemaValidator


class Address(BaseModel):
    city: str


class User(BaseModel):
    name: str
    address: Address


def test_schemas_of_pydantic_models_work_read_only() -> None:
    validator = JsonSchemaValidator(freeze(User.model_json_schema()))

    validator.validate({"name": "a", "address": {"city": "b"}})
    assert validator.causes({"name": 1, "address": {}}) == (
        Cause('expected type: "string"', "$.name"),
        Cause('expected required: ["city"]', "$.address"),
    )


def test_an_error_has_the_causes_but_not_the_value() -> None:
    validator = JsonSchemaValidator(User.model_json_schema())

    with pytest.raises(InvalidPayloadError) as caught:
        validator.validate({"name": ["secret"], "address": {"city": "x"}})

    assert isinstance(caught.value, RegistryError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.causes == (Cause('expected type: "string"', "$.name"),)
    assert str(caught.value) == (
        'value does not fit its JSON Schema: 400 invalid value: expected type: "string" at $.name'
    )


def test_causes_are_bounded() -> None:
    validator = JsonSchemaValidator({"items": {"enum": ["x" * 1000]}})

    causes = validator.causes(list(range(100)))

    assert len(causes) == 20
    assert max(len(cause.description) for cause in causes) < 250


def test_the_draft_is_the_one_that_the_schema_names() -> None:
    """ExclusiveMinimum was a flag in draft 4 and is a number since."""
    draft4 = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 1,
        "exclusiveMinimum": True,
    }

    assert JsonSchemaValidator(draft4).causes(1)
    assert JsonSchemaValidator({"exclusiveMinimum": 1}).causes(1)
    assert not JsonSchemaValidator(True).causes(1)
    assert JsonSchemaValidator(False).causes(1)


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"required": 3}, json.loads("[]")])
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(ValueError, match="invalid JSON Schema"):
        JsonSchemaValidator(schema)


def test_nothing_is_fetched() -> None:
    validator = JsonSchemaValidator({"$ref": "http://127.0.0.1:1/schema.json"})

    with pytest.raises(InvalidPayloadError, match=r"127\.0\.0\.1:1.*not in it"):
        validator.validate({})


def test_patterns_are_those_of_ecma_262() -> None:
    """Python knows neither of them."""
    letters = {"properties": {"a": {"type": "string", "pattern": r"^\p{Letter}+$"}}}
    validator = JsonSchemaValidator(letters)

    assert validator.causes({"a": "x\u00e9"}) == ()
    assert validator.causes({"a": "1"}) == (Cause("expected another value by 'pattern'", "$.a"),)
    assert validator.causes({"a": 1})


def test_a_schema_without_a_draft_may_be_of_draft_7() -> None:
    validator = JsonSchemaValidator({"items": [{"type": "string"}], "additionalItems": False})

    assert not validator.causes(["a"])
    assert validator.causes(["a", "b"])
    assert validator.causes([1])
