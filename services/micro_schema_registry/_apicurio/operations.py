"""Fetching and registering, as generators of calls that a blocking or an async driver runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from pydantic import BaseModel

from micro_schema_registry._apicurio.catalog import Catalog, read_references
from micro_schema_registry._apicurio.rest import (
    ARTIFACT_EXISTS,
    VERSION_EXISTS,
    Answer,
    Call,
    Operation,
    Pause,
    Shared,
    failure,
    path,
    post,
    read_problem,
    registration_failure,
    succeeded,
)
from micro_schema_registry._backoff import pauses
from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._errors import (
    Cause,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidSchemaError,
    RegistryConnectionError,
    SchemaNotFoundError,
    SchemaRegistrationError,
)
from micro_schema_registry._model.models import (
    LATEST,
    ArtifactInfo,
    CachedSchema,
    CompatibilityResult,
    IdType,
    IfExists,
    Reference,
    Schema,
    SchemaContent,
    VersionInfo,
    VersionState,
    canonical_text,
    check_id,
    check_if_exists,
    check_references,
    check_version,
    parse_schema,
    schema_text,
)

SchemaKey = tuple[str, str, str | None]
ContentKey = tuple[IdType, int | str]

_RACE_RETRIES = 20
"""Repetitions of a registration that lost a race: at most 5 s; 40 racing clients needed 12."""


_MOST_TESTS = 10
"""Fetches at the same time that test the server; further ones do not wait for the outcome."""


@dataclass(slots=True)
class _Server:
    """What fetches have shown of a server."""

    sends_ids: bool | None = None  # with content, in headers; None before the first fetch
    tests: int = 0  # under way


class Operations(Catalog):
    """The operations of the clients of one group, and their caches.

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
            return _cached(_content(answer, info.artifact_type), info)
        try:
            content = yield from self.fetch_content(("globalId", info.global_id))
        except SchemaNotFoundError as error:  # a disabled version
            missing = SchemaNotFoundError(
                group, artifact_id, version=version, problem=error.problem
            )
            raise missing from error
        return _cached(content, info)

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

    def register_schema(  # noqa: PLR0913 - the protocol's signature
        self,
        artifact_id: str,
        schema: Schema,
        if_exists: IfExists = "FIND_OR_CREATE_VERSION",
        *,
        artifact_type: str = "AVRO",
        references: Sequence[Reference] = (),
        canonical: bool = False,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        group_id: str | None = None,
    ) -> Operation[CachedSchema]:
        check_if_exists(if_exists)
        group = self.group(group_id)
        text = schema_text(schema)
        content = SchemaContent(text, _parsed(artifact_id, text, artifact_type), artifact_type)
        body = self._artifact_body(artifact_id, content, references, group)
        if version is not None:
            body["firstVersion"]["version"] = check_version(version)
        if labels is not None:
            body["labels"] = body["firstVersion"]["labels"] = dict(labels)
        operation = self._register(group, content, body, if_exists, canonical)
        if if_exists != "FIND_OR_CREATE_VERSION":
            return (yield from operation)
        # Equal registrations at the same time are one request.
        key = "register", group, canonical, json.dumps(body, sort_keys=True)
        outcome: Any = yield Shared(key, operation)
        cached: CachedSchema = outcome
        return cached

    def _register(
        self,
        group: str,
        content: SchemaContent,
        body: Mapping[str, Any],
        if_exists: IfExists,
        canonical: bool,
    ) -> Operation[CachedSchema]:
        params = {"ifExists": if_exists, "canonical": str(canonical).lower()}
        info = yield from self._create(group, body, params)
        if canonical:
            stored = yield from self._content_of(info, content)
            kind = content.artifact_type
            if canonical_text(stored.content, kind) == canonical_text(content.content, kind):
                content = stored
            else:  # Apicurio's canonical form lacks aliases, documentation and some defaults
                params["canonical"] = "false"
                info = yield from self._create(group, body, params)
        cached = _cached(content, info)
        if info.state in _SERVED:
            self.contents.put(("globalId", info.global_id), content)
            self.schemas.put((group, body["artifactId"], None), cached)
        return cached

    def _content_of(self, info: VersionInfo, registered: SchemaContent) -> Operation[SchemaContent]:
        """Return the content of a version; a draft has no readable one by its ids."""
        try:
            stored = yield from self.fetch_content(("contentId", info.content_id))
        except SchemaNotFoundError:
            return SchemaContent("", None)
        artifact_type = registered.artifact_type
        return SchemaContent(
            stored.content, parse_schema(stored.content, artifact_type), artifact_type
        )

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

    def check_compatibility(
        self,
        artifact_id: str,
        schema: Schema,
        *,
        artifact_type: str | None = None,
        references: Sequence[Reference] = (),
        group_id: str | None = None,
    ) -> Operation[CompatibilityResult]:
        group = self.group(group_id)
        text = schema_text(schema)
        if artifact_type is None:
            answer = yield Call("GET", self.artifact_path(artifact_id, group))
            artifact_type = "AVRO"
            if answer.status != 404:
                artifact_type = succeeded(answer).read(ArtifactInfo).artifact_type
        try:
            content = SchemaContent(text, _parsed(artifact_id, text, artifact_type), artifact_type)
            body = self._artifact_body(artifact_id, content, references, group)
            yield from self._create(group, body, {"ifExists": "CREATE_VERSION", "dryRun": "true"})
        except (IncompatibleSchemaError, InvalidSchemaError) as error:
            causes = error.causes or (Cause(str(error.problem or error.cause)),)
            return CompatibilityResult(False, causes)
        return CompatibilityResult(True)

    def _create(
        self, group: str, body: Mapping[str, Any], params: dict[str, str]
    ) -> Operation[VersionInfo]:
        """Create an artifact or version; repeat it if another client did so at the same moment.

        Apicurio looks for content and adds a version in two steps, so that one of two racing
        clients gets "the version exists". A version name of the caller may really be taken: that
        is repeated once, to find a version with the same content.
        """
        may_find = params["ifExists"] == "FIND_OR_CREATE_VERSION"
        retries = 0 if params["ifExists"] == "FAIL" else _RACE_RETRIES
        if "version" in body["firstVersion"]:
            retries = int(may_find)
        repeatable = may_find or "dryRun" in params
        call = post(path("groups", group, "artifacts"), body, repeatable=repeatable, **params)
        answer = yield call
        for seconds in islice(pauses(0.05, 0.4), retries):
            if answer.ok or read_problem(answer).name not in {VERSION_EXISTS, ARTIFACT_EXISTS}:
                break
            yield Pause(seconds)
            answer = yield call
        if not answer.ok:
            raise registration_failure(body["artifactId"], answer)
        return self._created(answer, body["artifactId"])

    def _created(self, answer: Answer, artifact_id: str) -> VersionInfo:
        try:
            return answer.read(_Created).version
        except RegistryConnectionError as error:
            raise SchemaRegistrationError(artifact_id, error) from error

    def _artifact_body(
        self, artifact_id: str, content: SchemaContent, references: Sequence[Reference], group: str
    ) -> dict[str, Any]:
        if content.content.lstrip().startswith(("http://", "https://")):
            raise InvalidArgumentError("a schema cannot be a URL: the registry would fetch it")
        listed = [
            {
                "name": ref.name,
                "groupId": group if ref.group_id is None else ref.group_id,
                "artifactId": ref.artifact_id,
                "version": ref.version,
            }
            for ref in check_references(references)
        ]
        return {
            "artifactId": check_id("artifact_id", artifact_id),
            "artifactType": content.artifact_type,
            "firstVersion": {
                "content": {
                    "content": content.content,
                    "contentType": _CONTENT_TYPES.get(
                        content.artifact_type or "", "application/json"
                    ),
                    "references": listed,
                }
            },
        }


class _Created(BaseModel):
    version: VersionInfo


def _parsed(artifact_id: str, text: str, artifact_type: str) -> Any:
    try:
        return parse_schema(text, artifact_type)
    except ValueError as error:
        raise InvalidSchemaError(artifact_id, error) from error


def _content(answer: Answer, artifact_type: str | None = None) -> SchemaContent:
    text = answer.text()
    kind = answer.headers.get("X-Registry-ArtifactType", artifact_type)
    if kind is None and answer.headers.get("Content-Type", "").startswith(
        _CONTENT_TYPES["PROTOBUF"]
    ):
        kind = "PROTOBUF"
    try:
        return SchemaContent(text, parse_schema(text, kind), kind)
    except ValueError as error:
        raise answer.unusable(f"expected {kind} content: {error}") from error


def _cached(content: SchemaContent, info: VersionInfo) -> CachedSchema:
    return CachedSchema(
        content.schema,
        info.global_id,
        info.content_id,
        info.version,
        info.artifact_type,
        content.content,
        draft=info.state == "DRAFT",
    )


_SERVED = frozenset({"ENABLED", "DEPRECATED"})
"""The states of versions that may be the newest; a sunset one is read by name only."""
_ID_PATHS: dict[IdType, str] = {
    "globalId": "globalIds",
    "contentId": "contentIds",
    "contentHash": "contentHashes",
}
_CONTENT_TYPES = {
    "PROTOBUF": "application/x-protobuf",
    "GRAPHQL": "application/graphql",
    "WSDL": "text/xml",
    "XSD": "text/xml",
    "XML": "text/xml",
}
