"""The methods that every asynchronous registry has: Apicurio over HTTP, the store on JetStream, the client over NATS."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from micro_schema_registry._model.models import (
    ArtifactInfo,
    CachedSchema,
    CompatibilityResult,
    IdType,
    IfExists,
    Page,
    Reference,
    RegistryInfo,
    RuleType,
    Schema,
    SchemaContent,
    VersionInfo,
    VersionState,
)


class SchemaRegistry(Protocol):
    """Describe a schema registry; ``group_id=None`` is the group the client was made for.

    Every method raises ``RegistryConnectionError`` when the registry gives no usable answer, ``ValueError`` for blank ids,
    before anything is sent, and ``ClosedError`` after it was closed.
    """

    @property
    def group_id(self) -> str:
        """The group of every call that names none."""
        ...

    async def get_schema(
        self, artifact_id: str, *, version: str | None = None, group_id: str | None = None
    ) -> CachedSchema:
        """Return one version of a schema, by default the newest enabled one.

        ``version`` is a version's name (``"3"``) or ``"branch=<name>"``.

        Raises:
            SchemaNotFoundError: there is no such artifact or version, or it is disabled.
        """
        ...

    async def get_schema_by_global_id(self, global_id: int) -> dict[str, object]:
        """Return the parsed, read-only schema with that global id (one version of one artifact).

        Raises:
            SchemaNotFoundError: there is none, or it is disabled.
        """
        ...

    async def get_schema_by_content_id(self, content_id: int) -> dict[str, object]:
        """Return the parsed, read-only schema with that content id (the same for equal content).

        Raises:
            SchemaNotFoundError: there is none.
        """
        ...

    async def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return text, parsed form and type found by an immutable id; ``contentHash`` is a SHA-256 in hexadecimal.

        Raises:
            SchemaNotFoundError: there is none.
        """
        ...

    async def register_schema(  # noqa: PLR0913 - one call, most of it optional
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
    ) -> CachedSchema:
        """Register a schema and return the version that holds it.

        ``if_exists`` decides when the artifact exists: ``FIND_OR_CREATE_VERSION`` returns the version with the same content (exactly
        the same text, or with ``canonical=True`` the same up to formatting) or adds one, ``CREATE_VERSION`` always adds one,
        ``FAIL`` refuses. ``version`` names a version that is created, instead of the next number.

        Raises:
            SchemaExistsError: ``FAIL`` met an artifact, or ``version`` is taken.
            InvalidSchemaError: the content is not valid for its type.
            IncompatibleSchemaError: the content breaks a rule; ``causes`` say where.
            SchemaRegistrationError: anything else that the registry refused.
        """
        ...

    async def check_compatibility(
        self,
        artifact_id: str,
        schema: Schema,
        *,
        artifact_type: str = "AVRO",
        references: Sequence[Reference] = (),
        group_id: str | None = None,
    ) -> CompatibilityResult:
        """Say whether a schema would be accepted as the next version under the rules in force; nothing is stored.

        Invalid content is "not compatible", with the reason among the causes. Without rules everything is accepted.
        """
        ...

    async def list_groups(self, *, offset: int = 0, limit: int = 20) -> Page[str]:
        """Return the ids of groups, in their order."""
        ...

    async def list_artifacts(
        self, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Page[ArtifactInfo]:
        """Return the artifacts of a group, ordered by id; empty for an unknown group."""
        ...

    async def list_versions(
        self,
        artifact_id: str,
        *,
        offset: int = 0,
        limit: int = 20,
        group_id: str | None = None,
    ) -> Page[VersionInfo]:
        """Return the versions of an artifact in every state, oldest first.

        Raises:
            SchemaNotFoundError: there is no such artifact.
        """
        ...

    async def search_artifacts(  # noqa: PLR0913 - every condition is optional
        self,
        *,
        name: str | None = None,
        content: Schema | None = None,
        artifact_type: str | None = None,
        labels: Mapping[str, str] | None = None,
        group_id: str | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> Page[ArtifactInfo]:
        """Return artifacts that meet every condition given, in all groups unless ``group_id`` names one.

        ``name`` is part of the artifact's id; ``content`` is the exact content of one of its versions and cannot be
        combined with ``name``, ``labels`` or ``artifact_type`` (ValueError).
        """
        ...

    async def get_version(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> VersionInfo:
        """Return the description of a version in any state, by default of the newest enabled one.

        Raises:
            SchemaNotFoundError: there is no such version.
        """
        ...

    async def get_references(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> tuple[Reference, ...]:
        """Return what the content of a version refers to.

        Raises:
            SchemaNotFoundError: there is no such version.
        """
        ...

    async def set_state(
        self,
        artifact_id: str,
        version: str,
        state: VersionState,
        *,
        group_id: str | None = None,
    ) -> None:
        """Move a version to another state; a disabled one is not served any more.

        Raises:
            SchemaNotFoundError: there is no such version.
        """
        ...

    async def get_rules(
        self,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> dict[str, str]:
        """Return the rules set for an artifact, else for the group, or with ``everywhere`` for the whole registry.

        Keys are rule types, values their configuration; rules inherited from above are not in it. An unknown group has none.

        Raises:
            SchemaNotFoundError: there is no such artifact.
        """
        ...

    async def set_rule(
        self,
        rule: RuleType,
        config: str,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> None:
        """Set a rule for an artifact, else for the group, or with ``everywhere`` for the whole registry.

        COMPATIBILITY takes NONE, BACKWARD, FORWARD, FULL and the three with ``_TRANSITIVE``; VALIDITY takes NONE, SYNTAX_ONLY,
        FULL; INTEGRITY takes NONE, REFS_EXIST, ALL_REFS_MAPPED, NO_DUPLICATES, FULL. The nearest rule counts. A group that
        does not exist yet is made.

        Raises:
            SchemaNotFoundError: there is no such artifact.
            ValueError: there is no such rule, or it cannot be configured so.
        """
        ...

    async def delete_rule(
        self,
        rule: RuleType,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> None:
        """Remove a rule; one that is not set counts as removed."""
        ...

    async def delete_artifact(self, artifact_id: str, *, group_id: str | None = None) -> None:
        """Delete an artifact with all its versions, where the registry permits it.

        Raises:
            SchemaNotFoundError: there is no such artifact.
            RequestRefusedError: deleting is switched off.
        """
        ...

    async def delete_version(
        self, artifact_id: str, version: str, *, group_id: str | None = None
    ) -> None:
        """Delete one version, where the registry permits it.

        Raises:
            SchemaNotFoundError: there is no such version.
            RequestRefusedError: deleting is switched off.
        """
        ...

    async def info(self) -> RegistryInfo:
        """Return the registry's name and version; also a check that it answers."""
        ...

    async def aclose(self) -> None:
        """Let go of what the client opened itself; may be called twice."""
        ...
