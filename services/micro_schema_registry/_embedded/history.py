"""The life of an artifact as a list of changes, and the head that sums them up; pure, no I/O."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from micro_schema_registry._embedded.keys import Artifact, artifact_of
from micro_schema_registry._model.models import LATEST, VersionState

StoredState = VersionState | Literal["DELETED"]
Labels = dict[str, str | None]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    artifact: tuple[str, str] | None = None

    def of(self, artifact: Artifact) -> Self:
        """Return the same with the artifact named, where its key cannot tell it."""
        if not artifact.is_hashed:
            return self
        return self.model_copy(update={"artifact": tuple(artifact)})


class _Change(_Stored):
    # Tells this write from an equal one of another client; see Bucket.create.
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def encoded(self) -> bytes:
        """Return the bytes to store."""
        exclude = {"artifact"} if self.artifact is None else None
        return self.model_dump_json(exclude=exclude).encode()


class VersionAdded(_Change):
    """A new version; `artifact_type` becomes the type of the artifact with its first version."""

    kind: Literal["version"] = "version"
    version: str
    content_id: int
    artifact_type: str
    labels: Labels = Field(default_factory=dict)


class StateSet(_Change):
    """A new state of a version."""

    kind: Literal["state"] = "state"
    version: str
    state: VersionState


class RuleSet(_Change):
    """A rule of the artifact, removed if `config` is None."""

    kind: Literal["rule"] = "rule"
    rule: str
    config: str | None


class Deleted(_Change):
    """The deletion of a version, or of all if `version` is None; the contents stay."""

    kind: Literal["delete"] = "delete"
    version: str | None = None


Change = VersionAdded | StateSet | RuleSet | Deleted
_CHANGE: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="kind")])


def read_change(value: bytes) -> Change:
    """Return a change from its bytes."""
    return _CHANGE.validate_json(value)


def artifact_in(key: str, value: bytes) -> Artifact:
    """Return the artifact that a head or a change belongs to, by its key or else its value.

    Raises:
        ValueError: Neither names one.
    """
    named = artifact_of(key) or _Stored.model_validate_json(value).artifact
    if named is None:
        raise ValueError("no artifact is named")
    return Artifact(*named)


class Version(NamedTuple):
    """A version within a head; a list in JSON, as there may be thousands."""

    name: str
    global_id: int
    content_id: int
    state: StoredState
    created_on: datetime
    labels: Labels


class Head(_Stored):
    """An artifact after its first `slot` changes; `versions` includes deleted ones."""

    slot: int = 0
    artifact_type: str = ""
    labels: Labels = Field(default_factory=dict)
    created_on: datetime | None = None
    modified_on: datetime | None = None
    rules: dict[str, str] = Field(default_factory=dict)
    versions: tuple[Version, ...] = ()

    def encoded(self) -> bytes:
        """Return the bytes to store."""
        return self.model_dump_json(exclude_defaults=True).encode()

    @property
    def present(self) -> tuple[Version, ...]:
        """The versions that are not deleted, oldest first."""
        return tuple(version for version in self.versions if version.state != "DELETED")

    @property
    def served(self) -> tuple[Version, ...]:
        """The versions that can be read and that new ones are compared with, oldest first."""
        return tuple(v for v in self.versions if v.state not in {"DELETED", "DISABLED", "DRAFT"})

    @property
    def exists(self) -> bool:
        """Whether the artifact exists: it has a version."""
        return bool(self.present)

    def find(self, expression: str | None) -> Version | None:
        """Return a version by name, or by None or `branch=latest` the newest in use."""
        if expression is None or expression == LATEST:
            return next((v for v in reversed(self.served) if v.state != "SUNSET"), None)
        return next((v for v in self.present if v.name == expression), None)

    def is_taken(self, name: str) -> bool:
        """Tell whether a version of that name exists or existed."""
        return any(version.name == name for version in self.versions)

    def next_name(self) -> str:
        """Return the name of the next version: its number, unless that name was given by hand."""
        taken = {version.name for version in self.versions}
        number = len(taken) + 1
        while str(number) in taken:
            number += 1
        return str(number)

    def after(self, change: Change, revision: int) -> "Head":
        """Return the head after one more change, which was written at `revision`."""
        following: Mapping[str, object]
        match change:
            case VersionAdded():
                following = self._with_version(change, revision)
            case StateSet(version=name, state=state):
                following = {"versions": self._in_state(state, name)}
            case RuleSet(rule=rule, config=config):
                others = {key: value for key, value in self.rules.items() if key != rule}
                following = {"rules": others if config is None else {**others, rule: config}}
            case Deleted(version=None):
                following = {"versions": self._in_state("DELETED", None), "rules": {}, "labels": {}}
            case Deleted(version=name):
                following = {"versions": self._in_state("DELETED", name)}
        stamp = {"slot": self.slot + 1, "modified_on": change.at}
        return self.model_copy(update={**following, **stamp})

    def _with_version(self, change: VersionAdded, revision: int) -> Mapping[str, object]:
        added = Version(
            change.version, revision, change.content_id, "ENABLED", change.at, change.labels
        )
        versions = (*self.versions, added)
        if self.exists:
            return {"versions": versions}
        return {
            "versions": versions,
            "artifact_type": change.artifact_type,
            "labels": change.labels,
            "created_on": change.at,
        }

    def _in_state(self, state: StoredState, name: str | None) -> tuple[Version, ...]:
        return tuple(
            version._replace(state=state)
            if name in (None, version.name) and version.state != "DELETED"
            else version
            for version in self.versions
        )
