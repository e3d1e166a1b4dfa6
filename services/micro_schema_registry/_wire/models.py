"""Requests and answers of the NATS service as JSON objects with these member names.

A request with an unknown member is refused, so that a misspelt option is an error. `group` is the
group of artifacts.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from micro_schema_registry._errors import Cause, InvalidArgumentError
from micro_schema_registry._model.models import (
    ArtifactInfo,
    CachedSchema,
    IdType,
    IfExists,
    Reference,
    VersionInfo,
    VersionState,
    content_hash,
)

GROUP = "registry.v1"
"""Prefix of the subjects of every endpoint, unless the service is configured otherwise."""

MAX_PAGE = 500
MAX_BATCH = 500

Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]
Offset = Annotated[int, Field(ge=0)]
Batch = Annotated[list[int], Field(max_length=MAX_BATCH)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(_Request):
    """A request without members."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class _OfGroup(_Request):
    group: str = "default"


class _OfArtifact(_OfGroup):
    artifact: str


class VersionQuery(_OfArtifact):
    """The name of a version; without `version` the newest enabled one."""

    version: str | None = None


_ID_TYPES: dict[str, IdType] = {
    "global_id": "globalId",
    "content_id": "contentId",
    "sha256": "contentHash",
}


class IdQuery(_Request):
    """One id of content."""

    global_id: int | None = None
    content_id: int | None = None
    sha256: str | None = None

    def key(self) -> tuple[IdType, int | str]:
        """Return the kind of id and its value.

        Raises:
            InvalidArgumentError: There is not exactly one id.
        """
        given = {kind: getattr(self, member) for member, kind in _ID_TYPES.items()}
        ids = [(kind, value) for kind, value in given.items() if value is not None]
        if len(ids) != 1:
            raise InvalidArgumentError("expected exactly one of global_id, content_id and sha256")
        return ids[0]

    @classmethod
    def of(cls, id_type: IdType, value: int | str) -> Self:
        """Return the request for an id."""
        return cls.model_validate(
            {member: value for member, kind in _ID_TYPES.items() if kind == id_type}
        )


class ContentQuery(IdQuery):
    """One id of content, or with `ids` up to 500 global ids."""

    ids: Batch | None = None


class ReferencesQuery(IdQuery):
    """A version by name, as in `VersionQuery`, or one id of content."""

    group: str = "default"
    artifact: str | None = None
    version: str | None = None


class ContentDraft(_OfArtifact):
    """Content that is not registered yet."""

    content: str
    type: str | None = None
    references: tuple[Reference, ...] = ()


class Registration(ContentDraft):
    """Content to register; see `SchemaRegistry.register_schema`."""

    type: str = "AVRO"
    if_exists: IfExists = "FIND_OR_CREATE_VERSION"
    canonical: bool = False
    version: str | None = None
    labels: dict[str, str] | None = None


class PageQuery(_Request):
    """A page of all groups."""

    offset: Offset = 0
    limit: Limit = 20


class ArtifactsQuery(PageQuery, _OfGroup):
    """A page of the artifacts of a group."""


class VersionsQuery(PageQuery, _OfArtifact):
    """A page of the versions of an artifact."""


class Search(PageQuery):
    """A page of the artifacts that meet every condition; see `SchemaRegistry.search_artifacts`."""

    group: str | None = None
    name: str | None = None
    content: str | None = None
    type: str | None = None
    labels: dict[str, str] | None = None


class RulesQuery(_OfGroup):
    """The rules of an artifact, of the group, or with `everywhere` of the whole registry."""

    artifact: str | None = None
    everywhere: bool = False


class RuleChange(RulesQuery):
    """A rule to set, or to remove if `config` is null."""

    rule: str
    config: str | None = None


class StateChange(_OfArtifact):
    """A new state of a version."""

    version: str
    state: VersionState


class Deletion(VersionQuery):
    """A version to delete, or without `version` an artifact."""


class Validation(IdQuery):
    """A JSON value to check against the schema with an id."""

    value: Any


class SchemaAnswer(_Answer):
    """One version of a schema; `stale` if the registry could not be asked for a newer one.

    The content of a `draft` may still change.
    """

    group: str
    artifact: str
    version: str | None
    global_id: int
    content_id: int
    sha256: str
    type: str | None
    content: str
    stale: bool = False
    draft: bool = False

    @classmethod
    def of(cls, group: str, artifact: str, schema: CachedSchema) -> Self:
        """Return the answer for a version of an artifact."""
        return cls(
            group=group,
            artifact=artifact,
            version=schema.version,
            global_id=schema.global_id,
            content_id=schema.content_id,
            sha256=content_hash(schema.content),
            type=schema.artifact_type,
            content=schema.content,
            draft=schema.draft,
        )


class ContentAnswer(_Answer):
    """Content by an id."""

    content: str
    type: str | None
    sha256: str
    global_id: int | None = None


class ContentBatch(_Answer):
    """Contents by global ids in any order, and the ids without content."""

    found: tuple[ContentAnswer, ...]
    missing: tuple[int, ...]


class Verdict(_Answer):
    """Whether content would be accepted as the next version, and the reasons against it."""

    compatible: bool
    causes: tuple[Cause, ...] = ()


class Validity(_Answer):
    """Whether a value is valid, and the reasons against it."""

    valid: bool
    causes: tuple[Cause, ...] = ()


class GroupsPage(_Answer):
    """One page of groups."""

    items: tuple[str, ...]
    total: int


class ArtifactsPage(_Answer):
    """One page of artifacts."""

    items: tuple[ArtifactInfo, ...]
    total: int


class VersionsPage(_Answer):
    """One page of versions."""

    items: tuple[VersionInfo, ...]
    total: int


class References(_Answer):
    """The references of content."""

    references: tuple[Reference, ...]


class Rules(_Answer):
    """Configurations of rules by their types."""

    rules: dict[str, str]


class Done(_Answer):
    """The acknowledgement of a change."""

    done: bool = True


class ServiceState(_Answer):
    """The registry behind the service, and whether it answers; `reason` if it does not."""

    backend: str
    name: str
    version: str
    ready: bool
    reason: str = ""
    cached: int
    cached_bytes: int


class Event(_Answer):
    """A possible change of an artifact; `withdrawn` if its earlier answers may be wrong now."""

    group: str
    artifact: str
    withdrawn: bool = False
