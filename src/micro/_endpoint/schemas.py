"""What the metadata of an endpoint says of its payloads: schemas, their hashes, content types."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from micro._handlers.bound_handler import BoundHandler, Form
from micro._protocol.adr32 import ITEMS, REQUEST, RESPONSE, SCHEMA
from micro._protocol.subjects import MAX_METADATA_BYTES


class Schemas:
    """The metadata of a typed handler; it has none for a raw handler.

    Args:
        handler: The handler.
    """

    __slots__ = ("_texts", "_told")

    def __init__(self, handler: BoundHandler) -> None:
        self._texts: dict[str, str] = {}
        self._told: dict[str, str] = {}
        for part, schema, form in (
            (REQUEST, handler.request_schema(), handler.request),
            (RESPONSE, handler.response_schema(), handler.response),
            (ITEMS, handler.items_schema(), handler.items),
        ):
            text = "" if schema is None else schema_text(schema)
            if text and len(text) < MAX_METADATA_BYTES:
                self._texts[f"{part}{SCHEMA}"] = text
            self._told |= {f"{part}{key}": value for key, value in _told(form).items()}

    def described(self, *, schemas: bool) -> dict[str, str]:
        """Return the metadata; without `schemas` it has hashes in their place."""
        if schemas:
            return {**self._texts, **self._told}
        hashes = {f"{key}.sha256": sha256(text) for key, text in self._texts.items()}
        return {**hashes, **self._told}


def schema_text(schema: Any) -> str:
    """Return the text of a JSON Schema, as it stands in metadata."""
    return json.dumps(schema, separators=(",", ":"))


def sha256(text: str) -> str:
    """Return the hash of the text of a schema."""
    return hashlib.sha256(text.encode()).hexdigest()


def _told(form: Form) -> dict[str, str]:
    if form.codec is None:
        return {}
    return {"content_type": form.codec.content_type, **form.told}
