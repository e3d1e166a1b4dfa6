"""The embedded registry on a real server: answers and refusals of each method."""

import copy
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.jetstream import JetStreamServer, single

from micro_schema_registry._embedded.contents import Content
from micro_schema_registry._embedded.registry import EmbeddedRegistry
from micro_schema_registry._errors import (
    IncompatibleSchemaError,
    InvalidSchemaError,
    RegistryConnectionError,
    RequestRefusedError,
    SchemaExistsError,
    SchemaNotFoundError,
    SchemaRegistrationError,
)
from micro_schema_registry._model.models import IdType, Reference, content_hash, schema_text
from micro_schema_registry._model.protocol import SchemaRegistry


def user(*names: str, default: bool = True) -> dict[str, Any]:
    """Return an Avro record whose fields, except the first, have defaults."""
    fields: list[dict[str, Any]] = [{"name": "id", "type": "string"}]
    fields += [
        {"name": name, "type": "string", **({"default": ""} if default else {})} for name in names
    ]
    return {"type": "record", "name": "User", "fields": fields}


async def test_a_registered_schema_is_found_by_every_id(embedded: EmbeddedRegistry) -> None:
    registry: SchemaRegistry = embedded  # mypy: it has every method of the protocol

    made = await registry.register_schema("User", user())

    assert made == await registry.get_schema("User")
    assert made == await registry.get_schema("User", version="1")
    assert made == await registry.get_schema("User", version="branch=latest", group_id="my-group")
    assert (made.version, made.artifact_type, made.schema) == ("1", "AVRO", user())
    assert await registry.get_schema_by_global_id(made.global_id) == user()
    assert await registry.get_schema_by_content_id(made.content_id) == user()
    by_hash = await registry.get_content("contentHash", content_hash(schema_text(user())))
    assert by_hash.content == made.content == schema_text(user())


async def test_another_client_sees_it_at_once(
    embedded: EmbeddedRegistry, jetstream: JetStreamServer, bucket: str
) -> None:
    made = await embedded.register_schema("User", user())
    async with jetstream.connect() as other:
        assert await EmbeddedRegistry(other, "my-group", bucket=bucket).get_schema("User") == made


async def test_if_exists_decides_what_happens_to_an_artifact_that_is_there(
    embedded: EmbeddedRegistry,
) -> None:
    first = await embedded.register_schema("User", user(), "FAIL")

    assert await embedded.register_schema("User", user()) == first
    second = await embedded.register_schema("User", user(), "CREATE_VERSION")
    assert (second.version, second.content_id) == ("2", first.content_id)
    assert second.global_id > first.global_id
    third = await embedded.register_schema("User", user("name"))
    assert third.version == "3"
    assert third.content_id != first.content_id
    with pytest.raises(SchemaExistsError) as caught:
        await embedded.register_schema("User", user("name"), "FAIL")
    assert (caught.value.status, caught.value.artifact_id) == (409, "User")


async def test_canonical_finds_content_in_another_spelling(embedded: EmbeddedRegistry) -> None:
    made = await embedded.register_schema("User", user())
    other = dict(reversed(user().items()))

    assert await embedded.register_schema("User", other, canonical=True) == made
    assert (await embedded.register_schema("User", other)).version == "2"
    changed = await embedded.register_schema("User", user("a"), canonical=True)
    assert changed.version == "3"
    one, two = (f'syntax = "proto3";{space}message A {{ }}' for space in ("", "\n"))
    spaced = await embedded.register_schema("Proto", one, artifact_type="PROTOBUF")
    again = await embedded.register_schema("Proto", two, artifact_type="PROTOBUF", canonical=True)
    assert again == spaced


async def test_versions_can_be_named_and_names_are_never_reused(
    embedded: EmbeddedRegistry,
) -> None:
    await embedded.register_schema("User", user(), version="2")
    with pytest.raises(SchemaExistsError, match="version '2' is taken"):
        await embedded.register_schema("User", user("a"), version="2")

    await embedded.register_schema("User", user("a"), version="latest")
    third = await embedded.register_schema("User", user("b"))
    assert third.version == "3"
    await embedded.delete_version("User", "3")
    assert (await embedded.register_schema("User", user("b"))).version == "4"
    assert (await embedded.get_schema("User", version="latest")).schema == user("a")
    with pytest.raises(SchemaExistsError):
        await embedded.register_schema("User", user("c"), version="3")


@pytest.mark.parametrize("artifact_id", ["a.b", "a b/c?*>", "ünïcødé", ".", "..", "x" * 512])
async def test_any_id_is_a_key(embedded: EmbeddedRegistry, artifact_id: str) -> None:
    made = await embedded.register_schema(artifact_id, user(), group_id=artifact_id)

    assert await embedded.get_schema(artifact_id, group_id=artifact_id) == made
    assert [a.artifact_id for a in await embedded.list_artifacts(group_id=artifact_id)] == [
        artifact_id
    ]


@pytest.mark.parametrize("letter", ["ü", "漢", "\U0001f600", "x", "/"])
async def test_an_id_of_any_length_is_a_key(embedded: EmbeddedRegistry, letter: str) -> None:
    long, other = letter * 512, letter * 511 + "y"
    made = await embedded.register_schema(long, user(), group_id=long)
    also = await embedded.register_schema(other, user("a"), group_id=long)
    await embedded.register_schema(long, user("b"), group_id=other)
    await embedded.set_rule("COMPATIBILITY", "FULL", artifact_id=long, group_id=long)

    assert await embedded.get_schema(long, group_id=long) == made
    assert await embedded.get_schema_by_global_id(also.global_id) == user("a")
    listed = await embedded.list_artifacts(group_id=long)
    assert sorted(a.artifact_id for a in listed) == sorted([long, other])
    assert set(await embedded.list_groups()) == {long, other}
    await embedded.delete_artifact(long, group_id=long)
    assert [a.artifact_id for a in await embedded.list_artifacts(group_id=long)] == [other]


@pytest.mark.parametrize("value", [0, -1, 2**31, 2**63, 2**70, "*", ">", "", "0" * 63, "A" * 64])
async def test_an_impossible_id_is_not_found(embedded: EmbeddedRegistry, value: int | str) -> None:
    await embedded.register_schema("User", user())
    kinds: list[IdType] = ["contentHash"] if isinstance(value, str) else ["globalId", "contentId"]
    for kind in kinds:
        with pytest.raises(SchemaNotFoundError):
            await embedded.get_content(kind, value)


async def test_text_that_is_no_unicode_is_invalid(embedded: EmbeddedRegistry) -> None:
    with pytest.raises(InvalidSchemaError):
        await embedded.register_schema("User", '{"type": "string", "doc": "\ud800"}')


async def test_a_document_of_nearly_the_servers_limit_is_stored(
    embedded: EmbeddedRegistry, nc: Client
) -> None:
    """Every second character is a quote; JSON within JSON would take twice the size."""
    members = ",".join(f'"{number}":"'.ljust(20, "a") + '"' for number in range(44_000))
    document = f"{{{members}}}"
    assert 930_000 < len(document) < nc.max_payload - 1000

    made = await embedded.register_schema("Large", document, artifact_type="JSON")

    assert (await embedded.get_schema("Large")).content == document
    assert made.content == document


async def test_content_of_earlier_releases_is_read(
    embedded: EmbeddedRegistry, nc: Client, bucket: str
) -> None:
    old = Content(artifact_type="AVRO", text=schema_text(user()))
    await embedded.info()
    stored = await nc.jetstream().key_value(bucket)
    revision = await stored.put(old.key, old.model_dump_json().encode())

    made = await embedded.register_schema("User", user())

    assert made.content_id == revision
    assert await embedded.get_schema_by_content_id(revision) == user()


async def test_what_is_not_there_is_named_in_the_error(embedded: EmbeddedRegistry) -> None:
    made = await embedded.register_schema("User", user())

    with pytest.raises(SchemaNotFoundError) as missing:
        await embedded.get_schema("Other")
    assert (missing.value.group_id, missing.value.artifact_id) == ("my-group", "Other")
    for version in ("2", "branch=other"):
        with pytest.raises(SchemaNotFoundError) as no_version:
            await embedded.get_schema("User", version=version)
        assert no_version.value.version == version
    unknown: list[tuple[IdType, int | str]] = [
        ("globalId", made.content_id),
        ("contentId", made.global_id),
        ("globalId", 10**6),
        ("contentHash", "0" * 64),
    ]
    for id_type, value in unknown:
        with pytest.raises(SchemaNotFoundError) as no_id:
            await embedded.get_content(id_type, value)
        assert (no_id.value.id_type, no_id.value.id_value) == (id_type, value)


async def test_blank_ids_and_bad_versions_are_refused_before_anything_is_sent(
    embedded: EmbeddedRegistry, nc: Client
) -> None:
    sent = nc.stats["out_msgs"]
    for call in (
        lambda: embedded.get_schema(" "),
        lambda: embedded.get_schema("\ud800"),
        lambda: embedded.get_schema("User", group_id=""),
        lambda: embedded.get_schema("User", version="a=b"),
        lambda: embedded.register_schema("User", user(), version="a b"),
        lambda: embedded.set_rule("COMPATIBILITY", "SOMETIMES"),
    ):
        with pytest.raises(ValueError, match="invalid"):
            await call()
    assert nc.stats["out_msgs"] == sent
    with pytest.raises(ValueError, match="group_id"):
        EmbeddedRegistry(nc, " ")


async def test_a_disabled_version_is_not_served(embedded: EmbeddedRegistry) -> None:
    first = await embedded.register_schema("User", user())
    second = await embedded.register_schema("User", user("a"))

    await embedded.set_state("User", "2", "DISABLED")

    assert await embedded.get_schema("User") == first
    with pytest.raises(SchemaNotFoundError):
        await embedded.get_schema("User", version="2")
    with pytest.raises(SchemaNotFoundError):
        await embedded.get_schema_by_global_id(second.global_id)
    assert (await embedded.get_version("User", "2")).state == "DISABLED"
    assert await embedded.get_schema_by_content_id(second.content_id) == user("a")
    assert await embedded.register_schema("User", user("a")) == second

    await embedded.set_state("User", "2", "DEPRECATED")
    assert await embedded.get_schema("User") == second
    with pytest.raises(RequestRefusedError, match="cannot become a draft"):
        await embedded.set_state("User", "2", "DRAFT")
    with pytest.raises(SchemaNotFoundError):
        await embedded.set_state("User", "7", "ENABLED")


async def test_deleting_leaves_tombstones(embedded: EmbeddedRegistry) -> None:
    first = await embedded.register_schema("User", user())
    await embedded.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="User")

    await embedded.delete_artifact("User")

    for call in (embedded.get_schema, embedded.list_versions, embedded.delete_artifact):
        with pytest.raises(SchemaNotFoundError):
            await call("User")
    with pytest.raises(SchemaNotFoundError):
        await embedded.get_schema_by_global_id(first.global_id)
    assert await embedded.get_schema_by_content_id(first.content_id) == user()
    assert (await embedded.list_artifacts()).count == 0
    assert (await embedded.list_groups()).count == 0

    again = await embedded.register_schema("User", {"type": "string"})
    assert again.version == "2"
    assert again.global_id > first.global_id
    assert await embedded.get_rules(artifact_id="User") == {}


async def test_lists_are_paged_and_searched(embedded: EmbeddedRegistry) -> None:
    for index in range(5):
        await embedded.register_schema(f"User{index}", user(), labels={"team": f"t{index % 2}"})
    await embedded.register_schema("Order", user("a"), group_id="other")
    proto = 'syntax = "proto3"; message A { int32 a = 1; }'
    await embedded.register_schema("Proto", proto, artifact_type="PROTOBUF", group_id="other")

    page = await embedded.list_artifacts(offset=3, limit=1)
    assert ([a.artifact_id for a in page], page.count) == (["User3"], 5)
    assert page.items[0].labels == {"team": "t1"}
    assert page.items[0].created_on is not None
    assert list(await embedded.list_groups()) == ["my-group", "other"]

    async def search(**conditions: Any) -> list[str]:
        return [a.artifact_id for a in await embedded.search_artifacts(**conditions)]

    assert await search(name="sER3") == ["User3"]
    assert await search(labels={"team": "t0"}) == ["User0", "User2", "User4"]
    assert await search(content=user("a")) == ["Order"]
    assert await search(content=user("never")) == []
    assert await search(artifact_type="PROTOBUF", name="r") == ["Proto"]
    assert await search(group_id="other") == ["Order", "Proto"]
    with pytest.raises(ValueError, match="cannot be searched together"):
        await search(content=user(), name="User")


async def test_versions_are_described_oldest_first(embedded: EmbeddedRegistry) -> None:
    for names in ((), ("a",), ("a", "b")):
        await embedded.register_schema("User", user(*names), labels={"n": str(len(names))})

    page = await embedded.list_versions("User", offset=1, limit=5)

    assert ([info.version for info in page], page.count) == (["2", "3"], 3)
    assert page.items[0].labels == {"n": "1"}
    assert page.items[0] == await embedded.get_version("User", "2")
    assert page.items[0].created_on is not None
    assert await embedded.get_version("User") == page.items[1]


async def test_content_may_refer_to_other_schemas(embedded: EmbeddedRegistry) -> None:
    address = {"type": "record", "name": "Address", "fields": [{"name": "zip", "type": "string"}]}
    person = {"type": "record", "name": "Person", "fields": [{"name": "home", "type": "Address"}]}
    await embedded.set_rule("VALIDITY", "FULL")
    await embedded.register_schema("Address", address)
    reference = Reference(name="Address", artifact_id="Address", version="1")

    with pytest.raises(InvalidSchemaError, match="not an Avro schema"):
        await embedded.register_schema("Person", person)
    made = await embedded.register_schema("Person", person, references=[reference])

    assert await embedded.get_references("Person") == (
        reference.model_copy(update={"group_id": "my-group"}),
    )
    assert await embedded.register_schema("Person", person, references=[reference]) == made
    dangling = reference.model_copy(update={"version": "9"})
    with pytest.raises(IncompatibleSchemaError, match="no schema 'my-group/Address/9' at Address"):
        await embedded.register_schema("Other", person, references=[dangling])
    await embedded.set_rule("INTEGRITY", "NO_DUPLICATES")
    with pytest.raises(IncompatibleSchemaError, match="two references have this name at Address"):
        await embedded.register_schema("Other", person, references=[reference, reference])


async def test_the_nearest_rule_counts(embedded: EmbeddedRegistry) -> None:
    await embedded.register_schema("User", user())
    breaking = user("a", default=False)

    await embedded.set_rule("COMPATIBILITY", "NONE", everywhere=True)
    assert await embedded.check_compatibility("User", breaking)
    await embedded.set_rule("COMPATIBILITY", "BACKWARD")
    assert not await embedded.check_compatibility("User", breaking)
    await embedded.set_rule("COMPATIBILITY", "FORWARD", artifact_id="User")
    assert await embedded.check_compatibility("User", breaking)
    await embedded.delete_rule("COMPATIBILITY", artifact_id="User")
    assert not await embedded.check_compatibility("User", breaking)

    assert await embedded.get_rules(artifact_id="User") == {}
    assert await embedded.get_rules() == {"COMPATIBILITY": "BACKWARD"}
    assert await embedded.get_rules(everywhere=True) == {"COMPATIBILITY": "NONE"}
    await embedded.delete_rule("COMPATIBILITY")
    await embedded.delete_rule("COMPATIBILITY", everywhere=True)
    assert await embedded.get_rules() == await embedded.get_rules(everywhere=True) == {}
    with pytest.raises(SchemaNotFoundError):
        await embedded.set_rule("COMPATIBILITY", "FULL", artifact_id="Other")


async def test_an_incompatible_schema_is_refused_with_causes_and_leaves_nothing(
    embedded: EmbeddedRegistry,
) -> None:
    first = await embedded.register_schema("User", user())
    await embedded.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="User")
    breaking = user("a", default=False)

    with pytest.raises(IncompatibleSchemaError) as caught:
        await embedded.register_schema("User", breaking)

    (cause,) = caught.value.causes
    assert cause.context == "/fields/a"
    assert "has no default" in cause.description
    assert caught.value.status == 409
    assert await embedded.get_schema("User") == first
    with pytest.raises(SchemaNotFoundError):
        await embedded.get_content("contentHash", content_hash(schema_text(breaking)))
    checked = await embedded.check_compatibility("User", breaking)
    assert checked.causes == caught.value.causes
    assert (await embedded.register_schema("User", user("a"))).version == "2"


async def test_a_disabled_version_comes_back_only_where_it_fits(
    embedded: EmbeddedRegistry,
) -> None:
    await embedded.register_schema("User", user())
    await embedded.register_schema("User", user("a", default=False))
    await embedded.set_state("User", "2", "DISABLED")
    await embedded.register_schema("User", user("b"))
    await embedded.set_rule("COMPATIBILITY", "FULL", artifact_id="User")

    with pytest.raises(IncompatibleSchemaError):
        await embedded.set_state("User", "2", "ENABLED")

    assert (await embedded.get_version("User", "2")).state == "DISABLED"
    await embedded.delete_rule("COMPATIBILITY", artifact_id="User")
    await embedded.set_state("User", "2", "ENABLED")
    assert (await embedded.get_version("User", "2")).state == "ENABLED"


async def test_invalid_content_is_refused_as_such(embedded: EmbeddedRegistry) -> None:
    with pytest.raises(InvalidSchemaError):
        await embedded.register_schema("User", "{")
    await embedded.set_rule("VALIDITY", "FULL", everywhere=True)
    with pytest.raises(InvalidSchemaError, match="not an Avro schema"):
        await embedded.register_schema("User", {"type": "nonsense"})
    for depth in (900, 100_000):
        nested = '{"type": "array", "items": ' * depth + '"int"' + "}" * depth
        with pytest.raises(InvalidSchemaError):
            await embedded.register_schema("User", nested)
    result = await embedded.check_compatibility("User", {"type": "nonsense"})
    assert not result
    assert "not an Avro schema" in str(result.causes[0])


async def test_an_artifact_keeps_its_type(embedded: EmbeddedRegistry) -> None:
    await embedded.register_schema("User", user())
    with pytest.raises(SchemaRegistrationError, match="artifact type is 'AVRO', not 'JSON'"):
        await embedded.register_schema("User", {"type": "object"}, artifact_type="JSON")


async def test_large_content_is_served_and_compared(embedded: EmbeddedRegistry) -> None:
    await embedded.set_rule("COMPATIBILITY", "FULL")
    large = {**user(), "doc": "x" * 500_000}
    made = await embedded.register_schema("Large", large)

    assert await embedded.get_schema("Large") == made
    assert (await embedded.register_schema("Large", {**large, "doc": "y" * 500_000})).version == "2"
    assert not await embedded.check_compatibility("Large", {"type": "string"})


async def test_content_above_the_servers_limit_is_refused(embedded: EmbeddedRegistry) -> None:
    with pytest.raises(SchemaRegistrationError) as caught:
        await embedded.register_schema("Big", {**user(), "doc": "x" * 2_000_000})
    assert caught.value.status == 413


async def test_an_artifact_that_is_full_refuses_versions_but_can_be_changed(tmp_path: Path) -> None:
    with single(tmp_path, config="max_payload: 4096") as server:
        async with server.connect() as nc:
            registry = EmbeddedRegistry(nc, "my-group")

            async def fill() -> None:
                for _ in range(100):
                    await registry.register_schema("User", user(), "CREATE_VERSION")

            with pytest.raises(SchemaRegistrationError, match="413 no room for more") as caught:
                await fill()

            count = (await registry.list_versions("User", limit=100)).count
            assert f"more than {count} versions" in str(caught.value)
            assert count > 20
            for number in range(1, count + 1):
                await registry.set_state("User", str(number), "DEPRECATED")
            assert (await registry.register_schema("User", user())).version == str(count)
            assert (await registry.register_schema("Other", user())).version == "1"
            await registry.delete_artifact("User")


async def test_cached_schemas_are_read_only(embedded: EmbeddedRegistry) -> None:
    made = await embedded.register_schema("User", user())
    with pytest.raises(TypeError):
        made.schema["name"] = "Changed"
    changed = copy.deepcopy(made.schema)
    changed["name"] = "Changed"
    assert (await embedded.get_schema("User")).schema == user()


async def test_a_closed_registry_refuses_and_leaves_the_connection_open(
    nc: Client, bucket: str
) -> None:
    async with EmbeddedRegistry(nc, "my-group", bucket=bucket) as registry:
        assert (await registry.info()).name == "natsmicro embedded registry"
    await registry.aclose()

    with pytest.raises(RuntimeError, match="client is closed"):
        await registry.get_schema("User")
    with pytest.raises(RuntimeError, match="client is closed"):
        await registry.get_content("globalId", 1)
    assert nc.is_connected


async def test_no_answer_in_time_is_a_connection_error(nc: Client, bucket: str) -> None:
    await nc.close()
    registry = EmbeddedRegistry(nc, "my-group", bucket=bucket, timeout=0.2)
    with pytest.raises(RegistryConnectionError) as caught:
        await registry.get_schema("User")
    assert caught.value.url == f"nats-kv://{bucket}"
