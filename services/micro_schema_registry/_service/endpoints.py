"""The endpoints of the registry service: typed handlers over any registry."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.models import VersionInfo
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.lookup import Lookup
from micro_schema_registry._service.outgoing import Outgoing
from micro_schema_registry._service.values import ValueChecks
from micro_schema_registry._wire import models as wire
from micro_schema_registry._wire.problems import refusal

Announce = Callable[[wire.Event], Awaitable[None]]
_READY_PATIENCE = 1.0
"""Seconds to wait for the registry before `info` calls it not ready."""


class RegistryEndpoints:
    """The handlers; each change is announced, so that every instance drops its cached answers."""

    def __init__(
        self,
        registry: Callable[[], SchemaRegistry],
        lookup: Lookup,
        announce: Announce,
        outgoing: Outgoing,
        *,
        backend: str,
        allow_delete: bool,
    ) -> None:
        self._registry = registry
        self._lookup = lookup
        self._announce = announce
        self._outgoing = outgoing
        self._backend = backend
        self._allow_delete = allow_delete
        self._values = ValueChecks()

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by the last part of their subjects."""
        return {
            "register": self.register,
            "get": self.get,
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

    async def register(self, draft: wire.Registration) -> wire.SchemaAnswer:
        """Register content as a version; equal requests at the same time are one registration."""
        if draft.if_exists == "FIND_OR_CREATE_VERSION":
            answer = await self._lookup.shared(draft, lambda: self._register(draft))
        else:
            answer = await self._register(draft)
        await self._outgoing.admit(len(answer.content))
        return answer

    async def _register(self, draft: wire.Registration) -> wire.SchemaAnswer:
        async with self._announcing(wire.Event(group=draft.group, artifact=draft.artifact)):
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
        return wire.SchemaAnswer.of(draft.group, draft.artifact, made)

    async def get(self, query: wire.VersionQuery) -> wire.SchemaAnswer:
        """Return one version of a schema."""
        answer = await self._lookup.schema(query)
        await self._outgoing.admit(len(answer.content))
        return answer

    async def by_id(self, query: wire.ContentQuery) -> wire.ContentAnswer | wire.ContentBatch:
        """Return content by an id, or by several."""
        if query.ids is not None:
            batch = await self._lookup.contents(query.ids, self._outgoing.max_answer())
            await self._outgoing.admit(sum(len(each.content) for each in batch.found))
            return batch
        answer = await self._lookup.content(*query.key())
        await self._outgoing.admit(len(answer.content))
        return answer

    async def check(self, draft: wire.ContentDraft) -> wire.Verdict:
        """Check whether content would be accepted."""
        verdict = await self._registry().check_compatibility(
            draft.artifact,
            draft.content,
            artifact_type=draft.type,
            references=draft.references,
            group_id=draft.group,
        )
        return wire.Verdict(compatible=verdict.compatible, causes=verdict.causes)

    async def version(self, query: wire.VersionQuery) -> VersionInfo:
        """Describe a version in any state."""
        return await self._registry().get_version(
            query.artifact, query.version, group_id=query.group
        )

    async def references(self, query: wire.ReferencesQuery) -> wire.References:
        """Return the references of a version, or of the content of an id."""
        registry = self._registry()
        if query.artifact is None:
            references = await registry.get_content_references(*query.key())
        else:
            references = await registry.get_references(
                query.artifact, query.version, group_id=query.group
            )
        return wire.References(references=references)

    async def versions(self, query: wire.VersionsQuery) -> wire.VersionsPage:
        """List versions."""
        page = await self._registry().list_versions(
            query.artifact, offset=query.offset, limit=query.limit, group_id=query.group
        )
        return wire.VersionsPage(items=page.items, total=page.count)

    async def artifacts(self, query: wire.ArtifactsQuery) -> wire.ArtifactsPage:
        """List artifacts."""
        page = await self._registry().list_artifacts(
            offset=query.offset, limit=query.limit, group_id=query.group
        )
        return wire.ArtifactsPage(items=page.items, total=page.count)

    async def groups(self, query: wire.PageQuery) -> wire.GroupsPage:
        """List groups."""
        page = await self._registry().list_groups(offset=query.offset, limit=query.limit)
        return wire.GroupsPage(items=page.items, total=page.count)

    async def search(self, query: wire.Search) -> wire.ArtifactsPage:
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
        return wire.ArtifactsPage(items=page.items, total=page.count)

    async def rules(self, query: wire.RulesQuery) -> wire.Rules:
        """Return the rules of a scope."""
        rules = await self._registry().get_rules(
            artifact_id=query.artifact, everywhere=query.everywhere, group_id=query.group
        )
        return wire.Rules(rules=rules)

    async def change_rule(self, change: wire.RuleChange) -> wire.Done:
        """Set or remove a rule."""
        scope: dict[str, Any] = {
            "artifact_id": change.artifact,
            "everywhere": change.everywhere,
            "group_id": change.group,
        }
        rule: Any = change.rule  # the registry itself checks its name
        if change.config is None:
            await self._registry().delete_rule(rule, **scope)
        else:
            await self._registry().set_rule(rule, change.config, **scope)
        return wire.Done()

    async def change_state(self, change: wire.StateChange) -> wire.Done:
        """Move a version to another state."""
        event = wire.Event(group=change.group, artifact=change.artifact, withdrawn=True)
        async with self._announcing(event):
            await self._registry().set_state(
                change.artifact, change.version, change.state, group_id=change.group
            )
        return wire.Done()

    async def delete(self, deletion: wire.Deletion) -> wire.Done:
        """Delete a version or an artifact, where that is permitted."""
        if not self._allow_delete:
            raise refusal("refused", 405, "deleting is switched off in this service")
        registry = self._registry()
        event = wire.Event(group=deletion.group, artifact=deletion.artifact, withdrawn=True)
        async with self._announcing(event):
            if deletion.version is None:
                await registry.delete_artifact(deletion.artifact, group_id=deletion.group)
            else:
                await registry.delete_version(
                    deletion.artifact, deletion.version, group_id=deletion.group
                )
        return wire.Done()

    async def validate(self, query: wire.Validation) -> wire.Validity:
        """Check a value against a schema."""
        key = query.key()
        schema = await self._lookup.content(*key)
        causes = await self._values.causes(self._registry(), key, schema, query.value)
        return wire.Validity(valid=not causes, causes=causes)

    async def info(self) -> wire.ServiceState:
        """Describe the registry behind the service, and whether it answers."""
        name = version = reason = ""
        try:
            async with asyncio.timeout(_READY_PATIENCE):
                registry = await self._registry().info()
            name, version = registry.name, registry.version
        except TimeoutError:
            reason = f"no answer within {_READY_PATIENCE:g} s"
        except RegistryError as error:
            reason = str(error)
        return wire.ServiceState(
            backend=self._backend,
            name=name,
            version=version,
            ready=not reason,
            reason=reason,
            cached=len(self._lookup.cache),
            cached_bytes=self._lookup.cache.size,
        )

    @asynccontextmanager
    async def _announcing(self, event: wire.Event) -> AsyncIterator[None]:
        """Announce a change, also a failed one: the registry may have made it all the same."""
        try:
            yield
        finally:
            await self._announce(event)
