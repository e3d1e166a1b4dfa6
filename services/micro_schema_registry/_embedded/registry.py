"""A schema registry that needs only NATS: contents and versions in one JetStream KV bucket."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from nats.aio.client import Client

from micro_schema_registry._embedded.catalog import StoreCatalog
from micro_schema_registry._embedded.contents import Content, StoredContent
from micro_schema_registry._embedded.history import Change, Head, Version, VersionAdded
from micro_schema_registry._embedded.keys import SKIP_KEY, Artifact
from micro_schema_registry._embedded.store import Store
from micro_schema_registry._embedded.transfer import IdMap, export_lines, import_lines
from micro_schema_registry._errors import (
    Cause,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidSchemaError,
    Problem,
    RequestRefusedError,
    SchemaExistsError,
    SchemaNotFoundError,
    SchemaRegistrationError,
)
from micro_schema_registry._model.models import (
    CachedSchema,
    CompatibilityResult,
    IdType,
    IfExists,
    Reference,
    Schema,
    SchemaContent,
    canonical_text,
    check_if_exists,
    check_references,
    check_version,
    is_possible_id,
    parse_schema,
    schema_text,
)


class EmbeddedRegistry(StoreCatalog):
    """A schema registry in a JetStream KV bucket; implements `SchemaRegistry`.

    Every client of a bucket sees the same registry at once. Ids are stream sequences of the
    bucket: unique, growing, with gaps, equal on every replica and after a restore of the stream,
    different in a copy of the bucket (see `export`).

    Args:
        nc: The connection; the registry does not close it.
        group_id: The group of every call that names none.
        bucket: The bucket, made on first use.
        replicas: Copies of a bucket that is made; an existing one keeps its number.
        timeout: Seconds that a call waits for JetStream before `RegistryConnectionError`.
    """

    def __init__(
        self,
        nc: Client,
        group_id: str,
        *,
        bucket: str = "schemas",
        replicas: int = 1,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(Store.on(nc, bucket, replicas=replicas, timeout=timeout), group_id)

    async def get_schema(
        self, artifact_id: str, *, version: str | None = None, group_id: str | None = None
    ) -> CachedSchema:
        """Return one version of a schema, by default the newest enabled one."""
        artifact, head, wanted = await self._find(artifact_id, version, group_id)
        if wanted.state == "DISABLED":
            raise SchemaNotFoundError(*artifact, version=version, problem=_DISABLED)
        return _cached(await self._store.contents.known(wanted.content_id), head, wanted)

    async def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return text, parsed form and type by an immutable id."""
        stored = await self._stored(id_type, value)
        return SchemaContent(stored.content.text, stored.schema, stored.content.artifact_type)

    async def get_content_references(
        self, id_type: IdType, value: int | str
    ) -> tuple[Reference, ...]:
        """Return the references of the content of an immutable id."""
        return (await self._stored(id_type, value)).content.references

    async def _stored(self, id_type: IdType, value: int | str) -> StoredContent:
        self._check_open()
        if not is_possible_id(value):
            stored = None
        elif id_type == "contentHash":
            stored = next(iter(await self._store.contents.by_hash(str(value))), None)
        elif id_type == "contentId":
            stored = await self._store.contents.by_id(int(value))
        else:
            stored = await self._by_global_id(int(value))
        if stored is None:
            raise SchemaNotFoundError.from_id(id_type, value, problem=_NO_SUCH_ID)
        return stored

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
        """Register a schema and return the version that holds it.

        Any number of clients may register at once: equal content gets one version, and content is
        compared with every version before it. After `RegistryConnectionError` the version may
        exist all the same; a repeated call with `FIND_OR_CREATE_VERSION` finds it.
        """
        check_if_exists(if_exists)
        artifact = self._artifact(artifact_id, group_id)
        content = _content(artifact, schema, artifact_type, references)
        if version is not None:
            check_version(version)
        taken: list[Version] = []

        async def decide(head: Head) -> Change | None:
            taken.clear()
            if head.exists:
                if if_exists == "FAIL":
                    raise _exists(artifact, "the artifact exists")
                _check_type(artifact, content, head)
                if if_exists == "FIND_OR_CREATE_VERSION":
                    taken.extend(await self._matching(head, content, canonical))
            if taken:
                return None
            if version is not None and head.is_taken(version):
                raise _exists(artifact, f"version {version!r} is taken")
            await self._store.rules.admit(artifact, content, head)
            stored = await self._store.contents.put(content)
            return VersionAdded(
                version=head.next_name() if version is None else version,
                content_id=stored.content_id,
                artifact_type=content.artifact_type,
                labels=dict(labels or {}),
            )

        try:
            head, revision = await self._store.log.append(artifact, decide)
        except RequestRefusedError as error:  # larger than the NATS server takes
            raise SchemaRegistrationError(artifact_id, error, problem=error.problem) from error
        # The head may already hold later versions of other clients.
        made = taken[0] if taken else next(v for v in head.versions if v.global_id == revision)
        return _cached(await self._store.contents.known(made.content_id), head, made)

    async def check_compatibility(
        self,
        artifact_id: str,
        schema: Schema,
        *,
        artifact_type: str | None = None,
        references: Sequence[Reference] = (),
        group_id: str | None = None,
    ) -> CompatibilityResult:
        """Check whether a schema would be accepted as the next version; nothing is stored."""
        artifact = self._artifact(artifact_id, group_id)
        head = await self._store.log.head(artifact)
        kind = artifact_type or head.artifact_type or "AVRO"
        try:
            content = _content(artifact, schema, kind, references)
            if head.exists:
                _check_type(artifact, content, head)
            await self._store.rules.admit(artifact, content, head)
        except (IncompatibleSchemaError, InvalidSchemaError) as error:
            return CompatibilityResult(False, error.causes or (Cause(str(error)),))
        return CompatibilityResult(True)

    async def export(self) -> AsyncIterator[str]:
        """Yield the whole registry, all groups, as lines of JSON for `import_lines`."""
        self._check_open()
        async for line in export_lines(self._store):
            yield line

    async def import_lines(self, lines: Iterable[str]) -> IdMap:
        """Import artifacts with versions, states and rules; return the new ids by the old ones.

        The call may be repeated after a failure: existing artifacts are left as they are.

        Raises:
            SchemaExistsError: An artifact of that id exists and is not the exported one.
            ValueError: A line is not from an export.
        """
        self._check_open()
        return await import_lines(self._store, lines)

    async def skip_ids(self, up_to: int) -> int:
        """Use up ids, so that no id up to `up_to` is given out any more; return the last one used.

        After the bucket was restored from a backup, ids given out since the backup would be given
        out again, for other content.

        Raises:
            InvalidArgumentError: The number cannot be an id.
        """
        self._check_open()
        if not is_possible_id(up_to):
            raise InvalidArgumentError(f"invalid id {up_to!r}: expected 1 to 2^63-1")
        return await self._store.bucket.skip(SKIP_KEY, up_to)

    async def _by_global_id(self, global_id: int) -> StoredContent | None:
        stored = await self._store.bucket.at(global_id)
        if stored is None or not stored.key.startswith("v."):
            return None
        artifact = self._store.log.artifact_of(stored)
        head = await self._store.log.head(artifact)
        if not any(version.global_id == global_id for version in head.versions):
            head = await self._store.log.newest(artifact)
        for version in head.present:
            if version.global_id == global_id and version.state != "DISABLED":
                return await self._store.contents.known(version.content_id)
        return None

    async def _matching(self, head: Head, content: Content, canonical: bool) -> list[Version]:
        """Return the newest version with this content, or none; served ones first."""
        newest_first = [*reversed(head.served), *reversed(head.present)]
        if not canonical:
            stored = await self._store.contents.find(content)
            return [
                v for v in newest_first if stored is not None and v.content_id == stored.content_id
            ][:1]
        wanted = _canonical(content)
        for version in newest_first:
            other = await self._store.contents.known(version.content_id)
            if _canonical(other.content) == wanted:
                return [version]
        return []


def _content(
    artifact: Artifact, schema: Schema, artifact_type: str, references: Sequence[Reference]
) -> Content:
    text = schema_text(schema)
    if text.lstrip().startswith(("http://", "https://")):
        raise InvalidArgumentError("a schema cannot be a URL: nothing is fetched")
    try:
        text.encode()
        parse_schema(text, artifact_type)
    except (ValueError, RecursionError) as error:
        raise InvalidSchemaError(artifact.artifact_id, error) from error
    complete = [
        reference.model_copy(update={"group_id": reference.group_id or artifact.group_id})
        for reference in check_references(references)
    ]
    complete.sort(key=lambda reference: reference.model_dump_json())
    return Content(artifact_type=artifact_type, text=text, references=tuple(complete))


def _canonical(content: Content) -> tuple[str, tuple[Reference, ...]]:
    return canonical_text(content.text, content.artifact_type), content.references


def _check_type(artifact: Artifact, content: Content, head: Head) -> None:
    if content.artifact_type != head.artifact_type:
        reason = f"artifact type is {head.artifact_type!r}, not {content.artifact_type!r}"
        problem = Problem(409, "ConflictException", reason)
        raise SchemaRegistrationError(artifact.artifact_id, problem=problem)


def _exists(artifact: Artifact, reason: str) -> SchemaExistsError:
    problem = Problem(409, "ArtifactAlreadyExistsException", reason)
    return SchemaExistsError(artifact.artifact_id, problem=problem)


def _cached(stored: StoredContent, head: Head, version: Version) -> CachedSchema:
    return CachedSchema(
        stored.schema,
        version.global_id,
        version.content_id,
        version.name,
        head.artifact_type,
        stored.content.text,
    )


_NO_SUCH_ID = Problem(404, "NotFoundException", "not found")
_DISABLED = Problem(404, "VersionNotFoundException", "the version is disabled")
