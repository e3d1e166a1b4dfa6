"""Check of requests against Apicurio's official OpenAPI document, which its SDK's wheel carries."""

import json
import re
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
from jsonschema import Draft7Validator

API = "/apis/registry/v3"


@cache
def document() -> dict[str, Any]:
    """Return the document of apicurioregistrysdk."""
    found = [file for file in files("apicurioregistrysdk") or () if file.name == "openapi.json"]
    text = Path(str(found[0].locate())).read_text()
    loaded: dict[str, Any] = json.loads(text)
    # The document is that of Apicurio 3.1.
    loaded["components"]["schemas"]["VersionState"]["enum"].append("SUNSET")
    return loaded


def check_request(request: httpx.Request) -> None:
    """Fail unless path, method, parameters and body are as the document has them."""
    segments, query = _target(request)
    item, values = _path_item(segments)
    operation = item[request.method.lower()]
    declared = {
        (parameter["in"], parameter["name"]): parameter
        for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]
    }
    for name, value in values.items():
        _check(value, declared["path", name]["schema"])
    for name, texts in query.items():
        schema = declared["query", name]["schema"]
        _check(_typed(texts, schema), schema)
    missing = [name for (_, name), each in declared.items() if each.get("required")]
    assert set(missing) <= values.keys() | query.keys()
    _check_body(request, operation.get("requestBody"))


def _target(request: httpx.Request) -> tuple[list[str], dict[str, list[str]]]:
    path, _, query = request.url.raw_path.decode().partition("?")
    assert path.startswith(API)
    segments = [unquote(part) for part in path.removeprefix(API).split("/")[1:]]
    return segments, parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))


def _path_item(segments: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    for template, item in document()["paths"].items():
        parts = template.split("/")[1:]
        pairs = list(zip(parts, segments, strict=False))
        if len(parts) == len(segments) and all(p.startswith("{") or p == s for p, s in pairs):
            return item, {part[1:-1]: value for part, value in pairs if part.startswith("{")}
    raise AssertionError(f"no such path: {segments}")


def _typed(texts: list[str], schema: dict[str, Any]) -> Any:
    kind = _resolved(schema).get("type")
    if kind == "array":
        return texts
    assert len(texts) == 1
    return json.loads(texts[0]) if kind in {"integer", "boolean"} else texts[0]


def _check_body(request: httpx.Request, declared: dict[str, Any] | None) -> None:
    if declared is None:
        assert not request.content
        return
    content_type = request.headers["content-type"]
    media = declared["content"].get(content_type) or declared["content"]["*/*"]
    if content_type in declared["content"]:
        _check(json.loads(request.content), media["schema"])


def _check(value: Any, schema: dict[str, Any]) -> None:
    resolved = _resolved(schema)
    if resolved.get("type") == "integer" and isinstance(value, str):
        value = int(value)
    Draft7Validator({"components": document()["components"], "allOf": [schema]}).validate(value)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        name = re.fullmatch(r"#/components/schemas/(\w+)", schema["$ref"])
        assert name is not None
        schema = document()["components"]["schemas"][name[1]]
    return schema
