"""Generated clients: the models and the declaration of a service as one Python module."""

from __future__ import annotations

import re

from micro._documents.annotations import Mode, literal
from micro._documents.models import Models
from micro._documents.names import class_name, identifier, unique
from micro._documents.operations import Operation, Payload, operations_of
from micro._errors import ConfigError
from micro._protocol import subjects
from micro._protocol.models import ServiceInfo

_CODECS = {
    "application/msgpack": ("_msgpack.codec", "from micro.adapters import msgpack as _msgpack")
}
_MODULES = ("datetime", "decimal", "ipaddress", "pathlib", "uuid")
_TYPING = {
    "_AsyncIterator": "from collections.abc import AsyncIterator as _AsyncIterator",
    "_Annotated": "from typing import Annotated as _Annotated",
    "_Any": "from typing import Any as _Any",
    "_Literal": "from typing import Literal as _Literal",
}
_HELPERS = {
    "_json": '''def _json(default: _Any) -> _Any:
    """Return a default as it is in JSON; pydantic makes the value of it."""
    return default''',
    "_unset": '''def _unset() -> _Any:
    """Return None for a member that is not sent; the service has its own default."""
    return None


def _is_unset(value: object) -> bool:
    return value is None''',
    "_untitled": """def _untitled(schema: dict[str, _Any]) -> None:
    schema.pop("title", None)""",
}


def python_client(info: ServiceInfo) -> str:
    """Return the module of a client: the same text for the same service.

    Raises:
        ConfigError: The service has no endpoints with a fixed subject, or only hashes of schemas.
    """
    operations = [each for each in operations_of(info) if not set("*>") & set(each.subject)]
    if not operations:
        raise ConfigError(f"service {info.name!r} has no endpoints that a client could call")
    api = class_name(info.name)
    models = Models({api})
    taken: set[str] = set()
    methods = [_method(each, models, taken) for each in operations]
    body = "\n\n\n".join([*models.classes, *models.aliases, _protocol(info, api, methods)])
    helpers = [text for name, text in _HELPERS.items() if re.search(rf"\b{name}\b", body)]
    code = "\n\n\n".join([*helpers, body])
    return f"{_head(info, operations)}\n{_imports(code)}\n\n\n{code}\n"


def _head(info: ServiceInfo, operations: list[Operation]) -> str:
    hashes = [
        f"    {each.name} {part}  {payload.sha256}"
        for each in operations
        for part, payload in (("request ", each.request), ("response", each.response))
        if payload.schema is not None
    ]
    listed = "\n".join(["", "SHA-256 of the schemas:", "", *hashes]) if hashes else ""
    service = f"{_plain(info.name)} {_plain(info.version)}"
    return (
        f'"""Client of the service {service}, made by `micro generate client`.\n'
        f'{listed}\n"""\n\n# ruff: noqa\nfrom __future__ import annotations\n'
    )


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII)


def _imports(code: str) -> str:
    lines = [f"import {name} as _{name}" for name in _MODULES if f"_{name}." in code]
    if re.search(r"\b_Enum\b", code):
        lines.append("from enum import Enum as _Enum")
    lines += [line for name, line in _TYPING.items() if re.search(rf"\b{name}\b", code)]
    lines.append("from typing import Protocol as _Protocol")
    lines.append("")
    if "_pydantic." in code:
        lines.append("import pydantic as _pydantic")
    if "_TypeAliasType" in code:
        lines.append("from typing_extensions import TypeAliasType as _TypeAliasType")
    lines += ["", "import micro as _micro"]
    lines += [line for name, line in _CODECS.values() if name in code]
    return "\n".join(lines)


def _protocol(info: ServiceInfo, api: str, methods: list[str]) -> str:
    try:
        version = subjects.check_version(info.version)
    except ConfigError:
        version = "0.0.0"  # of a service in another language
    text = info.description
    docstring = f"    {_docstring(text)}\n\n" if text.strip() else ""
    return (
        f"@_micro.service({literal(info.name)}, {literal(version)})\n"
        f"class {api}(_Protocol):\n{docstring}" + "\n\n".join(methods)
    )


def _method(operation: Operation, models: Models, taken: set[str]) -> str:
    request, codec = _annotation(operation.request, models, is_request=True)
    response, other = _annotation(operation.response, models, is_request=False)
    raw = (
        not operation.streams
        and operation.items is None
        and operation.request.schema is None
        and operation.response.schema is None
    )
    payload = ", payload: bytes" if raw else "" if request is None else f", payload: {request}"
    if operation.items is not None:
        item, _ = _annotation(operation.items, models, is_request=True)
        payload += f", items: _AsyncIterator[{item or 'bytes'}]"
    name = identifier(operation.name)
    if name in taken:
        name = identifier(operation.subject)
    name = unique(name, taken)
    options = [f"name={literal(operation.name)}", f"subject={literal(operation.subject)}"]
    if codec or other:
        options.append(f"codec={codec or other}")
    docstring = f"        {_docstring(operation.description)}\n" if operation.description else ""
    returned, definition = response or "bytes", "async def"
    if operation.streams:
        returned, definition = f"_AsyncIterator[{returned}]", "def"
    return (
        f"    @_micro.endpoint({', '.join(options)})\n"
        f"    {definition} {name}(self{payload}) -> {returned}:\n{docstring}        ..."
    )


def _annotation(payload: Payload, models: Models, *, is_request: bool) -> tuple[str | None, str]:
    """Return the annotation of a payload, None for bytes; and its codec, empty for JSON."""
    if payload.content_type is not None and payload.content_type not in _CODECS:
        return ("bytes" if is_request else None), ""
    if payload.schema is None:
        return None, ""
    mode: Mode = "validation" if is_request else "serialization"
    codec = _CODECS[payload.content_type][0] if payload.content_type else ""
    return models.annotation(payload.schema, mode), codec


def _docstring(text: str) -> str:
    simple = text.isprintable() and not set(text) & {'"', "\\"}
    return f'"""{text}"""' if simple else literal(text)
