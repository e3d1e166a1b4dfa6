"""The arguments and answers of registries; the same types for every backend."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from micro_schema_registry._errors import Cause, InvalidArgumentError
from micro_schema_registry._model.frozen_json import freeze

IfExists = Literal["FAIL", "CREATE_VERSION", "FIND_OR_CREATE_VERSION"]
RuleType = Literal["VALIDITY", "COMPATIBILITY", "INTEGRITY"]
VersionState = Literal["ENABLED", "DISABLED", "DEPRECATED", "DRAFT", "SUNSET"]
IdType = Literal["globalId", "contentId", "contentHash"]
Schema = Mapping[str, Any] | Sequence[Any] | str
"""A caller's schema: parsed JSON, or text that is registered verbatim (Protobuf, JSON)."""

LATEST = "branch=latest"
"""The expression for the newest enabled version; the bare word `latest` is a version name."""

T = TypeVar("T")
_INT64_MAX = 2**63 - 1
SchemaId = Annotated[int, Field(ge=0, le=_INT64_MAX)]


@dataclass(frozen=True)
class CachedSchema:
    """One version of a schema.

    `schema` is the read-only parsed content for JSON-like artifact types (a dict, or a list for
    an Avro union), else the text. `content` is the exact text in the registry. `version` and
    `artifact_type` are None when the registry did not send them. A `draft` may still change.
    """

    schema: Any
    global_id: int
    content_id: int
    version: str | None = None
    artifact_type: str | None = None
    content: str = ""
    draft: bool = False

    def __post_init__(self) -> None:
        for name in ("global_id", "content_id"):
            if not 0 <= getattr(self, name) <= _INT64_MAX:
                raise ValueError(f"invalid {name} {getattr(self, name)!r}: expected 0 to 2^63-1")


class _Wire(BaseModel):
    """Immutable models, read from the camelCase JSON of Apicurio or by the names of their fields.

    They are written by these names. Unknown members are ignored.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=AliasGenerator(validation_alias=to_camel),
        populate_by_name=True,
        extra="ignore",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """Treat null as absent: servers and gateways differ in which they write."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}


class Reference(_Wire):
    """A reference to another schema; `name` is its Avro name, proto import or JSON `$ref`."""

    name: str
    artifact_id: str
    version: str
    group_id: str | None = None


class VersionInfo(_Wire):
    """The description of one version of an artifact."""

    version: str
    global_id: SchemaId
    content_id: SchemaId
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
    """The description of one artifact: a named series of versions."""

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
    """The description of the registry itself."""

    name: str
    version: str
    description: str | None = None


@dataclass(frozen=True)
class SchemaContent:
    """Content behind an id: the exact text, and `schema` as in `CachedSchema`."""

    content: str
    schema: Any
    artifact_type: str | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list; `count` is the number of items on all pages."""

    items: tuple[T, ...]
    count: int

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class CompatibilityResult:
    """The answer whether content would be accepted, and why not; true in a condition if so."""

    compatible: bool
    causes: tuple[Cause, ...] = ()

    def __bool__(self) -> bool:
        return self.compatible


def schema_text(schema: Schema) -> str:
    """Return the text to register: a text itself, else JSON in the order of the keys."""
    return schema if isinstance(schema, str) else json.dumps(schema)


def parse_schema(content: str, artifact_type: str | None = None) -> Any:
    """Return the read-only parsed form of JSON-like content, else the text.

    Content of unknown type is parsed if it is JSON.

    Raises:
        ValueError: The type is JSON and the content is not.
    """
    if artifact_type is not None and artifact_type not in _JSON_TYPES:
        return content
    try:
        return freeze(json.loads(content))
    except RecursionError as error:
        raise ValueError("the content is nested too deeply") from error
    except ValueError:
        if artifact_type in _STRICT_JSON_TYPES:
            raise
        return content


def canonical_text(content: str, artifact_type: str | None) -> str:
    """Return a text that contents share if they differ only in order of keys and white space.

    White space inside a line counts where it may have a meaning: outside of JSON and Protobuf.
    """
    if artifact_type == "PROTOBUF":
        return "\0".join(_PROTOBUF_TOKEN.findall(content))
    try:
        parsed = json.loads(content, object_pairs_hook=_members, parse_float=lambda text: {text: 0})
        return json.dumps(parsed)
    except ValueError:
        return "\n".join(filter(None, map(str.strip, content.split("\n"))))


def _members(pairs: list[tuple[str, Any]]) -> list[Any]:
    return [None, *sorted(pairs, key=lambda pair: pair[0])]


def content_hash(content: str) -> str:
    """Return the SHA-256 of a text in hexadecimal: the contentHash without references."""
    return hashlib.sha256(content.encode()).hexdigest()


def is_possible_id(value: int | str) -> bool:
    """Tell whether content can have an id: a positive 64-bit number or a SHA-256 in hexadecimal."""
    if isinstance(value, str):
        return _SHA256.fullmatch(value) is not None
    return 1 <= value <= _INT64_MAX


def check_id(kind: str, value: str) -> str:
    """Return the id of a group or artifact if a registry can take it.

    Raises:
        InvalidArgumentError: It is blank, has a line break or more than 512 characters. Apicurio
            replaces a blank id by a random one.
    """
    if not value.strip() or not _ID.fullmatch(value):
        raise InvalidArgumentError(
            f"invalid {kind} {value!r}: expected 1 to 512 characters, not all blank"
        )
    return value


def check_references(references: Sequence[Reference]) -> Sequence[Reference]:
    """Return references if they are a collection.

    Raises:
        InvalidArgumentError: They are a text, or an entry is no `Reference`.
    """
    given: Sequence[object] = references
    if isinstance(given, str | bytes) or not all(isinstance(each, Reference) for each in given):
        raise InvalidArgumentError(
            f"invalid references {references!r}: expected a list of Reference"
        )
    return references


def check_version(expression: str) -> str:
    """Return a version expression: the name of a version, or `branch=<name>`.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if not _VERSION.fullmatch(expression):
        raise InvalidArgumentError(
            f"invalid version {expression!r}: expected a name of letters, digits and '._-+', "
            "or 'branch=<name>'"
        )
    return expression


def check_if_exists(if_exists: str) -> None:
    """Check the choice for an artifact that exists.

    Raises:
        InvalidArgumentError: There is no such choice.
    """
    if if_exists not in get_args(IfExists):
        choices = ", ".join(get_args(IfExists))
        raise InvalidArgumentError(f"invalid if_exists {if_exists!r}: expected one of {choices}")


def check_state(state: str) -> None:
    """Check the state of a version.

    Raises:
        InvalidArgumentError: There is no such state.
    """
    if state not in get_args(VersionState):
        choices = ", ".join(get_args(VersionState))
        raise InvalidArgumentError(f"invalid state {state!r}: expected one of {choices}")


def check_window(offset: int, limit: int) -> None:
    """Check the part of a list.

    Raises:
        InvalidArgumentError: A number is negative.
    """
    if offset < 0 or limit < 0:
        raise InvalidArgumentError(
            f"invalid offset {offset!r} or limit {limit!r}: expected 0 or more"
        )


def check_rule(rule: str, config: str) -> None:
    """Check a rule and its configuration; Apicurio itself stores any configuration.

    Raises:
        InvalidArgumentError: The rule or the configuration does not exist.
    """
    known = RULE_CONFIGS.get(rule)
    if known is None:
        raise InvalidArgumentError(
            f"invalid rule {rule!r}: expected one of {', '.join(RULE_CONFIGS)}"
        )
    choices = config.split(",") if rule == "INTEGRITY" else [config]
    if not set(choices) <= set(known):
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
_PROTOBUF_TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \w+ | [^\w\s]""",
    re.DOTALL | re.VERBOSE,
)
_ID = re.compile(r"[^\n\ud800-\udfff]{1,512}")  # half a surrogate pair is no character
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"(branch=)?[a-zA-Z0-9._\-+]{1,256}")
_STRICT_JSON_TYPES = frozenset({"AVRO", "JSON", "KCONNECT"})
# These may also be YAML, which stays text.
_JSON_TYPES = _STRICT_JSON_TYPES | {"OPENAPI", "ASYNCAPI"}
