"""What the clients make of answers that a real registry gives only now and then."""

import copy
import pickle

import httpx
import pytest
from tests.micro_schema_registry.stub import URL, Stub, problem, version

from micro_schema_registry import (
    ArtifactInfo,
    AsyncApicurioRegistryClient,
    Page,
    RegistryConnectionError,
    RequestRefusedError,
)
from micro_schema_registry._caching.cache import Cache
from micro_schema_registry._model.frozen_json import FrozenDict, FrozenList, freeze
from micro_schema_registry._model.models import parse_schema

RULES = "/groups/g/rules"


@pytest.fixture
def stub() -> Stub:
    """Return a registry whose answers a test sets."""
    return Stub()


@pytest.fixture
def client(stub: Stub) -> AsyncApicurioRegistryClient:
    """Return a client of the stub."""
    return AsyncApicurioRegistryClient(URL, "g", http_client=stub.async_client())


async def test_a_rule_that_vanishes_while_rules_are_read_is_left_out(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    stub.answers[f"GET {RULES}"] = [httpx.Response(200, json=["VALIDITY", "COMPATIBILITY"])]
    stub.answers[f"GET {RULES}/VALIDITY"] = [problem(404, "RuleNotFoundException")]
    stub.answers[f"GET {RULES}/COMPATIBILITY"] = [
        httpx.Response(200, json={"ruleType": "COMPATIBILITY", "config": "FULL"})
    ]

    assert await client.get_rules() == {"COMPATIBILITY": "FULL"}


async def test_rules_that_cannot_be_read_are_an_error(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    stub.answers[f"GET {RULES}"] = [problem(500), httpx.Response(200, json=["VALIDITY"])]
    stub.answers[f"GET {RULES}/VALIDITY"] = [problem(500)]
    stub.answers[f"DELETE {RULES}/VALIDITY"] = [problem(500)]

    for _ in range(2):
        with pytest.raises(RegistryConnectionError):
            await client.get_rules()
    with pytest.raises(RegistryConnectionError):
        await client.delete_rule("VALIDITY")


async def test_a_rule_that_another_client_makes_meanwhile_is_changed(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    stub.answers[f"PUT {RULES}/VALIDITY"] = [
        problem(404, "RuleNotFoundException"),
        httpx.Response(200, json={}),
    ]
    stub.answers[f"POST {RULES}"] = [problem(409, "RuleAlreadyExistsException")]

    await client.set_rule("VALIDITY", "FULL")

    assert stub.requests == {f"PUT {RULES}/VALIDITY": 2, f"POST {RULES}": 1}


async def test_a_rule_that_may_not_be_set_is_an_error(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    stub.answers[f"PUT {RULES}/VALIDITY"] = [problem(405, "NotAllowedException")]

    with pytest.raises(RequestRefusedError):
        await client.set_rule("VALIDITY", "FULL")


async def test_all_pages_are_read_where_a_star_would_be_a_wildcard(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    """Apicurio lists the versions of every artifact that matches; more than one page of them."""
    listed = [version("u*" if n % 2 else "user", globalId=n, groupId="g") for n in range(6)]
    stub.answers["GET /groups/g/artifacts/u%2A/versions"] = [
        httpx.Response(200, json={"versions": listed[:4], "count": 6}),
        httpx.Response(200, json={"versions": listed[4:], "count": 6}),
    ]

    page = await client.list_versions("u*", offset=1, limit=5)

    assert ([item.global_id for item in page], page.count) == ([3, 5], 3)


async def test_an_id_that_cannot_be_read_is_an_error(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    stub.answers["GET /ids/globalIds/1"] = [problem(500)]

    with pytest.raises(RegistryConnectionError):
        await client.get_schema_by_global_id(1)


async def test_protobuf_is_known_by_its_content_type_too(
    stub: Stub, client: AsyncApicurioRegistryClient
) -> None:
    """Content ids come without the type; this text would be JSON as well."""
    headers = {"Content-Type": "application/x-protobuf"}
    stub.answers["GET /ids/contentIds/1"] = [httpx.Response(200, text="{}", headers=headers)]

    assert (await client.get_content("contentId", 1)).artifact_type == "PROTOBUF"
    assert await client.get_schema_by_content_id(1) == "{}"


def test_content_is_parsed_where_it_is_json() -> None:
    assert parse_schema("{}", "OPENAPI") == {}
    assert parse_schema("openapi: 3.0.0", "OPENAPI") == "openapi: 3.0.0"
    assert parse_schema("anything", None) == "anything"
    assert parse_schema("{}", "PROTOBUF") == "{}"


def test_frozen_values_copy_and_pickle() -> None:
    frozen = freeze({"a": [{"b": 1}, [2]]})

    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert isinstance(pickle.loads(pickle.dumps(frozen)), FrozenDict)
    assert type(copy.deepcopy(frozen)) is dict
    thawed = copy.deepcopy(frozen["a"])
    assert type(thawed) is list
    assert thawed == [{"b": 1}, [2]]
    thawed[1].append(3)
    assert frozen == {"a": [{"b": 1}, [2]]}
    assert frozen.copy() == frozen


@pytest.mark.parametrize(
    "change",
    [
        lambda d, li: d.update(x=1),
        lambda d, li: d.pop("a"),
        lambda d, li: d.popitem(),
        lambda d, li: d.setdefault("x", 1),
        lambda d, li: d.clear(),
        lambda d, li: d.__delitem__("a"),
        lambda d, li: d.__ior__({"x": 1}),
        lambda d, li: li.extend([1]),
        lambda d, li: li.insert(0, 1),
        lambda d, li: li.pop(),
        lambda d, li: li.remove(1),
        lambda d, li: li.reverse(),
        lambda d, li: li.sort(),
        lambda d, li: li.clear(),
        lambda d, li: li.__setitem__(0, 1),
        lambda d, li: li.__delitem__(0),
        lambda d, li: li.__iadd__([1]),
        lambda d, li: li.__imul__(2),
    ],
)
def test_frozen_values_cannot_be_changed(change: object) -> None:
    frozen = freeze({"a": [1]})
    assert isinstance(frozen["a"], FrozenList)
    assert callable(change)

    with pytest.raises(TypeError, match="read-only"):
        change(frozen, frozen["a"])

    assert frozen == {"a": [1]}


def test_a_cache_keeps_what_was_put_over_what_was_fetched_until_it_expires() -> None:
    now = [0.0]
    cache = Cache[str, str](10, 5.0, clock=lambda: now[0])
    cache.put("a", "put")
    cache.add("a", "fetched")
    assert cache.get("a") == "put"

    now[0] = 5.0
    assert cache.get("a") is None
    cache.add("a", "fetched")
    assert cache.get("a") == "fetched"


def test_pages_are_iterable() -> None:
    page = Page((ArtifactInfo(artifact_id="a"),), 7)

    assert [item.artifact_id for item in page] == ["a"]
    assert (len(page), page.count) == (1, 7)
