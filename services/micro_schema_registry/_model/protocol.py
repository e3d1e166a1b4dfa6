"""The methods of every async registry: Apicurio, the store on JetStream, the NATS client."""

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
    """A schema registry; `group_id=None` means the group of the client.

    Every method raises `RegistryConnectionError` when the registry gives no usable answer,
    `InvalidArgumentError` for arguments that no registry can take, such as a blank id, and
    `ClosedError` after closing.
    """

    @property
    def group_id(self) -> str:
        """The group of every call that names none."""
        ...

    async def get_schema(
        self, artifact_id: str, *, version: str | None = None, group_id: str | None = None
    ) -> CachedSchema:
        """Return one version of a schema, by default the newest enabled one.

        Args:
            artifact_id: The artifact.
            version: The name of a version (`"3"`) or `"branch=<name>"`.
            group_id: The group.

        Raises:
            SchemaNotFoundError: There is no such artifact or version, or it is disabled.
        """
        ...

    async def get_schema_by_global_id(self, global_id: int) -> dict[str, object]:
        """Return the parsed schema of a global id, which names one version of one artifact.

        Raises:
            SchemaNotFoundError: There is no such id, or its version is disabled.
        """
        ...

    async def get_schema_by_content_id(self, content_id: int) -> dict[str, object]:
        """Return the parsed schema of a content id, which equal contents share.

        Raises:
            SchemaNotFoundError: There is no such id.
        """
        ...

    async def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return the content of an immutable id; `contentHash` is a SHA-256 in hexadecimal.

        Raises:
            SchemaNotFoundError: There is no such id.
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

        Args:
            artifact_id: The artifact.
            schema: Parsed JSON, or text that is registered verbatim.
            if_exists: What to do when the artifact exists. `FIND_OR_CREATE_VERSION` returns the
                version with the same content, or adds one. `CREATE_VERSION` always adds one.
                `FAIL` refuses.
            artifact_type: `AVRO`, `JSON`, `PROTOBUF` or another type of the registry.
            references: The schemas that this one refers to.
            canonical: Whether the same content in another format is the same, too.
            version: The name of a created version; the default is the next number.
            labels: Labels of the version, and of a created artifact.
            group_id: The group.

        Raises:
            SchemaExistsError: `FAIL` met an artifact, or `version` is taken.
            InvalidSchemaError: The content is not valid for its type.
            IncompatibleSchemaError: The content breaks a rule; `causes` say where.
            SchemaRegistrationError: The registry refused it for another reason.
        """
        ...

    async def check_compatibility(
        self,
        artifact_id: str,
        schema: Schema,
        *,
        artifact_type: str | None = None,
        references: Sequence[Reference] = (),
        group_id: str | None = None,
    ) -> CompatibilityResult:
        """Check a schema against the rules as if it were registered; nothing is stored.

        `artifact_type` is by default the type of the artifact, or `AVRO` for a new one.

        Invalid content is not compatible; the causes say why. Without rules all content is.
        """
        ...

    async def list_groups(self, *, offset: int = 0, limit: int = 20) -> Page[str]:
        """Return the ids of groups, sorted."""
        ...

    async def list_artifacts(
        self, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Page[ArtifactInfo]:
        """Return the artifacts of a group, sorted by id; an unknown group has none."""
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
            SchemaNotFoundError: There is no such artifact.
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
        """Return the artifacts that meet every condition, in all groups or in `group_id`.

        Args:
            name: A part of the artifact's id.
            content: The exact content of one of the versions; it excludes `name`, `labels` and
                `artifact_type`.
            artifact_type: The type of the artifact.
            labels: Labels that the artifact has.
            group_id: The only group to search.
            offset: The number of artifacts to skip.
            limit: The most artifacts to return.
        """
        ...

    async def get_version(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> VersionInfo:
        """Return the description of a version in any state, by default the newest enabled one.

        Raises:
            SchemaNotFoundError: There is no such version.
        """
        ...

    async def get_references(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> tuple[Reference, ...]:
        """Return the references of the content of a version.

        Raises:
            SchemaNotFoundError: There is no such version.
        """
        ...

    async def get_content_references(
        self, id_type: IdType, value: int | str
    ) -> tuple[Reference, ...]:
        """Return the references of the content of an immutable id.

        Raises:
            SchemaNotFoundError: There is no such id.
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
        """Change the state of a version; a disabled version is not served any more.

        Raises:
            SchemaNotFoundError: There is no such version.
        """
        ...

    async def get_rules(
        self,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> dict[str, str]:
        """Return the rules of an artifact, else of the group, or of the whole registry.

        The result maps rule types to configurations. It has no inherited rules. An unknown group
        has no rules.

        Raises:
            SchemaNotFoundError: There is no such artifact.
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
        """Set a rule of an artifact, else of the group, or of the whole registry.

        COMPATIBILITY takes NONE, BACKWARD, FORWARD, FULL, and the last three with `_TRANSITIVE`.
        VALIDITY takes NONE, SYNTAX_ONLY, FULL. INTEGRITY takes NONE, REFS_EXIST, ALL_REFS_MAPPED,
        NO_DUPLICATES, FULL. The nearest rule counts. A missing group is created.

        Raises:
            SchemaNotFoundError: There is no such artifact.
            InvalidArgumentError: There is no such rule or configuration.
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
        """Remove a rule, if it is set."""
        ...

    async def delete_artifact(self, artifact_id: str, *, group_id: str | None = None) -> None:
        """Delete an artifact with all its versions, if the registry permits it.

        Raises:
            SchemaNotFoundError: There is no such artifact.
            RequestRefusedError: Deletion is switched off.
        """
        ...

    async def delete_version(
        self, artifact_id: str, version: str, *, group_id: str | None = None
    ) -> None:
        """Delete one version, if the registry permits it.

        Raises:
            SchemaNotFoundError: There is no such version.
            RequestRefusedError: Deletion is switched off.
        """
        ...

    async def info(self) -> RegistryInfo:
        """Return the registry's name and version; this also checks that it answers."""
        ...

    async def aclose(self) -> None:
        """Close the connections that the client opened; it may be called twice."""
        ...
