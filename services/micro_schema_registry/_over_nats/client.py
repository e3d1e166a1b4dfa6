"""The client of the registry service over NATS."""

from collections.abc import Mapping, Sequence

from nats.aio.client import Client

from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._errors import (
    InvalidArgumentError,
    Problem,
    RegistryConnectionError,
    RequestRefusedError,
    SchemaRegistrationError,
)
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
    check_id,
    check_if_exists,
    check_references,
    check_state,
    check_version,
    check_window,
    parse_schema,
    schema_text,
)
from micro_schema_registry._model.registry_client import RegistryClient
from micro_schema_registry._over_nats.caller import ServiceCaller
from micro_schema_registry._wire import models as wire


class NatsRegistryClient(RegistryClient):
    """A client of the registry service; implements `SchemaRegistry`.

    The client keeps content by id, which never changes. It asks for names each time; the service
    answers from memory.

    Args:
        nc: The connection; the client does not close it.
        group_id: The group of every call that names none.
        prefix: Prefix of the subjects of the service.
        timeout: Seconds that a call may take; the request carries them as its deadline.
        cache_max_size: Number of contents to keep.

    Raises:
        InvalidArgumentError: The group id is blank, or a number is not positive.
    """

    def __init__(
        self,
        nc: Client,
        group_id: str,
        *,
        prefix: str = wire.GROUP,
        timeout: float = 5.0,
        cache_max_size: int = 1000,
    ) -> None:
        if timeout <= 0 or cache_max_size < 1:
            raise InvalidArgumentError(
                f"invalid timeout {timeout!r} or cache_max_size {cache_max_size!r}: "
                "expected more than 0"
            )
        super().__init__(group_id)
        self._caller = ServiceCaller(nc, prefix, timeout)
        self._contents = Cache[tuple[IdType, int | str], SchemaContent](cache_max_size)

    async def get_schema(
        self, artifact_id: str, *, version: str | None = None, group_id: str | None = None
    ) -> CachedSchema:
        """Return one version of a schema, by default the newest enabled one."""
        query = self._version(artifact_id, version, group_id)
        return self._cached(await self._caller.ask("get", query, wire.SchemaAnswer))

    async def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return text, parsed form and type by an immutable id."""
        self._check_open()
        kept = self._contents.get((id_type, value))
        if kept is not None:
            return kept
        query = wire.ContentQuery.of(id_type, value)
        content = _parsed(await self._caller.ask("by-id", query, wire.ContentAnswer))
        self._contents.put((id_type, value), content)
        return content

    async def register_schema(  # noqa: PLR0913 - the protocol's signature
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
        """Register a schema and return the version that holds it."""
        check_if_exists(if_exists)
        draft = wire.Registration(
            group=self._group(group_id),
            artifact=check_id("artifact_id", artifact_id),
            content=schema_text(schema),
            type=artifact_type,
            references=tuple(check_references(references)),
            if_exists=if_exists,
            canonical=canonical,
            version=None if version is None else check_version(version),
            labels=None if labels is None else dict(labels),
        )
        try:
            return self._cached(await self._caller.ask("register", draft, wire.SchemaAnswer))
        except RequestRefusedError as error:  # such as 413
            raise SchemaRegistrationError(artifact_id, error, problem=error.problem) from error

    async def check_compatibility(
        self,
        artifact_id: str,
        schema: Schema,
        *,
        artifact_type: str | None = None,
        references: Sequence[Reference] = (),
        group_id: str | None = None,
    ) -> CompatibilityResult:
        """Check whether a schema would be accepted as the next version."""
        draft = wire.ContentDraft(
            group=self._group(group_id),
            artifact=check_id("artifact_id", artifact_id),
            content=schema_text(schema),
            type=artifact_type,
            references=tuple(check_references(references)),
        )
        verdict = await self._caller.ask("check", draft, wire.Verdict)
        return CompatibilityResult(verdict.compatible, verdict.causes)

    async def list_groups(self, *, offset: int = 0, limit: int = 20) -> Page[str]:
        """Return the ids of groups, in their order, at most 500."""
        self._check_open()
        _check_page(offset, limit)
        page = await self._caller.ask(
            "groups", wire.PageQuery(offset=offset, limit=limit), wire.GroupsPage
        )
        return Page(page.items, page.total)

    async def list_artifacts(
        self, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Page[ArtifactInfo]:
        """Return the artifacts of a group, at most 500."""
        _check_page(offset, limit)
        query = wire.ArtifactsQuery(group=self._group(group_id), offset=offset, limit=limit)
        page = await self._caller.ask("artifacts", query, wire.ArtifactsPage)
        return Page(page.items, page.total)

    async def list_versions(
        self, artifact_id: str, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Page[VersionInfo]:
        """Return the versions of an artifact, at most 500."""
        _check_page(offset, limit)
        query = wire.VersionsQuery(
            group=self._group(group_id),
            artifact=check_id("artifact_id", artifact_id),
            offset=offset,
            limit=limit,
        )
        page = await self._caller.ask("versions", query, wire.VersionsPage)
        return Page(page.items, page.total)

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
        """Return artifacts that meet every condition, at most 500."""
        self._check_open()
        _check_page(offset, limit)
        query = wire.Search(
            group=group_id,
            name=name,
            content=None if content is None else schema_text(content),
            type=artifact_type,
            labels=None if labels is None else dict(labels),
            offset=offset,
            limit=limit,
        )
        page = await self._caller.ask("search", query, wire.ArtifactsPage)
        return Page(page.items, page.total)

    async def get_version(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> VersionInfo:
        """Return the description of a version in any state."""
        query = self._version(artifact_id, version, group_id)
        return await self._caller.ask("version", query, VersionInfo)

    async def get_references(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> tuple[Reference, ...]:
        """Return the references of the content of a version."""
        query = self._version(artifact_id, version, group_id)
        return (await self._caller.ask("references", query, wire.References)).references

    async def get_content_references(
        self, id_type: IdType, value: int | str
    ) -> tuple[Reference, ...]:
        """Return the references of the content of an immutable id."""
        self._check_open()
        query = wire.ReferencesQuery.of(id_type, value)
        return (await self._caller.ask("references", query, wire.References)).references

    async def set_state(
        self,
        artifact_id: str,
        version: str,
        state: VersionState,
        *,
        group_id: str | None = None,
    ) -> None:
        """Move a version to another state."""
        check_state(state)
        query = self._version(artifact_id, version, group_id)
        change = wire.StateChange(**query.model_dump(), state=state)
        await self._withdraw("state.set", change)

    async def get_rules(
        self,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> dict[str, str]:
        """Return the rules of an artifact, of the group, or with `everywhere` of the registry."""
        query = self._rules(artifact_id, everywhere, group_id)
        return (await self._caller.ask("rules.get", query, wire.Rules)).rules

    async def set_rule(
        self,
        rule: RuleType,
        config: str,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> None:
        """Set a rule for an artifact, for the group, or everywhere."""
        scope = self._rules(artifact_id, everywhere, group_id)
        change = wire.RuleChange(**scope.model_dump(), rule=rule, config=config)
        await self._caller.ask("rules.set", change, wire.Done)

    async def delete_rule(
        self,
        rule: RuleType,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> None:
        """Remove a rule."""
        scope = self._rules(artifact_id, everywhere, group_id)
        await self._caller.ask(
            "rules.set", wire.RuleChange(**scope.model_dump(), rule=rule), wire.Done
        )

    async def delete_artifact(self, artifact_id: str, *, group_id: str | None = None) -> None:
        """Delete an artifact with all its versions, where the service permits it."""
        await self._withdraw("delete", self._version(artifact_id, None, group_id))

    async def delete_version(
        self, artifact_id: str, version: str, *, group_id: str | None = None
    ) -> None:
        """Delete one version, where the service permits it."""
        await self._withdraw("delete", self._version(artifact_id, version, group_id))

    async def _withdraw(self, endpoint: str, change: wire.StateChange | wire.VersionQuery) -> None:
        """Change a version, and forget content by global id; a failed change may count too."""
        try:
            await self._caller.ask(endpoint, change, wire.Done)
        finally:
            self._contents.discard(lambda key: key[0] == "globalId")

    async def info(self) -> RegistryInfo:
        """Return name and version of the registry behind the service."""
        self._check_open()
        state = await self._caller.ask("info", wire.Nothing(), wire.ServiceState)
        if not state.ready:
            problem = Problem(503, title=state.reason)
            raise RegistryConnectionError(self._caller.prefix, problem=problem)
        return RegistryInfo(name=state.name, version=state.version, description=state.backend)

    def _version(
        self, artifact_id: str, version: str | None, group_id: str | None
    ) -> wire.VersionQuery:
        return wire.VersionQuery(
            group=self._group(group_id),
            artifact=check_id("artifact_id", artifact_id),
            version=None if version is None else check_version(version),
        )

    def _rules(
        self, artifact_id: str | None, everywhere: bool, group_id: str | None
    ) -> wire.RulesQuery:
        return wire.RulesQuery(
            group=self._group(group_id),
            artifact=None if artifact_id is None else check_id("artifact_id", artifact_id),
            everywhere=everywhere,
        )

    def _cached(self, answer: wire.SchemaAnswer) -> CachedSchema:
        known = self._contents.get(("globalId", answer.global_id))
        if known is None or known.content != answer.content:
            known = _parsed(answer)
            if not answer.draft:
                self._contents.put(("globalId", answer.global_id), known)
        return CachedSchema(
            known.schema,
            answer.global_id,
            answer.content_id,
            answer.version,
            answer.type,
            answer.content,
            answer.draft,
        )


def _parsed(answer: wire.SchemaAnswer | wire.ContentAnswer) -> SchemaContent:
    return SchemaContent(answer.content, parse_schema(answer.content, answer.type), answer.type)


def _check_page(offset: int, limit: int) -> None:
    check_window(offset, limit)
    if not 1 <= limit <= wire.MAX_PAGE:
        raise InvalidArgumentError(f"invalid limit {limit!r}: expected 1 to {wire.MAX_PAGE}")
