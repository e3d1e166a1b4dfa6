"""The endpoints of the registry service, as typed handlers over whatever registry is behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.models import VersionInfo, content_hash
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.lookup import Lookup
from micro_schema_registry._service.values import ValueCheckers
from micro_schema_registry._wire.models import (
    ArtifactsPage,
    ArtifactsQuery,
    ContentAnswer,
    ContentBatch,
    ContentDraft,
    ContentQuery,
    Deletion,
    Done,
    Event,
    GroupsPage,
    PageQuery,
    References,
    Registration,
    RuleChange,
    Rules,
    RulesQuery,
    SchemaAnswer,
    Search,
    ServiceState,
    StateChange,
    Validation,
    Validity,
    Verdict,
    VersionQuery,
    VersionsPage,
    VersionsQuery,
)
from micro_schema_registry._wire.problems import refusal

Announce = Callable[[Event], Awaitable[None]]
_READY_PATIENCE = 1.0
"""Seconds to wait for the registry before ``info`` calls it not ready."""


class RegistryEndpoints:
    """Answer requests; changes are announced, so that every instance drops what it remembers."""

    def __init__(
        self,
        registry: Callable[[], SchemaRegistry],
        lookup: Lookup,
        announce: Announce,
        *,
        backend: str,
        allow_delete: bool,
    ) -> None:
        self._registry = registry
        self._lookup = lookup
        self._announce = announce
        self._backend = backend
        self._allow_delete = allow_delete
        self._values = ValueCheckers()

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by the last part of their subjects."""
        return {
            "register": self.register,
            "get": self._lookup.schema,
            "by-id": self.by_id,
            "check": self.check,
            "version": self.version,
            "references": self.references,
            "versions": self.versions,
            "artifacts": self.artifacts,
            "groups": self.groups,
            "search": self.search,
            "rules.get": self.rules,
            "rules.set": self.change_rule,
            "state.set": self.change_state,
            "delete": self.delete,
            "validate": self.validate,
            "info": self.info,
        }

    async def register(self, draft: Registration) -> SchemaAnswer:
        """Register content as a version."""
        async with self._announcing(Event(group=draft.group, artifact=draft.artifact)):
            made = await self._registry().register_schema(
                draft.artifact,
                draft.content,
                draft.if_exists,
                artifact_type=draft.type,
                references=draft.references,
                canonical=draft.canonical,
                version=draft.version,
                labels=draft.labels,
                group_id=draft.group,
            )
        return SchemaAnswer(
            group=draft.group,
            artifact=draft.artifact,
            version=made.version,
            global_id=made.global_id,
            content_id=made.content_id,
            sha256=content_hash(made.content),
            type=made.artifact_type,
            content=made.content,
        )

    async def by_id(self, query: ContentQuery) -> ContentAnswer | ContentBatch:
        """Return content by an id, or by many."""
        if query.ids is not None:
            return await self._lookup.contents(query.ids)
        return await self._lookup.content(*query.key())

    async def check(self, draft: ContentDraft) -> Verdict:
        """Say whether content would be accepted."""
        result = await self._registry().check_compatibility(
            draft.artifact,
            draft.content,
            artifact_type=draft.type,
            references=draft.references,
            group_id=draft.group,
        )
        return Verdict(compatible=result.compatible, causes=result.causes)

    async def version(self, query: VersionQuery) -> VersionInfo:
        """Describe a version in any state."""
        return await self._registry().get_version(
            query.artifact, query.version, group_id=query.group
        )

    async def references(self, query: VersionQuery) -> References:
        """Return what a version refers to."""
        found = await self._registry().get_references(
            query.artifact, query.version, group_id=query.group
        )
        return References(references=found)

    async def versions(self, query: VersionsQuery) -> VersionsPage:
        """List versions."""
        page = await self._registry().list_versions(
            query.artifact, offset=query.offset, limit=query.limit, group_id=query.group
        )
        return VersionsPage(items=page.items, total=page.count)

    async def artifacts(self, query: ArtifactsQuery) -> ArtifactsPage:
        """List artifacts."""
        page = await self._registry().list_artifacts(
            offset=query.offset, limit=query.limit, group_id=query.group
        )
        return ArtifactsPage(items=page.items, total=page.count)

    async def groups(self, query: PageQuery) -> GroupsPage:
        """List groups."""
        page = await self._registry().list_groups(offset=query.offset, limit=query.limit)
        return GroupsPage(items=page.items, total=page.count)

    async def search(self, query: Search) -> ArtifactsPage:
        """Search artifacts."""
        page = await self._registry().search_artifacts(
            name=query.name,
            content=query.content,
            artifact_type=query.type,
            labels=query.labels,
            group_id=query.group,
            offset=query.offset,
            limit=query.limit,
        )
        return ArtifactsPage(items=page.items, total=page.count)

    async def rules(self, query: RulesQuery) -> Rules:
        """Return the rules that are set."""
        found = await self._registry().get_rules(
            artifact_id=query.artifact, everywhere=query.everywhere, group_id=query.group
        )
        return Rules(rules=found)

    async def change_rule(self, change: RuleChange) -> Done:
        """Set or remove a rule."""
        scope: dict[str, Any] = {
            "artifact_id": change.artifact,
            "everywhere": change.everywhere,
            "group_id": change.group,
        }
        rule: Any = change.rule  # the registry itself knows which there are
        if change.config is None:
            await self._registry().delete_rule(rule, **scope)
        else:
            await self._registry().set_rule(rule, change.config, **scope)
        return Done()

    async def change_state(self, change: StateChange) -> Done:
        """Move a version to another state."""
        event = Event(group=change.group, artifact=change.artifact, withdrawn=True)
        async with self._announcing(event):
            await self._registry().set_state(
                change.artifact, change.version, change.state, group_id=change.group
            )
        return Done()

    async def delete(self, deletion: Deletion) -> Done:
        """Delete a version or an artifact, where that is allowed."""
        if not self._allow_delete:
            raise refusal("refused", 405, "deleting is switched off in this service")
        registry = self._registry()
        event = Event(group=deletion.group, artifact=deletion.artifact, withdrawn=True)
        async with self._announcing(event):
            if deletion.version is None:
                await registry.delete_artifact(deletion.artifact, group_id=deletion.group)
            else:
                await registry.delete_version(
                    deletion.artifact, deletion.version, group_id=deletion.group
                )
        return Done()

    async def validate(self, query: Validation) -> Validity:
        """Say whether a value fits a schema."""
        schema = await self._lookup.content(*query.key())
        causes = self._values.causes(schema, query.value)
        return Validity(valid=not causes, causes=causes)

    async def info(self) -> ServiceState:
        """Say what is behind the service, and whether it answers."""
        name = version = reason = ""
        try:
            async with asyncio.timeout(_READY_PATIENCE):
                found = await self._registry().info()
            name, version = found.name, found.version
        except TimeoutError:
            reason = f"no answer within {_READY_PATIENCE:g} s"
        except RegistryError as error:
            reason = str(error)
        return ServiceState(
            backend=self._backend,
            name=name,
            version=version,
            ready=not reason,
            reason=reason,
            cached=len(self._lookup.cache),
            cached_bytes=self._lookup.cache.size,
        )

    @asynccontextmanager
    async def _announcing(self, event: Event) -> AsyncIterator[None]:
        """Announce a change also when it failed or took too long: the registry may have made it all the same."""
        try:
            yield
        finally:
            await self._announce(event)
