"""What the NATS service takes and gives: one model for each request and answer, as JSON objects with these names.

Requests refuse members they do not know, so that a misspelt option is an error and not ignored. ``group`` is Apicurio's group of artifacts.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from micro_schema_registry._errors import Cause, InvalidArgumentError
from micro_schema_registry._model.models import (
    ArtifactInfo,
    IdType,
    IfExists,
    Reference,
    VersionInfo,
    VersionState,
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
    """Ask for something that needs no words."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class _OfGroup(_Request):
    group: str = "default"


class _OfArtifact(_OfGroup):
    artifact: str


class VersionQuery(_OfArtifact):
    """Name a version; without ``version`` the newest enabled one."""

    version: str | None = None


class IdQuery(_Request):
    """Name content by one of its ids."""

    global_id: int | None = None
    content_id: int | None = None
    sha256: str | None = None

    def key(self) -> tuple[IdType, int | str]:
        """Return the kind of id and its value, as get_content takes them.

        Raises:
            InvalidArgumentError: there is not exactly one.
        """
        ids: dict[IdType, int | str | None] = {
            "globalId": self.global_id,
            "contentId": self.content_id,
            "contentHash": self.sha256,
        }
        found = [(kind, value) for kind, value in ids.items() if value is not None]
        if len(found) != 1:
            raise InvalidArgumentError("expected exactly one of global_id, content_id and sha256")
        return found[0]


class ContentQuery(IdQuery):
    """Name content by an id, or with ``ids`` up to 500 global ids at once."""

    ids: Batch | None = None


class ContentDraft(_OfArtifact):
    """Hold content that is not in the registry yet."""

    content: str
    type: str = "AVRO"
    references: tuple[Reference, ...] = ()


class Registration(ContentDraft):
    """Ask for content to be registered; see SchemaRegistry.register_schema."""

    if_exists: IfExists = "FIND_OR_CREATE_VERSION"
    canonical: bool = False
    version: str | None = None
    labels: dict[str, str] | None = None


class PageQuery(_Request):
    """Ask for a page of all groups."""

    offset: Offset = 0
    limit: Limit = 20


class ArtifactsQuery(_OfGroup):
    """Ask for a page of the artifacts of a group."""

    offset: Offset = 0
    limit: Limit = 20


class VersionsQuery(_OfArtifact):
    """Ask for a page of the versions of an artifact."""

    offset: Offset = 0
    limit: Limit = 20


class Search(_Request):
    """Ask for a page of the artifacts that meet every condition given; see SchemaRegistry.search_artifacts."""

    group: str | None = None
    name: str | None = None
    content: str | None = None
    type: str | None = None
    labels: dict[str, str] | None = None
    offset: Offset = 0
    limit: Limit = 20


class RulesQuery(_OfGroup):
    """Ask for the rules of an artifact, else of the group, or of the whole registry."""

    artifact: str | None = None
    everywhere: bool = False


class RuleChange(RulesQuery):
    """Set a rule, or with ``config`` null remove it."""

    rule: str
    config: str | None = None


class StateChange(_OfArtifact):
    """Move a version to another state."""

    version: str
    state: VersionState


class Deletion(_OfArtifact):
    """Delete a version, or without ``version`` the artifact."""

    version: str | None = None


class Validation(IdQuery):
    """Ask whether a JSON value fits a schema that is named by an id."""

    value: Any


class SchemaAnswer(_Answer):
    """Hold one version of a schema; ``stale`` when the registry could not be asked whether it is still the newest."""

    group: str
    artifact: str
    version: str | None
    global_id: int
    content_id: int
    sha256: str
    type: str | None
    content: str
    stale: bool = False


class ContentAnswer(_Answer):
    """Hold content found by an id; of a batch ``found`` in any order and the ids ``missing``."""

    content: str
    type: str | None
    sha256: str
    global_id: int | None = None


class ContentBatch(_Answer):
    """Hold contents found by global ids, and the ids of which there are none."""

    found: tuple[ContentAnswer, ...]
    missing: tuple[int, ...]


class Verdict(_Answer):
    """Say whether content would be accepted as the next version, and if not, why."""

    compatible: bool
    causes: tuple[Cause, ...] = ()


class Validity(_Answer):
    """Say whether a value fits, and if not, why."""

    valid: bool
    causes: tuple[Cause, ...] = ()


class GroupsPage(_Answer):
    """Hold one page of groups."""

    items: tuple[str, ...]
    total: int


class ArtifactsPage(_Answer):
    """Hold one page of artifacts."""

    items: tuple[ArtifactInfo, ...]
    total: int


class VersionsPage(_Answer):
    """Hold one page of versions."""

    items: tuple[VersionInfo, ...]
    total: int


class References(_Answer):
    """Hold what the content of a version refers to."""

    references: tuple[Reference, ...]


class Rules(_Answer):
    """Hold rules that are set: kinds and their configuration."""

    rules: dict[str, str]


class Done(_Answer):
    """Say that it is done."""

    done: bool = True


class ServiceState(_Answer):
    """Say what the service stands on and whether that answers; ``reason`` says why not."""

    backend: str
    name: str
    version: str
    ready: bool
    reason: str = ""
    cached: int
    cached_bytes: int


class Event(_Answer):
    """Tell that an artifact may have changed; ``withdrawn`` when what was served before may not be served any more."""

    group: str
    artifact: str
    withdrawn: bool = False
