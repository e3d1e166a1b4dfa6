"""Export of an embedded registry as lines of JSON, and import with a map of the changed ids."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from micro_schema_registry._embedded.contents import Content
from micro_schema_registry._embedded.history import Change, VersionAdded
from micro_schema_registry._embedded.keys import Artifact
from micro_schema_registry._embedded.rules import SharedRules
from micro_schema_registry._embedded.store import Store
from micro_schema_registry._errors import Problem, SchemaExistsError


@dataclass(frozen=True)
class IdMap:
    """The new ids of imported versions and contents, by their ids where they were exported."""

    global_ids: dict[int, int] = field(default_factory=dict)
    content_ids: dict[int, int] = field(default_factory=dict)


class _ContentLine(BaseModel):
    line: Literal["content"] = "content"
    content_id: int
    content: Content


class _ArtifactLine(BaseModel):
    line: Literal["artifact"] = "artifact"
    group_id: str
    artifact_id: str
    changes: list[tuple[int, Annotated[Change, Field(discriminator="kind")]]]


class _RulesLine(BaseModel):
    line: Literal["rules"] = "rules"
    rules: SharedRules


_Line = _ContentLine | _ArtifactLine | _RulesLine
_LINE: TypeAdapter[_Line] = TypeAdapter(Annotated[_Line, Field(discriminator="line")])


async def export_lines(store: Store) -> AsyncIterator[str]:
    """Yield the rules, then each artifact after the contents that it is the first to use."""
    yield _RulesLine(rules=await store.rules.shared()).model_dump_json()
    written: set[int] = set()
    for artifact in await store.listing.artifacts(None):
        changes = [change async for change in store.log.changes(artifact)]
        for _, change in changes:
            if isinstance(change, VersionAdded) and change.content_id not in written:
                written.add(change.content_id)
                content = (await store.contents.known(change.content_id)).content
                yield _ContentLine(content_id=change.content_id, content=content).model_dump_json()
        line = _ArtifactLine(
            group_id=artifact.group_id, artifact_id=artifact.artifact_id, changes=changes
        )
        yield line.model_dump_json()


async def import_lines(store: Store, lines: Iterable[str]) -> IdMap:
    """Write exported lines into a store; see `EmbeddedRegistry.import_lines`."""
    ids = IdMap()
    for text in lines:
        match _LINE.validate_json(text):
            case _ContentLine(content_id=content_id, content=content):
                ids.content_ids[content_id] = (await store.contents.put(content)).content_id
            case _ArtifactLine() as line:
                ids.global_ids.update(await _import_artifact(store, line, ids.content_ids))
            case _RulesLine(rules=rules):
                await _import_rules(store, rules)
    return ids


async def _import_artifact(
    store: Store, line: _ArtifactLine, content_ids: dict[int, int]
) -> dict[int, int]:
    artifact = Artifact(line.group_id, line.artifact_id)
    changes = [_with_content(change, content_ids) for _, change in line.changes]
    head = await store.log.restore(artifact, changes)
    if head is None:
        problem = Problem(409, "ArtifactAlreadyExistsException", "another artifact has this id")
        raise SchemaExistsError(artifact.artifact_id, problem=problem)
    # A head keeps deleted versions too, so both lists have the same order.
    before = [global_id for global_id, change in line.changes if isinstance(change, VersionAdded)]
    return dict(zip(before, (version.global_id for version in head.versions), strict=False))


def _with_content(change: Change, content_ids: dict[int, int]) -> Change:
    if not isinstance(change, VersionAdded):
        return change
    if change.content_id not in content_ids:
        raise ValueError(f"not an export: content {change.content_id!r} is missing")
    return change.model_copy(update={"content_id": content_ids[change.content_id]})


async def _import_rules(store: Store, rules: SharedRules) -> None:
    for group_id, of_group in [(None, rules.everywhere), *rules.groups.items()]:
        for rule, config in of_group.items():
            await store.rules.set_shared(group_id, rule, config)
