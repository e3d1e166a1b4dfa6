"""Contents of the embedded registry: one immutable text for each type and set of references."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict

from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._embedded.bucket import Bucket, Stored
from micro_schema_registry._embedded.keys import content_pattern
from micro_schema_registry._errors import RegistryConnectionError
from micro_schema_registry._model.models import (
    Reference,
    content_hash,
    is_possible_id,
    parse_schema,
)

_CACHE_SIZE = 1000
# Larger contents are read again each time; this and the size of the cache bound its memory.
_MAX_CACHED_BYTES = 64 * 1024


class Content(BaseModel):
    """A stored text with its type and references (group ids filled in, ordered)."""

    model_config = ConfigDict(frozen=True)

    artifact_type: str
    text: str
    references: tuple[Reference, ...] = ()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the text in hexadecimal."""
        return content_hash(self.text)

    @property
    def key(self) -> str:
        """The key in the bucket; equal exactly for equal contents."""
        kind = self.artifact_type + "".join(ref.model_dump_json() for ref in self.references)
        return f"c.{self.sha256}.{hashlib.sha256(kind.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class StoredContent:
    """Content with its id, the revision of its first write."""

    content_id: int
    content: Content

    @cached_property
    def schema(self) -> Any:
        """The text parsed, read-only; see `CachedSchema`."""
        return parse_schema(self.content.text, self.content.artifact_type)


def encoded(content: Content) -> bytes:
    """Return the bytes to store: a line of JSON, then the text as it is.

    As a member of the JSON, a text with many quotes would take up to twice its size.
    """
    about = content.model_dump_json(exclude={"text"})
    return f"{about}\n{content.text}".encode()


def read_content(value: bytes) -> Content:
    """Return content from its bytes, also from those of earlier releases: all of it as JSON."""
    about, line_end, text = value.partition(b"\n")
    if not line_end:
        return Content.model_validate_json(value)
    return Content.model_validate({**json.loads(about), "text": text.decode()})


class Contents:
    """The contents of a bucket; those used last are kept in memory."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._by_id = Cache[int, StoredContent](_CACHE_SIZE)
        self._by_key = Cache[str, StoredContent](_CACHE_SIZE)

    async def put(self, content: Content) -> StoredContent:
        """Write content unless it exists."""
        known = self._by_key.get(content.key)
        if known is not None:
            return known
        stored, _ = await self._bucket.create(content.key, encoded(content))
        return self._kept(stored)

    async def find(self, content: Content) -> StoredContent | None:
        """Return content if it was ever written."""
        known = self._by_key.get(content.key)
        if known is not None:
            return known
        stored = await self._bucket.find(content.key)
        return None if stored is None else self._kept(stored)

    async def by_id(self, content_id: int) -> StoredContent | None:
        """Return content by its id, None if the id is not one of content."""
        known = self._by_id.get(content_id)
        if known is not None:
            return known
        stored = await self._bucket.at(content_id)
        if stored is None or not stored.key.startswith("c."):
            return None
        return self._kept(stored)

    async def known(self, content_id: int) -> StoredContent:
        """Return content that a version refers to."""
        stored = await self.by_id(content_id)
        if stored is None:
            raise RegistryConnectionError(self._bucket.url, f"content {content_id!r} is missing")
        return stored

    async def by_hash(self, sha256: str) -> list[StoredContent]:
        """Return the contents whose text has that SHA-256, one per type and set of references."""
        if not is_possible_id(sha256):  # a wildcard in it would match any content
            return []
        return [self._kept(stored) async for stored in self._bucket.scan(content_pattern(sha256))]

    def _kept(self, stored: Stored) -> StoredContent:
        decoded = self._bucket.decoded(stored, read_content)
        content = StoredContent(stored.revision, decoded)
        if len(stored.value) <= _MAX_CACHED_BYTES:
            self._by_id.put(content.content_id, content)
            self._by_key.put(stored.key, content)
        return content
