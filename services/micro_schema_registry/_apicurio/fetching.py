"""Fetching, and the caches, as generators of calls that a blocking or an async driver runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from micro_schema_registry._apicurio.catalog import Catalog, read_references
from micro_schema_registry._apicurio.rest import (
    Answer,
    Call,
    Operation,
    failure,
    path,
    read_problem,
)
from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._errors import SchemaNotFoundError
from micro_schema_registry._model.models import (
    LATEST,
    CachedSchema,
    IdType,
    Reference,
    SchemaContent,
    VersionInfo,
    VersionState,
    check_version,
    parse_schema,
)

SchemaKey = tuple[str, str, str | None]
ContentKey = tuple[IdType, int | str]

PROTOBUF_TYPE = "application/x-protobuf"
"""The content type of Protobuf schemas."""

_MOST_TESTS = 10
"""Fetches at the same time that test the server; further ones do not wait for the outcome."""


@dataclass(slots=True)
class _Server:
    """What fetches have shown of a server."""

    sends_ids: bool | None = None  # with content, in headers; None before the first fetch
    tests: int = 0  # under way


class Fetches(Catalog):
    """The operations that fetch schemas or withdraw them, and the caches between both.

    `schemas` is keyed by group, artifact and version expression (None: the newest) and forgets
    after `cache_ttl_seconds`. `contents` is keyed by kind of id and id.
    """

    def __init__(
        self, group_id: str, *, cache_max_size: int, cache_ttl_seconds: float | None
    ) -> None:
        super().__init__(group_id)
        if cache_max_size < 1:
            raise ValueError(f"invalid cache_max_size {cache_max_size!r}: expected at least 1")
        if cache_ttl_seconds is not None and cache_ttl_seconds <= 0:
            raise ValueError(
                f"invalid cache_ttl_seconds {cache_ttl_seconds!r}: expected more than 0"
            )
        self.schemas = Cache[SchemaKey, CachedSchema](cache_max_size, cache_ttl_seconds)
        self.contents = Cache[ContentKey, SchemaContent](cache_max_size)
        self.epoch = 0  # the number of `forget` calls
        self._server = _Server()

    def fresh(self) -> Self:
        """Return operations with empty caches that know of the server what these do."""
        fresh = type(self)(self.group_id, cache_max_size=1, cache_ttl_seconds=None)
        fresh._server = self._server  # noqa: SLF001 - of the same class
        return fresh

    def fetch_schema(self, key: SchemaKey) -> Operation[CachedSchema]:
        """Return a version from the cache, which another caller may have filled, or fetch it."""
        cached = self.schemas.get(key)
        if cached is None:
            epoch = self.epoch
            cached = yield from self._fetch_schema(key)
            if epoch == self.epoch and not cached.draft:  # else it may be what the caller forgot
                self.schemas.add(key, cached)
        return cached

    def forget(self, artifact_id: str | None, group_id: str | None) -> None:
        """Drop the cached versions of an artifact or group, also those of fetches under way."""
        group = self.group(group_id)
        self.epoch += 1
        self.schemas.discard(lambda key: artifact_id in {None, key[1]} and key[0] == group)

    def fetch_content(self, key: ContentKey) -> Operation[SchemaContent]:
        """Return content from the cache, which another caller may have filled, or fetch it."""
        content = self.contents.get(key)
        if content is None:
            epoch = self.epoch
            content = yield from self._fetch_content(key)
            if epoch == self.epoch or key[0] != "globalId":  # else it may be withdrawn
                self.contents.add(key, content)
        return content

    def _fetch_schema(self, key: SchemaKey) -> Operation[CachedSchema]:
        """Fetch a version in one request if the server sends ids with content, else in two.

        No released Apicurio sends the ids, which the first fetch finds out with a third request.
        The second request is by id: the newest version may change between two requests, the
        content of an id cannot. Only a draft is read by name.
        """
        group, artifact_id, version = key
        server = self._server
        if server.sends_ids or (server.sends_ids is None and server.tests < _MOST_TESTS):
            server.tests += 1
            try:
                cached = yield from self._fetch_with_ids(key)
            finally:
                server.tests -= 1
            server.sends_ids = cached is not None
            if cached is not None:
                return cached
        info = yield from self.get_version(artifact_id, version, group_id=group)
        if info.state == "DRAFT":
            answer = yield from self._of_version("GET", artifact_id, info.version, group, "content")
            return cached_schema(_content(answer, info.artifact_type), info)
        try:
            content = yield from self.fetch_content(("globalId", info.global_id))
        except SchemaNotFoundError as error:  # a disabled version
            missing = SchemaNotFoundError(
                group, artifact_id, version=version, problem=error.problem
            )
            raise missing from error
        return cached_schema(content, info)

    def _fetch_with_ids(self, key: SchemaKey) -> Operation[CachedSchema | None]:
        group, artifact_id, version = key
        expression = LATEST if version is None else check_version(version)
        where = self.artifact_path(artifact_id, group, "versions", expression, "content")
        answer = self.checked((yield Call("GET", where)), artifact_id, group, version)
        ids = [answer.headers.get(f"X-Registry-{name}", "") for name in ("GlobalId", "ContentId")]
        if not all(value.isdecimal() and int(value) < 2**63 for value in ids):
            return None
        content = _content(answer)
        return CachedSchema(
            content.schema,
            int(ids[0]),
            int(ids[1]),
            artifact_type=content.artifact_type,
            content=content.content,
        )

    def _fetch_content(self, key: ContentKey) -> Operation[SchemaContent]:
        id_type, value = key
        params = {"returnArtifactType": "true"} if id_type == "globalId" else {}
        answer = yield Call("GET", path("ids", _ID_PATHS[id_type], value), params)
        if answer.status == 404:
            raise SchemaNotFoundError.from_id(id_type, value, problem=read_problem(answer))
        if not answer.ok:
            raise failure(answer)
        return _content(answer)

    def get_content_references(
        self, id_type: IdType, value: int | str
    ) -> Operation[tuple[Reference, ...]]:
        answer = yield Call("GET", path("ids", _ID_PATHS[id_type], value, "references"))
        if answer.status == 404:
            raise SchemaNotFoundError.from_id(id_type, value, problem=read_problem(answer))
        return read_references(answer)

    def set_state(
        self, artifact_id: str, version: str, state: VersionState, *, group_id: str | None = None
    ) -> Operation[None]:
        with self._withdrawing(artifact_id, group_id):
            yield from super().set_state(artifact_id, version, state, group_id=group_id)

    def delete_artifact(self, artifact_id: str, *, group_id: str | None = None) -> Operation[None]:
        with self._withdrawing(artifact_id, group_id):
            yield from super().delete_artifact(artifact_id, group_id=group_id)

    def delete_version(
        self, artifact_id: str, version: str, *, group_id: str | None = None
    ) -> Operation[None]:
        with self._withdrawing(artifact_id, group_id):
            yield from super().delete_version(artifact_id, version, group_id=group_id)

    @contextmanager
    def _withdrawing(self, artifact_id: str, group_id: str | None) -> Iterator[None]:
        """Forget what may be withdrawn after a change, also a failed one: it may have happened."""
        try:
            yield
        finally:
            self.forget(artifact_id, group_id)
            # The ids of the versions are not known.
            self.contents.discard(lambda key: key[0] == "globalId")


def _content(answer: Answer, artifact_type: str | None = None) -> SchemaContent:
    text = answer.text()
    kind = answer.headers.get("X-Registry-ArtifactType", artifact_type)
    if kind is None and answer.headers.get("Content-Type", "").startswith(PROTOBUF_TYPE):
        kind = "PROTOBUF"
    try:
        return SchemaContent(text, parse_schema(text, kind), kind)
    except ValueError as error:
        raise answer.unusable(f"expected {kind} content: {error}") from error


def cached_schema(content: SchemaContent, info: VersionInfo) -> CachedSchema:
    """Return a version as the caches keep it."""
    return CachedSchema(
        content.schema,
        info.global_id,
        info.content_id,
        info.version,
        info.artifact_type,
        content.content,
        draft=info.state == "DRAFT",
    )


_ID_PATHS: dict[IdType, str] = {
    "globalId": "globalIds",
    "contentId": "contentIds",
    "contentHash": "contentHashes",
}
