"""What registries take and give; the same types for every backend."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from micro_schema_registry._errors import Cause, InvalidArgumentError
from micro_schema_registry._model.frozen_json import freeze

IfExists = Literal["FAIL", "CREATE_VERSION", "FIND_OR_CREATE_VERSION"]
RuleType = Literal["VALIDITY", "COMPATIBILITY", "INTEGRITY"]
VersionState = Literal["ENABLED", "DISABLED", "DEPRECATED", "DRAFT", "SUNSET"]
IdType = Literal["globalId", "contentId", "contentHash"]
Schema = Mapping[str, Any] | Sequence[Any] | str
"""A schema as given by a caller: parsed JSON, or text that is registered as it stands (Protobuf, verbatim JSON)."""

LATEST = "branch=latest"
"""The version expression of the newest enabled version; the bare word ``latest`` is a legal version name."""

T = TypeVar("T")
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class CachedSchema:
    """Hold one version of a schema.

    ``schema`` is the parsed content, read-only, for JSON-like artifact types (a dict, or a list for an Avro union) and the text
    itself otherwise. ``content`` is the exact text in the registry. ``version`` and ``artifact_type`` are None when the
    registry did not say.
    """

    schema: Any
    global_id: int
    content_id: int
    version: str | None = None
    artifact_type: str | None = None
    content: str = ""

    def __post_init__(self) -> None:
        for name in ("global_id", "content_id"):
            if not 0 <= getattr(self, name) <= _INT64_MAX:
                raise ValueError(f"invalid {name} {getattr(self, name)!r}: expected 0 to 2^63-1")


class _Wire(BaseModel):
    """Read camelCase JSON as Apicurio writes it, ignore what is new, never change."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """Let null mean absent: servers and gateways differ in which they write."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}


class Reference(_Wire):
    """Point from content to another schema: ``name`` is how the content calls it (an Avro name, a proto import)."""

    name: str
    artifact_id: str
    version: str
    group_id: str | None = None


class VersionInfo(_Wire):
    """Describe one version of an artifact."""

    version: str
    global_id: int
    content_id: int
    artifact_id: str
    group_id: str = "default"
    artifact_type: str = "AVRO"
    state: VersionState = "ENABLED"
    name: str | None = None
    description: str | None = None
    labels: dict[str, str | None] = Field(default_factory=dict)
    owner: str | None = None
    created_on: datetime | None = None


class ArtifactInfo(_Wire):
    """Describe one artifact: a named series of versions."""

    artifact_id: str
    group_id: str = "default"
    artifact_type: str = "AVRO"
    name: str | None = None
    description: str | None = None
    labels: dict[str, str | None] = Field(default_factory=dict)
    owner: str | None = None
    created_on: datetime | None = None
    modified_on: datetime | None = None


class RegistryInfo(_Wire):
    """Describe the registry itself."""

    name: str
    version: str
    description: str | None = None


@dataclass(frozen=True)
class SchemaContent:
    """Hold content found by an id: the exact text, and the same parsed and read-only (see CachedSchema)."""

    content: str
    schema: Any
    artifact_type: str | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Hold one page of a list; ``count`` is the number of items on all pages."""

    items: tuple[T, ...]
    count: int

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class CompatibilityResult:
    """Say whether content would be accepted, and if not, why; true in a condition when it would."""

    compatible: bool
    causes: tuple[Cause, ...] = ()

    def __bool__(self) -> bool:
        return self.compatible


def schema_text(schema: Schema) -> str:
    """Return the text under which a schema is registered: itself, or its JSON in the order of its keys."""
    return schema if isinstance(schema, str) else json.dumps(schema)


def parse_schema(content: str, artifact_type: str | None = None) -> Any:
    """Return content read-only and parsed where its type is JSON; where the type is unknown, if it happens to be JSON.

    Raises:
        ValueError: the type is JSON and the content is not.
    """
    if artifact_type is not None and artifact_type not in _JSON_TYPES:
        return content
    try:
        return freeze(json.loads(content))
    except ValueError:
        if artifact_type in _STRICT_JSON_TYPES:
            raise
        return content


def content_hash(content: str) -> str:
    """Return the SHA-256 of a schema's exact text in hexadecimal, Apicurio's contentHash for content without references."""
    return hashlib.sha256(content.encode()).hexdigest()


def check_id(kind: str, value: str) -> str:
    """Return an id of a group or artifact that a registry can take.

    Raises:
        InvalidArgumentError: it is blank, has a line break or more than 512 characters. Apicurio would take a blank one and invent another.
    """
    if not value.strip() or not _ID.fullmatch(value):
        raise InvalidArgumentError(
            f"invalid {kind} {value!r}: expected 1 to 512 characters, not all blank"
        )
    return value


def check_version(expression: str) -> str:
    """Return a version expression: a version's name or ``branch=<name>``.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if not _VERSION.fullmatch(expression):
        raise InvalidArgumentError(
            f"invalid version {expression!r}: expected a name of letters, digits and '._-+', or 'branch=<name>'"
        )
    return expression


def check_rule(rule: str, config: str) -> None:
    """Refuse a rule or configuration that does not exist; Apicurio itself stores any configuration.

    Raises:
        InvalidArgumentError: as said.
    """
    known = RULE_CONFIGS.get(rule)
    if known is None:
        raise InvalidArgumentError(
            f"invalid rule {rule!r}: expected one of {', '.join(RULE_CONFIGS)}"
        )
    if config not in known:
        raise InvalidArgumentError(
            f"invalid {rule} rule {config!r}: expected one of {', '.join(known)}"
        )


RULE_CONFIGS: dict[str, tuple[str, ...]] = {
    "VALIDITY": ("NONE", "SYNTAX_ONLY", "FULL"),
    "COMPATIBILITY": (
        "NONE",
        "BACKWARD",
        "BACKWARD_TRANSITIVE",
        "FORWARD",
        "FORWARD_TRANSITIVE",
        "FULL",
        "FULL_TRANSITIVE",
    ),
    "INTEGRITY": ("NONE", "REFS_EXIST", "ALL_REFS_MAPPED", "NO_DUPLICATES", "FULL"),
}
_ID = re.compile(r".{1,512}")
_VERSION = re.compile(r"(branch=)?[a-zA-Z0-9._\-+]{1,256}")
_STRICT_JSON_TYPES = frozenset({"AVRO", "JSON", "KCONNECT"})
# These are written in YAML too, which stays text here.
_JSON_TYPES = _STRICT_JSON_TYPES | {"OPENAPI", "ASYNCAPI"}
