"""Export of a registry and import into another bucket, with a map of the changed ids."""

from typing import Any

import pytest
from nats.aio.client import Client

from micro_schema_registry import (
    EmbeddedRegistry,
    IncompatibleSchemaError,
    Reference,
    SchemaExistsError,
    SchemaNotFoundError,
)


def record(name: str, *fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


@pytest.fixture
async def source(embedded: EmbeddedRegistry) -> EmbeddedRegistry:
    """Artifacts of two groups with rules, states, references and tombstones."""
    reference = Reference(name="A", group_id="my-group", artifact_id="a", version="1")
    user = record("P", {"name": "a", "type": "A"})
    await embedded.set_rule("VALIDITY", "FULL", everywhere=True)
    await embedded.set_rule("COMPATIBILITY", "BACKWARD", group_id="other")
    await embedded.register_schema("a", record("A"), labels={"team": "t"})
    await embedded.register_schema("a", record("A", {"name": "x", "type": "int"}))
    await embedded.set_state("a", "2", "DISABLED")
    await embedded.register_schema("p", user, references=[reference], group_id="other")
    await embedded.register_schema("p", record("P"), version="named", group_id="other")
    await embedded.set_rule("COMPATIBILITY", "FULL", artifact_id="a")
    await embedded.register_schema("gone", record("G"))
    await embedded.delete_artifact("gone")
    return embedded


@pytest.fixture
def target(nc: Client, bucket: str) -> EmbeddedRegistry:
    return EmbeddedRegistry(nc, "my-group", bucket=f"{bucket}-copy")


async def exported(registry: EmbeddedRegistry) -> list[str]:
    return [line async for line in registry.export()]


async def test_everything_arrives_and_ids_are_mapped(
    source: EmbeddedRegistry, target: EmbeddedRegistry
) -> None:
    await target.register_schema("unrelated", record("U"))

    ids = await target.import_lines(await exported(source))

    for artifact_id, group_id in (("a", "my-group"), ("p", "other")):
        before = await source.list_versions(artifact_id, group_id=group_id)
        after = await target.list_versions(artifact_id, group_id=group_id)
        assert len(before) == len(after) == 2
        for old, new in zip(before, after, strict=True):
            assert new == old.model_copy(
                update={
                    "global_id": ids.global_ids[old.global_id],
                    "content_id": ids.content_ids[old.content_id],
                }
            )
            same = await source.get_schema_by_content_id(old.content_id)
            assert await target.get_schema_by_content_id(new.content_id) == same
    assert len(set(ids.global_ids.values())) == len(ids.global_ids) == 4
    assert await target.get_rules(everywhere=True) == {"VALIDITY": "FULL"}
    assert await target.get_rules(group_id="other") == {"COMPATIBILITY": "BACKWARD"}
    assert await target.get_rules(artifact_id="a") == {"COMPATIBILITY": "FULL"}
    (reference,) = await target.get_references("p", "1", group_id="other")
    assert (await target.get_schema(reference.artifact_id, version=reference.version)).schema == (
        record("A")
    )
    with pytest.raises(SchemaNotFoundError):
        await target.get_schema("gone")
    with pytest.raises(IncompatibleSchemaError):
        await target.register_schema("a", record("A", {"name": "y", "type": "int"}))
    assert (await target.register_schema("unrelated", record("U"))).version == "1"


async def test_importing_again_changes_nothing(
    source: EmbeddedRegistry, target: EmbeddedRegistry
) -> None:
    lines = await exported(source)

    first = await target.import_lines(lines[: len(lines) // 2])
    ids = await target.import_lines(lines)
    assert await target.import_lines(lines) == ids

    assert first.global_ids.items() <= ids.global_ids.items()
    assert (await target.list_versions("a")).count == 2
    made = await target.register_schema("a", record("A"), canonical=True)
    assert made.version == "1"
    assert await target.import_lines(lines) == ids


async def test_another_artifact_of_that_name_is_left_alone(
    source: EmbeddedRegistry, target: EmbeddedRegistry
) -> None:
    mine = await target.register_schema("a", record("Mine"))

    with pytest.raises(SchemaExistsError, match="another artifact has this id"):
        await target.import_lines(await exported(source))

    assert await target.get_schema("a") == mine
    assert (await target.list_versions("a")).count == 1


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        '{"line": "other"}',
        '{"line":"artifact","group_id":"g","artifact_id":"a","changes":[[7,{"kind":"version",'
        '"nonce":"n","at":"2026-01-01T00:00:00Z","version":"1","content_id":5,"artifact_type":"AVRO"}]]}',
    ],
)
async def test_lines_that_are_no_export_are_refused(target: EmbeddedRegistry, line: str) -> None:
    with pytest.raises(ValueError, match=r"validation error|not an export: content 5 is missing"):
        await target.import_lines([line])
