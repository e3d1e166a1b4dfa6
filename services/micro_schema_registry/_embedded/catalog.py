"""Lists, search, states, rules and deletion of the embedded registry; see `SchemaRegistry`."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version as distribution_version
from typing import TypeVar, cast

from micro_schema_registry._embedded.history import (
    Change,
    Deleted,
    Head,
    RuleSet,
    StateSet,
    Version,
)
from micro_schema_registry._embedded.keys import Artifact
from micro_schema_registry._embedded.listing import Summary
from micro_schema_registry._embedded.store import Store
from micro_schema_registry._errors import (
    InvalidArgumentError,
    Problem,
    RequestRefusedError,
    SchemaNotFoundError,
)
from micro_schema_registry._model.models import (
    ArtifactInfo,
    Page,
    Reference,
    RegistryInfo,
    RuleType,
    Schema,
    VersionInfo,
    VersionState,
    check_id,
    check_rule,
    check_state,
    check_version,
    check_window,
    content_hash,
    schema_text,
)
from micro_schema_registry._model.registry_client import RegistryClient

T = TypeVar("T")


class StoreCatalog(RegistryClient):
    """Everything but registration and content."""

    def __init__(self, store: Store, group_id: str) -> None:
        super().__init__(group_id)
        self._store = store

    async def list_groups(self, *, offset: int = 0, limit: int = 20) -> Page[str]:
        """Return the ids of groups that hold an artifact or a rule."""
        self._check_open()
        held = {artifact.group_id for artifact in await self._store.listing.artifacts(None)}
        ruled = {
            group for group, rules in (await self._store.rules.shared()).groups.items() if rules
        }
        return _page(sorted(held | ruled), offset, limit)

    async def list_artifacts(
        self, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Page[ArtifactInfo]:
        """Return the artifacts of a group."""
        artifacts = await self._store.listing.artifacts(self._group(group_id))
        return _artifacts_page(list(artifacts.items()), offset, limit)

    async def search_artifacts(  # noqa: PLR0913 - the protocol's signature
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
        """Return artifacts that meet every condition; reads the heads of the group or of all."""
        self._check_open()
        holding: set[int] | None = None
        if content is not None:
            if not (name is None and artifact_type is None and labels is None):
                raise InvalidArgumentError(
                    "content cannot be searched together with name, artifact_type or labels"
                )
            stored = await self._store.contents.by_hash(content_hash(schema_text(content)))
            holding = {item.content_id for item in stored}
        artifacts = await self._store.listing.artifacts(group_id)
        wanted = set((labels or {}).items())
        matches = [
            (artifact, summary)
            for artifact, summary in artifacts.items()
            if (name is None or name.casefold() in artifact.artifact_id.casefold())
            and artifact_type in (None, summary.artifact_type)
            and wanted <= summary.labels.items()
            and (holding is None or holding & summary.content_ids)
        ]
        return _artifacts_page(matches, offset, limit)

    async def list_versions(
        self,
        artifact_id: str,
        *,
        offset: int = 0,
        limit: int = 20,
        group_id: str | None = None,
    ) -> Page[VersionInfo]:
        """Return the versions of an artifact."""
        artifact, head = await self._existing(artifact_id, group_id)
        infos = [_version_info(artifact, head, version) for version in head.present]
        return _page(infos, offset, limit)

    async def get_version(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> VersionInfo:
        """Return the description of a version."""
        return _version_info(*await self._find(artifact_id, version, group_id))

    async def get_references(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> tuple[Reference, ...]:
        """Return the references of the content of a version."""
        _, _, described = await self._find(artifact_id, version, group_id)
        return (await self._store.contents.known(described.content_id)).content.references

    async def set_state(
        self,
        artifact_id: str,
        version: str,
        state: VersionState,
        *,
        group_id: str | None = None,
    ) -> None:
        """Move a version to another state.

        Raises:
            RequestRefusedError: The state is DRAFT: a registered version cannot become a draft.
            IncompatibleSchemaError: The disabled version breaks a rule beside later versions.
        """
        check_state(state)
        artifact = self._artifact(artifact_id, group_id)
        check_version(version)
        if state == "DRAFT":
            problem = Problem(
                409, "ConflictException", "a registered version cannot become a draft"
            )
            raise RequestRefusedError(self._store.bucket.url, problem=problem)

        async def decide(head: Head) -> Change | None:
            changed = self._require(artifact, head, version)
            if changed.state == state:
                return None
            if changed.state == "DISABLED":
                await self._store.rules.admit_again(artifact, head, changed)
            return StateSet(version=changed.name, state=state)

        await self._store.log.append(artifact, decide)

    async def get_rules(
        self,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> dict[str, str]:
        """Return the rules of an artifact, of the group, or with `everywhere` of the registry."""
        group = self._rule_group(artifact_id, everywhere, group_id)
        if artifact_id is None:
            return dict((await self._store.rules.shared()).of(group))
        return dict((await self._existing(artifact_id, group))[1].rules)

    async def set_rule(
        self,
        rule: RuleType,
        config: str,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> None:
        """Set a rule; a rule of an artifact applies to every registration that is not finished."""
        check_rule(rule, config)
        await self._set_rule(rule, config, artifact_id, everywhere, group_id)

    async def delete_rule(
        self,
        rule: RuleType,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> None:
        """Remove a rule; a rule that is not set counts as removed."""
        await self._set_rule(rule, None, artifact_id, everywhere, group_id)

    async def delete_artifact(self, artifact_id: str, *, group_id: str | None = None) -> None:
        """Delete an artifact; ids and version names stay taken, contents stay readable by id."""
        artifact = self._artifact(artifact_id, group_id)

        async def decide(head: Head) -> Change | None:
            _require_artifact(artifact, head)
            return Deleted()

        await self._store.log.append(artifact, decide)

    async def delete_version(
        self, artifact_id: str, version: str, *, group_id: str | None = None
    ) -> None:
        """Delete a version; its id and name stay taken, its content stays readable by id."""
        artifact = self._artifact(artifact_id, group_id)
        check_version(version)

        async def decide(head: Head) -> Change | None:
            return Deleted(version=self._require(artifact, head, version).name)

        await self._store.log.append(artifact, decide)

    async def info(self) -> RegistryInfo:
        """Return name and version of this registry, after a read that shows that it answers."""
        self._check_open()
        await self._store.rules.shared()
        return RegistryInfo(
            name="natsmicro embedded registry",
            version=distribution_version("natsmicro"),
            description=self._store.bucket.url,
        )

    async def _set_rule(
        self,
        rule: str,
        config: str | None,
        artifact_id: str | None,
        everywhere: bool,
        group_id: str | None,
    ) -> None:
        group = self._rule_group(artifact_id, everywhere, group_id)
        if artifact_id is None:
            await self._store.rules.set_shared(group, rule, config)
            return
        artifact = self._artifact(artifact_id, group)

        async def decide(head: Head) -> Change | None:
            _require_artifact(artifact, head)
            return None if head.rules.get(rule) == config else RuleSet(rule=rule, config=config)

        await self._store.log.append(artifact, decide)

    def _rule_group(
        self, artifact_id: str | None, everywhere: bool, group_id: str | None
    ) -> str | None:
        """Return the group of a rule, None for the whole registry."""
        group = self._group(group_id)
        if everywhere and artifact_id is not None:
            raise InvalidArgumentError("a rule is for one artifact or everywhere, not both")
        return None if everywhere else group

    def _artifact(self, artifact_id: str, group_id: str | None) -> Artifact:
        return Artifact(self._group(group_id), check_id("artifact_id", artifact_id))

    async def _existing(self, artifact_id: str, group_id: str | None) -> tuple[Artifact, Head]:
        artifact = self._artifact(artifact_id, group_id)
        head = await self._store.log.head(artifact)
        _require_artifact(artifact, head)
        return artifact, head

    async def _find(
        self, artifact_id: str, version: str | None, group_id: str | None
    ) -> tuple[Artifact, Head, Version]:
        if version is not None:
            check_version(version)
        artifact = self._artifact(artifact_id, group_id)
        head = await self._store.log.head(artifact)
        return artifact, head, self._require(artifact, head, version)

    def _require(self, artifact: Artifact, head: Head, version: str | None) -> Version:
        described = head.find(version)
        if described is None:
            raise SchemaNotFoundError(*artifact, version=version, problem=_NOT_FOUND)
        return described


def _require_artifact(artifact: Artifact, head: Head) -> None:
    if not head.exists:
        raise SchemaNotFoundError(*artifact, problem=_NOT_FOUND)


def _page(items: Sequence[T], offset: int, limit: int) -> Page[T]:
    check_window(offset, limit)
    return Page(tuple(items[offset : offset + limit]), len(items))


def _artifacts_page(
    listed: Sequence[tuple[Artifact, Summary]], offset: int, limit: int
) -> Page[ArtifactInfo]:
    check_window(offset, limit)
    infos = [
        ArtifactInfo(
            artifact_id=artifact.artifact_id,
            group_id=artifact.group_id,
            artifact_type=summary.artifact_type,
            labels=summary.labels,
            created_on=summary.created_on,
            modified_on=summary.modified_on,
        )
        for artifact, summary in listed[offset : offset + limit]
    ]
    return Page(tuple(infos), len(listed))


def _version_info(artifact: Artifact, head: Head, version: Version) -> VersionInfo:
    return VersionInfo(
        version=version.name,
        global_id=version.global_id,
        content_id=version.content_id,
        artifact_id=artifact.artifact_id,
        group_id=artifact.group_id,
        artifact_type=head.artifact_type,
        # Deleted versions are left out earlier.
        state=cast(VersionState, version.state),
        labels=version.labels,
        created_on=version.created_on,
    )


_NOT_FOUND = Problem(404, "NotFoundException", "not found")
