"""What every registry does, whatever is behind it: one suite over the backends in conftest."""

import asyncio
import copy
import inspect
import pickle
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.micro_schema_registry.conftest import NewRegistry

from micro_schema_registry import (
    CachedSchema,
    ClosedError,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidSchemaError,
    Reference,
    RegistryError,
    SchemaExistsError,
    SchemaNotFoundError,
    SchemaRegistrationError,
    SchemaRegistry,
)
from micro_schema_registry._model.models import content_hash

USER = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
USER_WITH_COUNTRY = {
    **USER,
    "fields": [*USER["fields"], {"name": "country", "type": "string", "default": ""}],
}
USER_WITHOUT_DEFAULT = {**USER, "fields": [*USER["fields"], {"name": "age", "type": "int"}]}
PROTO = 'syntax = "proto3";\nmessage User { string id = 1; }\n'
PROTO_BROKEN = 'syntax = "proto3";\nmessage User { int32 id = 1; }\n'
JSON_SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
JSON_BROKEN = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
ODD_IDS = [".", "..", "a/b", "a b", "a?b=c&d", "a#b", "a+b", "a:b", "*", "x" * 512]

Act = Callable[[SchemaRegistry], Coroutine[Any, Any, object]]


def record(name: str) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": []}


# --- registering and fetching


async def test_a_registered_schema_is_served_to_other_clients(new_registry: NewRegistry) -> None:
    writer, reader = await new_registry(), await new_registry()

    registered = await writer.register_schema("user", USER)
    fetched = await reader.get_schema("user")

    assert registered.schema == fetched.schema == USER
    assert (registered.global_id, registered.content_id) == (fetched.global_id, fetched.content_id)
    assert (fetched.version, fetched.artifact_type) == ("1", "AVRO")


async def test_a_registered_schema_is_in_the_cache(registry: SchemaRegistry) -> None:
    registered = await registry.register_schema("user", USER)

    assert await registry.get_schema("user") == registered


async def test_equal_content_is_found_again(registry: SchemaRegistry) -> None:
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER)

    assert first == second
    assert (await registry.list_versions("user")).count == 1


async def test_changed_content_becomes_a_new_version(new_registry: NewRegistry) -> None:
    registry = await new_registry()
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER_WITH_COUNTRY)

    assert second.schema == USER_WITH_COUNTRY
    assert second.global_id != first.global_id
    assert second.content_id != first.content_id
    assert await (await new_registry()).get_schema("user") == second


async def test_create_version_adds_equal_content(registry: SchemaRegistry) -> None:
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER, "CREATE_VERSION")

    assert second.global_id != first.global_id
    assert second.content_id == first.content_id
    assert (await registry.list_versions("user")).count == 2


async def test_fail_refuses_an_artifact_that_exists(registry: SchemaRegistry) -> None:
    await registry.register_schema("user", USER, if_exists="FAIL")

    with pytest.raises(SchemaExistsError) as caught:
        await registry.register_schema("user", USER, if_exists="FAIL")

    assert caught.value.artifact_id == "user"
    assert caught.value.status == 409
    assert caught.value.name
    assert "user" in str(caught.value)


async def test_versions_can_be_named_and_are_taken_once(registry: SchemaRegistry) -> None:
    await registry.register_schema("user", USER, version="1.0")
    named = await registry.register_schema("user", USER_WITH_COUNTRY, version="1.1")

    assert (await registry.get_schema("user", version="1.0")).schema == USER
    assert await registry.get_schema("user", version="1.1") == named
    with pytest.raises(SchemaExistsError):
        await registry.register_schema("user", record("Other"), version="1.0")


async def test_versions_are_got_by_name_and_by_branch(registry: SchemaRegistry) -> None:
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER_WITH_COUNTRY)

    assert await registry.get_schema("user", version="1") == first
    assert await registry.get_schema("user", version="branch=latest") == second


async def test_content_is_found_by_each_kind_of_id(new_registry: NewRegistry) -> None:
    registered = await (await new_registry()).register_schema("user", USER)
    reader = await new_registry()

    assert await reader.get_schema_by_global_id(registered.global_id) == USER
    assert await reader.get_schema_by_content_id(registered.content_id) == USER
    found = await reader.get_content("contentHash", content_hash(registered.content))
    assert (found.content, found.schema) == (registered.content, USER)


async def test_artifacts_with_equal_content_share_the_content_id(registry: SchemaRegistry) -> None:
    one = await registry.register_schema("one", USER)
    two = await registry.register_schema("two", USER)

    assert one.content_id == two.content_id
    assert one.global_id != two.global_id


async def test_canonical_finds_content_written_differently(registry: SchemaRegistry) -> None:
    first = await registry.register_schema("user", USER)
    reordered = dict(reversed(USER.items()))

    found = await registry.register_schema("user", reordered, canonical=True)

    assert found == first
    assert (await registry.register_schema("user", reordered)).global_id != first.global_id


UNLIKE: dict[str, tuple[str, Any, Any]] = {
    "doc": ("AVRO", {**USER, "doc": "a user"}, USER),
    "aliases": ("AVRO", {**USER, "aliases": ["Person"]}, USER),
    "enum default": (
        "AVRO",
        {"type": "enum", "name": "E", "symbols": ["A"], "default": "A"},
        {"type": "enum", "name": "E", "symbols": ["A"]},
    ),
    "field of a comment": (
        "PROTOBUF",
        PROTO,
        'syntax = "proto3";\nmessage User { // string id = 1; }\n}\n',
    ),
    "number": ("JSON", {"minimum": 1}, {"minimum": 1.0}),
}


@pytest.mark.parametrize(("artifact_type", "first", "second"), UNLIKE.values(), ids=UNLIKE)
async def test_canonical_means_no_more_than_another_order(
    new_registry: NewRegistry, artifact_type: str, first: Any, second: Any
) -> None:
    registry = await new_registry()
    for schema in (first, second):
        registered = await registry.register_schema(
            "user", schema, artifact_type=artifact_type, canonical=True
        )

        assert registered.schema == schema
        reader = await new_registry()
        assert (await reader.get_content("globalId", registered.global_id)).schema == schema
        assert (await registry.get_content("globalId", registered.global_id)).schema == schema
    assert (await registry.list_versions("user")).count == 2


async def test_text_is_registered_as_it_stands(new_registry: NewRegistry) -> None:
    text = '{ "type":"record",\n "name": "User", "fields": [] }'
    await (await new_registry()).register_schema("user", text)

    fetched = await (await new_registry()).get_schema("user")

    assert fetched.content == text
    assert fetched.schema == record("User")


async def test_avro_unions_and_names_are_schemas_too(registry: SchemaRegistry) -> None:
    union = await registry.register_schema("union", ["null", "string"])
    name = await registry.register_schema("name", '"string"')

    assert union.schema == ["null", "string"]
    assert name.schema == "string"


@pytest.mark.parametrize(
    ("artifact_type", "schema", "parsed"),
    [("PROTOBUF", PROTO, PROTO), ("JSON", JSON_SCHEMA, JSON_SCHEMA)],
)
async def test_other_types_keep_their_form(
    new_registry: NewRegistry, artifact_type: str, schema: Any, parsed: Any
) -> None:
    registered = await (await new_registry()).register_schema(
        "user", schema, artifact_type=artifact_type
    )
    reader = await new_registry()

    fetched = await reader.get_schema("user")
    by_id = await reader.get_content("globalId", registered.global_id)

    assert fetched.artifact_type == by_id.artifact_type == artifact_type
    assert registered.schema == fetched.schema == by_id.schema == parsed


@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: odd[:10])
async def test_odd_artifact_ids_are_told_apart(registry: SchemaRegistry, odd: str) -> None:
    await registry.register_schema("other", record("Other"))
    registered = await registry.register_schema(odd, USER)

    assert (await registry.get_version(odd)).global_id == registered.global_id
    assert [item.artifact_id for item in await registry.list_versions(odd)] == [odd]


async def test_odd_group_ids_are_told_apart(registry: SchemaRegistry, group_id: str) -> None:
    odd = f"{group_id}/.. *"
    await registry.register_schema("user", record("Plain"))
    await registry.register_schema("user", USER, group_id=odd)

    assert (await registry.get_schema("user", group_id=odd)).schema == USER
    assert [item.group_id for item in await registry.list_artifacts(group_id=odd)] == [odd]


async def test_cached_schemas_are_read_only(registry: SchemaRegistry) -> None:
    cached = await registry.register_schema("user", USER)

    with pytest.raises(TypeError, match="read-only"):
        cached.schema["name"] = "Other"
    with pytest.raises(TypeError, match="read-only"):
        cached.schema["fields"].append({})
    changed = copy.deepcopy(cached.schema)
    changed["fields"].append({"name": "more", "type": "int"})
    assert (await registry.get_schema("user")).schema == USER


# --- what is not there


async def test_a_missing_artifact_is_named(registry: SchemaRegistry, group_id: str) -> None:
    with pytest.raises(SchemaNotFoundError) as caught:
        await registry.get_schema("nope")

    assert (caught.value.group_id, caught.value.artifact_id) == (group_id, "nope")
    assert caught.value.status == 404
    assert "'nope'" in str(caught.value)
    assert group_id in str(caught.value)


async def test_a_missing_version_is_named(registry: SchemaRegistry) -> None:
    await registry.register_schema("user", USER)

    with pytest.raises(SchemaNotFoundError) as caught:
        await registry.get_schema("user", version="7")

    assert (caught.value.artifact_id, caught.value.version) == ("user", "7")


@pytest.mark.parametrize(
    ("id_type", "value"),
    [("globalId", 2**52), ("contentId", 2**52), ("contentHash", "0" * 64)],
)
async def test_a_missing_id_is_named(registry: SchemaRegistry, id_type: Any, value: Any) -> None:
    with pytest.raises(SchemaNotFoundError) as caught:
        await registry.get_content(id_type, value)

    assert (caught.value.id_type, caught.value.id_value) == (id_type, value)
    assert (caught.value.group_id, caught.value.artifact_id) == (None, None)


MISSING: dict[str, Act] = {
    "list_versions": lambda r: r.list_versions("nope"),
    "get_version": lambda r: r.get_version("nope"),
    "get_references": lambda r: r.get_references("nope"),
    "set_state": lambda r: r.set_state("nope", "1", "DISABLED"),
    "get_rules": lambda r: r.get_rules(artifact_id="nope"),
    "set_rule": lambda r: r.set_rule("VALIDITY", "FULL", artifact_id="nope"),
    "delete_artifact": lambda r: r.delete_artifact("nope"),
    "delete_version": lambda r: r.delete_version("nope", "1"),
}


@pytest.mark.parametrize("act", MISSING.values(), ids=MISSING.keys())
async def test_everything_says_that_an_artifact_is_missing(
    registry: SchemaRegistry, act: Act
) -> None:
    with pytest.raises(SchemaNotFoundError) as caught:
        await act(registry)

    assert caught.value.artifact_id == "nope"


BAD_INPUT: dict[str, Act] = {
    "blank get": lambda r: r.get_schema(" "),
    "empty register": lambda r: r.register_schema("", USER),
    "blank check": lambda r: r.check_compatibility("\t", USER),
    "blank group": lambda r: r.get_schema("user", group_id=""),
    "blank list": lambda r: r.list_versions(""),
    "blank delete": lambda r: r.delete_artifact(" "),
    "blank rule": lambda r: r.get_rules(artifact_id=""),
    "too long": lambda r: r.get_schema("x" * 513),
    "line break": lambda r: r.get_schema("a\nb"),
    "version": lambda r: r.get_schema("user", version="tag=1"),
    "empty version": lambda r: r.get_version("user", ""),
    "rule": lambda r: r.set_rule("BOGUS", "FULL"),  # type: ignore[arg-type]  # wrong on purpose
    "rule config": lambda r: r.set_rule("VALIDITY", "BOGUS"),
    "if_exists": lambda r: r.register_schema("user", USER, "BOGUS"),  # type: ignore[arg-type]  # wrong on purpose
    "integrity list": lambda r: r.set_rule("INTEGRITY", "REFS_EXIST,BOGUS"),
    "both scopes": lambda r: r.get_rules(artifact_id="user", everywhere=True),
    "search": lambda r: r.search_artifacts(content=USER, name="user"),
    "url as content": lambda r: r.register_schema(
        "user", " http://127.0.0.1:1/x", artifact_type="PROTOBUF"
    ),
}


@pytest.mark.parametrize("act", BAD_INPUT.values(), ids=BAD_INPUT.keys())
async def test_what_cannot_work_is_refused(registry: SchemaRegistry, act: Act) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected|cannot|not both"):
        await act(registry)


async def test_text_that_is_no_json_is_no_avro(registry: SchemaRegistry) -> None:
    with pytest.raises(InvalidSchemaError) as caught:
        await registry.register_schema("user", "{nonsense")

    assert caught.value.artifact_id == "user"


async def test_errors_can_be_pickled(registry: SchemaRegistry) -> None:
    await registry.register_schema("user", USER)
    for act in (
        lambda: registry.get_schema("nope"),
        lambda: registry.get_content("globalId", 2**52),
        lambda: registry.register_schema("user", USER, "FAIL"),
    ):
        with pytest.raises(RegistryError) as caught:
            await act()
        loaded = pickle.loads(pickle.dumps(caught.value))

        assert type(loaded) is type(caught.value)
        assert str(loaded) == str(caught.value)
        assert loaded.problem == caught.value.problem
        assert repr(vars(loaded)) == repr(vars(caught.value))


# --- lists, search, references


async def test_groups_are_listed(registry: SchemaRegistry, group_id: str) -> None:
    await registry.register_schema("user", USER)

    total = (await registry.list_groups(limit=1)).count
    groups = await registry.list_groups(limit=total + 50)

    assert group_id in groups
    assert list(groups) == sorted(groups)


async def test_artifacts_are_listed_in_pages(registry: SchemaRegistry, group_id: str) -> None:
    for name in ("c", "a", "b"):
        await registry.register_schema(name, USER)

    first = await registry.list_artifacts(limit=2)
    rest = await registry.list_artifacts(offset=2, limit=2)

    assert [item.artifact_id for item in first] == ["a", "b"]
    assert [item.artifact_id for item in rest] == ["c"]
    assert first.count == rest.count == 3
    assert {item.group_id for item in first} == {group_id}


async def test_an_unknown_group_is_empty(registry: SchemaRegistry) -> None:
    page = await registry.list_artifacts(group_id="no-such-group")

    assert (len(page), page.count) == (0, 0)
    assert await registry.get_rules(group_id="no-such-group") == {}


async def test_versions_are_listed_oldest_first_in_pages(registry: SchemaRegistry) -> None:
    made = [await registry.register_schema("user", record(f"User{n}")) for n in range(3)]

    first = await registry.list_versions("user", limit=2)
    rest = await registry.list_versions("user", offset=2, limit=2)

    listed = [*first, *rest]
    assert [item.global_id for item in listed] == [item.global_id for item in made]
    assert [item.content_id for item in listed] == [item.content_id for item in made]
    assert [item.version for item in listed] == ["1", "2", "3"]
    assert first.count == rest.count == 3


async def test_artifacts_are_searched(registry: SchemaRegistry, group_id: str) -> None:
    await registry.register_schema("order-created", USER, labels={"team": "sales"})
    await registry.register_schema("order-paid", record("Paid"), labels={"team": "cash"})
    await registry.register_schema("user", PROTO, artifact_type="PROTOBUF")

    async def search(**conditions: Any) -> list[str]:
        page = await registry.search_artifacts(group_id=group_id, **conditions)
        assert page.count == len(page)
        return [item.artifact_id for item in page]

    assert await search() == ["order-created", "order-paid", "user"]
    assert await search(name="order") == ["order-created", "order-paid"]
    assert await search(name="order", labels={"team": "cash"}) == ["order-paid"]
    assert await search(artifact_type="PROTOBUF") == ["user"]
    assert await search(content=USER) == ["order-created"]
    assert await search(name="nothing") == []


async def test_references_are_kept_with_the_version(
    registry: SchemaRegistry, group_id: str
) -> None:
    await registry.register_schema("user", USER)
    order = {
        "type": "record",
        "name": "Order",
        "fields": [{"name": "user", "type": "User"}],
    }
    reference = Reference(name="User", artifact_id="user", version="1")

    registered = await registry.register_schema("order", order, references=[reference])

    expected = (reference.model_copy(update={"group_id": group_id}),)
    assert registered.schema == order
    assert await registry.get_references("order") == expected
    assert await registry.get_references("order", "1") == expected
    assert await registry.get_references("user") == ()


async def test_versions_are_described(registry: SchemaRegistry, group_id: str) -> None:
    registered = await registry.register_schema("user", USER, labels={"team": "sales"})

    info = await registry.get_version("user")

    assert (info.group_id, info.artifact_id, info.version) == (group_id, "user", "1")
    assert (info.global_id, info.content_id) == (registered.global_id, registered.content_id)
    assert (info.state, info.artifact_type) == ("ENABLED", "AVRO")
    assert info.labels == {"team": "sales"}
    assert info.created_on is not None
    assert await registry.get_version("user", "1") == info


# --- states


async def test_a_disabled_version_is_skipped_and_not_served(new_registry: NewRegistry) -> None:
    registry = await new_registry()
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER_WITH_COUNTRY)
    await registry.set_state("user", "2", "DISABLED")

    reader = await new_registry()

    assert await reader.get_schema("user") == first
    with pytest.raises(SchemaNotFoundError):
        await reader.get_schema("user", version="2")
    with pytest.raises(SchemaNotFoundError):
        await reader.get_schema_by_global_id(second.global_id)
    assert (await reader.get_version("user", "2")).state == "DISABLED"


async def test_a_client_forgets_what_it_has_withdrawn(registry: SchemaRegistry) -> None:
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER_WITH_COUNTRY)
    assert await registry.get_schema_by_global_id(second.global_id) == USER_WITH_COUNTRY

    await registry.set_state("user", "2", "DISABLED")

    assert await registry.get_schema("user") == first
    with pytest.raises(SchemaNotFoundError):
        await registry.get_schema_by_global_id(second.global_id)
    await registry.set_state("user", "2", "ENABLED")
    assert await registry.get_schema("user") == second
    await registry.delete_version("user", "2")
    assert await registry.get_schema("user") == first
    with pytest.raises(SchemaNotFoundError):
        await registry.get_schema_by_global_id(second.global_id)
    await registry.delete_artifact("user")
    with pytest.raises(SchemaNotFoundError):
        await registry.get_schema("user")
    with pytest.raises(SchemaNotFoundError):
        await registry.get_schema("user", version="1")
    with pytest.raises(SchemaNotFoundError):
        await registry.get_schema_by_global_id(first.global_id)


async def test_a_sunset_version_is_not_the_newest(new_registry: NewRegistry) -> None:
    registry = await new_registry()
    first = await registry.register_schema("user", USER)
    second = await registry.register_schema("user", USER_WITH_COUNTRY)
    await registry.set_state("user", "2", "SUNSET")

    for client in (registry, await new_registry()):
        assert await client.get_schema("user") == first
        assert await client.get_schema("user", version="branch=latest") == first
        assert await client.get_schema("user", version="2") == second
        found = await client.register_schema("user", USER_WITH_COUNTRY)
        assert found == second
        assert await client.get_schema("user") == first
    await registry.set_state("user", "1", "SUNSET")
    with pytest.raises(SchemaNotFoundError):
        await (await new_registry()).get_schema("user")


async def test_an_artifact_without_enabled_versions_has_no_schema(
    new_registry: NewRegistry,
) -> None:
    registry = await new_registry()
    await registry.register_schema("user", USER)
    await registry.set_state("user", "1", "DISABLED")

    with pytest.raises(SchemaNotFoundError):
        await (await new_registry()).get_schema("user")


@pytest.mark.parametrize("state", ["DEPRECATED", "ENABLED"])
async def test_a_version_can_come_back(new_registry: NewRegistry, state: Any) -> None:
    registry = await new_registry()
    registered = await registry.register_schema("user", USER)
    await registry.set_state("user", "1", "DISABLED")
    await registry.set_state("user", "1", state)

    assert await (await new_registry()).get_schema("user") == registered
    assert (await registry.get_version("user", "1")).state == state


# --- rules


async def test_rules_are_set_changed_and_removed(registry: SchemaRegistry) -> None:
    await registry.register_schema("user", USER)
    assert await registry.get_rules(artifact_id="user") == {}

    await registry.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="user")
    await registry.set_rule("COMPATIBILITY", "FULL", artifact_id="user")
    await registry.set_rule("VALIDITY", "SYNTAX_ONLY", artifact_id="user")
    set_rules = await registry.get_rules(artifact_id="user")
    await registry.delete_rule("VALIDITY", artifact_id="user")
    await registry.delete_rule("VALIDITY", artifact_id="user")

    assert set_rules == {"COMPATIBILITY": "FULL", "VALIDITY": "SYNTAX_ONLY"}
    assert await registry.get_rules(artifact_id="user") == {"COMPATIBILITY": "FULL"}
    assert await registry.get_rules() == {}


async def test_a_rule_everywhere_can_be_set(registry: SchemaRegistry) -> None:
    """NONE, since other tests share the registry."""
    await registry.set_rule("INTEGRITY", "NONE", everywhere=True)

    assert (await registry.get_rules(everywhere=True))["INTEGRITY"] == "NONE"
    assert await registry.get_rules() == {}


async def test_a_rule_of_the_group_holds_for_its_artifacts(registry: SchemaRegistry) -> None:
    await registry.set_rule("COMPATIBILITY", "BACKWARD")
    await registry.register_schema("user", USER)

    with pytest.raises(IncompatibleSchemaError):
        await registry.register_schema("user", USER_WITHOUT_DEFAULT)

    assert await registry.get_rules() == {"COMPATIBILITY": "BACKWARD"}


async def test_the_rule_of_an_artifact_comes_before_that_of_its_group(
    registry: SchemaRegistry,
) -> None:
    await registry.set_rule("COMPATIBILITY", "BACKWARD")
    await registry.register_schema("user", USER)
    await registry.set_rule("COMPATIBILITY", "NONE", artifact_id="user")

    registered = await registry.register_schema("user", USER_WITHOUT_DEFAULT)

    assert registered.version == "2"


@pytest.mark.parametrize(
    ("artifact_type", "good", "bad"),
    [
        ("AVRO", USER, USER_WITHOUT_DEFAULT),
        ("JSON", JSON_SCHEMA, JSON_BROKEN),
        ("PROTOBUF", PROTO, PROTO_BROKEN),
    ],
)
async def test_an_incompatible_schema_is_refused_with_causes(
    registry: SchemaRegistry, artifact_type: str, good: Any, bad: Any
) -> None:
    await registry.register_schema("user", good, artifact_type=artifact_type)
    await registry.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="user")

    with pytest.raises(IncompatibleSchemaError) as caught:
        await registry.register_schema("user", bad, artifact_type=artifact_type)

    assert caught.value.artifact_id == "user"
    assert caught.value.status in {400, 409}
    assert caught.value.causes
    assert str(caught.value.causes[0]) in str(caught.value)
    assert (await registry.list_versions("user")).count == 1
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert (str(loaded), loaded.causes) == (str(caught.value), caught.value.causes)


@pytest.mark.parametrize(
    ("level", "schema", "compatible"),
    [
        ("BACKWARD", USER_WITH_COUNTRY, True),
        ("BACKWARD", USER_WITHOUT_DEFAULT, False),
        ("FORWARD", USER_WITHOUT_DEFAULT, True),
        ("FORWARD", record("User"), False),
        ("FULL", USER_WITH_COUNTRY, True),
        ("FULL", USER_WITHOUT_DEFAULT, False),
        ("NONE", USER_WITHOUT_DEFAULT, True),
    ],
)
async def test_compatibility_is_checked_without_storing(
    registry: SchemaRegistry, level: str, schema: Any, compatible: bool
) -> None:
    await registry.register_schema("user", USER)
    await registry.set_rule("COMPATIBILITY", level, artifact_id="user")

    result = await registry.check_compatibility("user", schema)

    assert result.compatible is bool(result) is compatible
    assert bool(result.causes) is not compatible
    assert (await registry.list_versions("user")).count == 1


async def test_compatibility_is_checked_for_the_type_of_the_artifact(
    registry: SchemaRegistry,
) -> None:
    for name, good, bad, artifact_type in (
        ("json", JSON_SCHEMA, JSON_BROKEN, "JSON"),
        ("proto", PROTO, PROTO_BROKEN, "PROTOBUF"),
    ):
        await registry.register_schema(name, good, artifact_type=artifact_type)
        await registry.set_rule("COMPATIBILITY", "BACKWARD", artifact_id=name)

        assert await registry.check_compatibility(name, good)
        assert not await registry.check_compatibility(name, bad)


async def test_integrity_takes_several_rules(registry: SchemaRegistry, group_id: str) -> None:
    await registry.set_rule("INTEGRITY", "REFS_EXIST,NO_DUPLICATES")
    missing = Reference(name="User", artifact_id="nope", version="1")

    assert await registry.get_rules() == {"INTEGRITY": "REFS_EXIST,NO_DUPLICATES"}
    with pytest.raises(SchemaRegistrationError):
        await registry.register_schema("order", USER, references=[missing])
    await registry.register_schema("user", USER)
    twice = [Reference(name="User", artifact_id="user", version="1")] * 2
    with pytest.raises(SchemaRegistrationError):
        await registry.register_schema("order", record("Order"), references=twice)


async def test_transitive_levels_look_at_every_version(registry: SchemaRegistry) -> None:
    """Each step is compatible with the one before; the field loses its default in the third."""
    with_default = {**USER, "fields": [{"name": "x", "type": "int", "default": 0}]}
    without_default = {**USER, "fields": [{"name": "x", "type": "int"}]}
    await registry.register_schema("user", {**USER, "fields": []})
    await registry.register_schema("user", with_default)
    await registry.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="user")
    assert await registry.check_compatibility("user", without_default)

    await registry.set_rule("COMPATIBILITY", "BACKWARD_TRANSITIVE", artifact_id="user")

    assert not await registry.check_compatibility("user", without_default)


async def test_a_new_artifact_is_compatible_and_not_made_by_asking(
    registry: SchemaRegistry,
) -> None:
    assert await registry.check_compatibility("user", USER)

    with pytest.raises(SchemaNotFoundError):
        await registry.get_version("user")


async def test_an_invalid_schema_is_refused(registry: SchemaRegistry) -> None:
    await registry.register_schema("user", USER)
    await registry.set_rule("VALIDITY", "FULL", artifact_id="user")

    for bad in ("{nonsense", {"type": "record"}):
        with pytest.raises(InvalidSchemaError):
            await registry.register_schema("user", bad)
        result = await registry.check_compatibility("user", bad)

        assert not result.compatible
        assert result.causes


# --- many at once


async def test_racing_clients_with_equal_content_get_one_version(
    new_registry: NewRegistry,
) -> None:
    clients = [await new_registry() for _ in range(40)]

    results = await asyncio.gather(*(each.register_schema("user", USER) for each in clients))

    assert len({result.global_id for result in results}) == 1
    assert (await clients[0].list_versions("user")).count == 1


async def test_racing_clients_with_different_content_all_succeed(
    new_registry: NewRegistry,
) -> None:
    clients = [await new_registry() for _ in range(40)]

    results = await asyncio.gather(
        *(each.register_schema("user", record(f"User{n % 10}")) for n, each in enumerate(clients))
    )

    assert [result.schema for result in results] == [record(f"User{n % 10}") for n in range(40)]
    versions = await clients[0].list_versions("user", limit=100)
    assert {item.global_id for item in versions} >= {result.global_id for result in results}
    assert len({result.content_id for result in results}) == 10


async def test_racing_clients_that_create_each_get_a_version(new_registry: NewRegistry) -> None:
    clients = [await new_registry() for _ in range(40)]

    results = await asyncio.gather(
        *(each.register_schema("user", USER, "CREATE_VERSION") for each in clients)
    )

    assert sorted(int(result.version or 0) for result in results) == list(range(1, 41))


async def test_fail_has_one_winner(new_registry: NewRegistry) -> None:
    clients = [await new_registry() for _ in range(10)]

    results = await asyncio.gather(
        *(each.register_schema("user", USER, "FAIL") for each in clients), return_exceptions=True
    )

    assert sum(isinstance(result, CachedSchema) for result in results) == 1
    assert sum(isinstance(result, SchemaExistsError) for result in results) == 9


# --- deleting, closing


async def test_an_artifact_is_deleted_with_its_versions(new_registry: NewRegistry) -> None:
    registry = await new_registry()
    await registry.register_schema("user", USER)
    await registry.register_schema("user", USER_WITH_COUNTRY)

    await registry.delete_artifact("user")

    with pytest.raises(SchemaNotFoundError):
        await (await new_registry()).get_schema("user")
    assert (await registry.list_artifacts()).count == 0


async def test_a_version_is_deleted(new_registry: NewRegistry) -> None:
    registry = await new_registry()
    first = await registry.register_schema("user", USER)
    await registry.register_schema("user", USER_WITH_COUNTRY)

    await registry.delete_version("user", "2")

    assert await (await new_registry()).get_schema("user") == first
    assert [item.version for item in await registry.list_versions("user")] == ["1"]


async def test_the_registry_introduces_itself(registry: SchemaRegistry, group_id: str) -> None:
    info = await registry.info()

    assert info.name
    assert info.version
    assert registry.group_id == group_id


async def test_a_closed_client_says_so(new_registry: NewRegistry) -> None:
    registry = await new_registry()
    registered = await registry.register_schema("user", USER)
    await registry.aclose()
    await registry.aclose()

    for act in (
        lambda: registry.get_schema("user"),
        lambda: registry.get_schema_by_global_id(registered.global_id),
        lambda: registry.register_schema("user", USER),
        registry.list_groups,
    ):
        with pytest.raises(ClosedError, match="closed"):
            await act()


async def test_every_method_of_the_protocol_is_there_as_declared(registry: SchemaRegistry) -> None:
    for name, declared in inspect.getmembers(SchemaRegistry, inspect.isfunction):
        if name.startswith("_"):
            continue
        method = getattr(registry, name)
        expected = inspect.signature(declared).parameters
        given = inspect.signature(method).parameters

        assert [*given] == [*expected][1:], name
        for each in given.values():
            assert (each.kind, each.default) == (
                expected[each.name].kind,
                expected[each.name].default,
            )
        assert inspect.getdoc(method)


def test_registration_errors_have_one_base() -> None:
    assert all(
        issubclass(each, SchemaRegistrationError)
        for each in (SchemaExistsError, InvalidSchemaError, IncompatibleSchemaError)
    )
