"""The registry service for any NATS client: endpoints, problem documents, configuration."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.conftest import running
from tests.micro_schema_registry.jetstream import JetStreamServer, single

import micro
from micro.testing import free_port
from micro_schema_registry import (
    CacheOptions,
    EmbeddedRegistry,
    NatsRegistryClient,
    RegistryConnectionError,
    RequestRefusedError,
    SchemaRegistrationError,
    ServiceConfig,
    ServiceOptions,
)

USER = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
WITH_AGE = {**USER, "fields": [*USER["fields"], {"name": "age", "type": "int"}]}
ADDRESS = {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]}
NAMES = {
    "events", "register", "get", "by-id", "check", "version", "references", "versions", "artifacts",
    "groups", "search", "rules.get", "rules.set", "state.set", "delete", "validate", "info",
}  # fmt: skip


class Caller:
    """Requests to the service in plain JSON."""

    def __init__(self, nc: Client, prefix: str) -> None:
        self.nc = nc
        self.prefix = prefix

    async def __call__(self, endpoint: str, **request: Any) -> Any:
        answer = await micro.Client(self.nc).request(
            f"{self.prefix}.{endpoint}", json.dumps(request).encode(), timeout=20
        )
        return json.loads(answer.data)

    async def problem(self, endpoint: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Return code and problem document of a request that fails."""
        with pytest.raises(micro.ServiceError) as caught:
            await self(endpoint, **request)
        assert caught.value.headers["Content-Type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(caught.value.data)
        assert document["status"] == caught.value.code
        return caught.value.code, document


@pytest.fixture
def prefix() -> str:
    return f"acme-{uuid.uuid4().hex}.registry"


@pytest.fixture
async def ask(
    jetstream: JetStreamServer, nc: Client, bucket: str, prefix: str
) -> AsyncIterator[Caller]:
    options = ServiceOptions(group=prefix, timeout=20)
    async with running(jetstream, ServiceConfig(bucket=bucket, options=options)):
        yield Caller(nc, prefix)


async def register(ask: Caller, artifact: str, schema: object, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await ask(
        "register", artifact=artifact, content=json.dumps(schema), **more
    )
    return made


async def test_the_service_is_found_with_its_endpoints(ask: Caller, nc: Client) -> None:
    found = await micro.Client(nc).info("schema-registry", max_wait=20, max_count=1)

    endpoints = {each.subject.removeprefix(f"{ask.prefix}."): each for each in found[0].endpoints}
    assert endpoints.keys() == (NAMES - {"events"}) | {"events.*.*"}
    assert {each.queue_group for name, each in endpoints.items() if name[:6] != "events"} == {"q"}
    assert endpoints["events.*.*"].queue_group == ""
    assert "micro.request.schema" in endpoints["register"].metadata


async def test_registering_and_getting_in_plain_json(ask: Caller) -> None:
    made = await register(ask, "user", USER, group="people", labels={"team": "a"})
    got = await ask("get", group="people", artifact="user")

    assert got == made
    assert made["content"] == json.dumps(USER)
    assert (made["group"], made["artifact"], made["version"]) == ("people", "user", "1")
    assert (made["type"], made["stale"]) == ("AVRO", False)
    for query in (
        {"global_id": made["global_id"]},
        {"content_id": made["content_id"]},
        {"sha256": made["sha256"]},
    ):
        assert (await ask("by-id", **query))["content"] == made["content"]


async def test_many_ids_in_one_request(ask: Caller) -> None:
    made = [await register(ask, name, {**USER, "name": name}) for name in ("a", "b")]
    ids = [each["global_id"] for each in made]

    batch = await ask("by-id", ids=[*ids, ids[0], 2**40])

    assert {each["global_id"]: each["content"] for each in batch["found"]} == {
        each["global_id"]: each["content"] for each in made
    }
    assert batch["missing"] == [2**40]


async def test_pages_say_the_total(ask: Caller) -> None:
    for name in ("a", "b", "c"):
        await register(ask, name, USER, group="g")

    page = await ask("artifacts", group="g", offset=1, limit=1)

    assert ([each["artifact_id"] for each in page["items"]], page["total"]) == (["b"], 3)
    assert (await ask("groups", limit=500)) == {"items": ["g"], "total": 1}
    assert (await ask("search", name="c"))["total"] == 1
    assert (await ask("versions", group="g", artifact="a"))["items"][0]["version"] == "1"


@pytest.mark.parametrize(
    ("kind", "schema", "good", "bad"),
    [
        ("JSON", ADDRESS, {"zip": "1000"}, {"zip": 1000}),
        ("AVRO", USER, {"id": "a"}, {"id": 1}),
        ("AVRO", USER, {"id": "a"}, {}),
    ],
)
async def test_values_are_validated_against_a_schema(
    ask: Caller, kind: str, schema: object, good: object, bad: object
) -> None:
    made = await register(ask, "it", schema, type=kind)

    assert await ask("validate", global_id=made["global_id"], value=good) == {
        "valid": True,
        "causes": [],
    }
    refused = await ask("validate", sha256=made["sha256"], value=bad)
    assert refused["valid"] is False
    assert refused["causes"][0]["description"]


async def test_a_check_that_takes_long_costs_only_its_caller(ask: Caller, nc: Client) -> None:
    """All members of a long list are compared with each other; other requests go on meanwhile."""
    schema = {"type": "array", "uniqueItems": True}
    made = await register(ask, "list", schema, type="JSON")
    quick = await register(ask, "quick", ADDRESS, type="JSON")
    query = {"global_id": made["global_id"], "value": [{"a": [n]} for n in range(20_000)]}
    await ask("validate", global_id=quick["global_id"], value={"zip": ""})
    slow = asyncio.create_task(
        micro.Client(nc).request(f"{ask.prefix}.validate", json.dumps(query).encode(), timeout=1)
    )
    while not slow.done():
        async with asyncio.timeout(10):  # the check itself takes longer
            assert (await ask("validate", global_id=quick["global_id"], value={"zip": 1}))["causes"]
            assert await ask("get", artifact="quick") == quick

    with pytest.raises((micro.ServiceError, TimeoutError, nats.errors.TimeoutError)) as caught:
        await slow
    if isinstance(caught.value, micro.ServiceError):
        assert caught.value.code == 504


async def test_info_says_that_the_registry_answers(ask: Caller) -> None:
    made = await register(ask, "user", USER)
    await ask("by-id", global_id=made["global_id"])

    state = await ask("info")

    assert (state["backend"], state["ready"], state["reason"]) == ("embedded", True, "")
    assert state["name"]
    assert state["cached"] == 1
    assert state["cached_bytes"] > len(made["content"])


async def test_problems_say_what_is_wrong(ask: Caller) -> None:
    await register(ask, "user", USER)
    await ask("rules.set", artifact="user", rule="COMPATIBILITY", config="BACKWARD")
    made = await ask("register", artifact="query", content="type Query", type="GRAPHQL")

    code, missing = await ask.problem("get", artifact="nope")
    assert (code, missing["type"]) == (404, "not-found")
    code, exists = await ask.problem(
        "register", artifact="user", content=json.dumps(USER), if_exists="FAIL"
    )
    assert (code, exists["type"]) == (409, "exists")
    code, refused = await ask.problem("register", artifact="user", content=json.dumps(WITH_AGE))
    assert (code, refused["type"]) == (409, "incompatible")
    assert refused["causes"] == [
        {
            "description": "reader field 'age' has no default and the writer has no such field",
            "context": "/fields/age",
        }
    ]
    code, invalid = await ask.problem("register", artifact="other", content="{nonsense")
    assert (code, invalid["type"]) == (422, "invalid-schema")
    code, wrong = await ask.problem("get", artifact=" ")
    assert (code, wrong["type"]) == (400, "invalid-request")
    code, wrong = await ask.problem("by-id", global_id=1, content_id=1)
    assert wrong["title"] == "expected exactly one of global_id, content_id and sha256"
    code, wrong = await ask.problem("validate", global_id=made["global_id"], value=1)
    assert wrong["title"].startswith("cannot check values against GRAPHQL schemas")
    code, off = await ask.problem("delete", artifact="user")
    assert (code, off["type"]) == (405, "refused")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("h", b'{"slot": "secret", "versions": 7}'),
        ("h", b"\xff"),
        ("v", b'{"kind": "secret"}'),
        ("c", b'{"text": "secret"}'),
        ("rules", b'{"groups": "secret"}'),
    ],
)
async def test_unreadable_stored_data_is_503_without_its_text_and_is_logged(
    nc: Client, ask: Caller, bucket: str, kind: str, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await register(ask, "user", USER)
    await ask("rules.set", rule="VALIDITY", config="FULL")
    stored = await nc.jetstream().key_value(bucket)
    info = await nc.jetstream().stream_info(f"KV_{bucket}", subjects_filter=">")
    assert info.state.subjects is not None
    keys = {subject.split(".")[2]: subject.split(".", 2)[2] for subject in info.state.subjects}
    revision = await stored.put(keys[kind], value)
    if kind == "v":  # slots are read only where the head is behind
        await nc.jetstream().purge_stream(f"KV_{bucket}", subject=f"$KV.{bucket}.{keys['h']}")
    if kind == "c":
        code, problem = await ask.problem("by-id", content_id=revision)
    else:
        code, problem = await ask.problem("register", artifact="user", content=json.dumps(WITH_AGE))

    assert (code, problem["type"]) == (503, "unavailable")
    assert problem["title"].endswith(f"the value of key {keys[kind]!r} cannot be read")
    assert "secret" not in json.dumps(problem)
    assert f"nats-kv://{bucket}: cannot read key {keys[kind]!r}" in caplog.text


async def test_a_misspelt_member_is_refused(ask: Caller) -> None:
    with pytest.raises(micro.ServiceError) as caught:
        await ask("get", artefact="user", artifact="user")

    assert caught.value.code == 400
    assert json.loads(caught.value.data)[0]["loc"] == ["artefact"]


async def test_what_is_too_large_is_refused(ask: Caller, nc: Client) -> None:
    """Three contents fit a message each, but not together."""
    text = "x" * (nc.max_payload // 2)
    made = [await register(ask, name, {**USER, "doc": name + text}) for name in "abc"]

    code, problem = await ask.problem("by-id", ids=[each["global_id"] for each in made])

    assert (code, problem["type"]) == (413, "refused")
    client = NatsRegistryClient(nc, "g", prefix=ask.prefix)
    with pytest.raises(SchemaRegistrationError) as caught:
        await client.register_schema("big", {**USER, "doc": text * 2})
    assert caught.value.status == 413


async def test_deleting_is_off_unless_allowed(ask: Caller, nc: Client) -> None:
    client = NatsRegistryClient(nc, "default", prefix=ask.prefix)
    await client.register_schema("user", USER)

    with pytest.raises(RequestRefusedError, match="deleting is switched off"):
        await client.delete_artifact("user")

    assert (await client.list_artifacts()).count == 1


async def test_changes_are_told_on_a_subject(ask: Caller, nc: Client) -> None:
    events = await nc.subscribe(f"{ask.prefix}.events.>")
    await nc.flush()
    await register(ask, "a.b c", USER, group="g/1")

    event = await events.next_msg(timeout=20)

    assert event.subject == f"{ask.prefix}.events.g%2F1.a%2Eb%20c"
    assert json.loads(event.data) == {"group": "g/1", "artifact": "a.b c", "withdrawn": False}


async def test_an_unreachable_apicurio_is_503_with_the_cause(
    jetstream: JetStreamServer, nc: Client, prefix: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/apis/registry/v3"
    config = ServiceConfig(backend="apicurio", url=url, options=ServiceOptions(group=prefix))
    async with running(jetstream, config):
        ask = Caller(nc, prefix)
        code, problem = await ask.problem("get", artifact="user")
        state = await ask("info")
        with pytest.raises(RegistryConnectionError, match=r"connection attempts failed|circuit"):
            await NatsRegistryClient(nc, "g", prefix=prefix).get_schema("user")

    assert (code, problem["type"]) == (503, "unavailable")
    assert "connection attempts failed" in problem["title"]
    assert state["ready"] is False
    assert "connection attempts failed" in state["reason"]


async def test_a_server_without_jetstream_is_503_with_the_cause(tmp_path: Path) -> None:
    with single(tmp_path, jetstream=False) as server:
        options = ServiceOptions(timeout=0.5)
        async with running(server, ServiceConfig(options=options)), server.connect() as nc:
            code, problem = await Caller(nc, "registry.v1").problem("get", artifact="user")

    assert (code, problem["type"]) == (503, "unavailable")
    assert "JetStream is not enabled" in problem["title"]


async def test_a_client_without_a_service_says_so(nc: Client) -> None:
    client = NatsRegistryClient(nc, "g", prefix="nobody.here")

    with pytest.raises(RegistryConnectionError, match=r"no service listens on 'nobody\.here\.get'"):
        await client.get_schema("user")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"REGISTRY_BACKEND": "other"}, "invalid backend 'other': expected embedded or apicurio"),
        (
            {"REGISTRY_BACKEND": "apicurio"},
            "invalid url None for backend 'apicurio': expected one for 'apicurio' only",
        ),
        ({"REGISTRY_REPLICAS": "x"}, "invalid REGISTRY_REPLICAS 'x': expected a whole number"),
        ({"REGISTRY_TIMEOUT": "soon"}, "invalid REGISTRY_TIMEOUT 'soon': expected a number"),
        (
            {"REGISTRY_URL": "nowhere"},
            "invalid url 'nowhere': expected one like 'http://host/apis/registry/v3'",
        ),
        ({"REGISTRY_REPLICAS": "0"}, "invalid replicas 0: expected 1 or more"),
        ({"REGISTRY_TIMEOUT": "0"}, "invalid timeout 0.0: expected seconds, more than 0"),
        ({"REGISTRY_LATEST_TTL": "-1"}, "invalid latest_ttl -1.0: expected 0 or more"),
        (
            {"REGISTRY_SERVE_STALE": "maybe"},
            "invalid REGISTRY_SERVE_STALE 'maybe': expected true or false",
        ),
    ],
)
def test_a_wrong_configuration_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ServiceConfig.from_environment(environment)

    assert str(caught.value) == message


def test_the_environment_configures_everything() -> None:
    config = ServiceConfig.from_environment(
        {
            "REGISTRY_URL": "http://127.0.0.1:1/apis/registry/v3",
            "REGISTRY_TOKEN": "secret",
            "REGISTRY_GROUP": "acme",
            "REGISTRY_TIMEOUT": "3",
            "REGISTRY_ALLOW_DELETE": "true",
            "REGISTRY_LATEST_TTL": "10",
            "REGISTRY_NEGATIVE_TTL": "1",
            "REGISTRY_SERVE_STALE": "yes",
            "REGISTRY_CACHE_MB": "1",
        }
    )

    cache = CacheOptions(max_bytes=2**20, latest_ttl=10, negative_ttl=1, serve_stale=True)
    assert config == ServiceConfig(
        backend="apicurio",
        url="http://127.0.0.1:1/apis/registry/v3",
        token="secret",
        options=ServiceOptions(group="acme", timeout=3, allow_delete=True, cache=cache),
    )
    assert "secret" not in repr(config)
    assert ServiceConfig.from_environment({}) == ServiceConfig()


async def test_the_embedded_registry_sees_what_the_service_made(
    ask: Caller, nc: Client, bucket: str
) -> None:
    made = await register(ask, "user", USER)

    direct = EmbeddedRegistry(nc, "default", bucket=bucket)

    assert (await direct.get_schema("user")).global_id == made["global_id"]
