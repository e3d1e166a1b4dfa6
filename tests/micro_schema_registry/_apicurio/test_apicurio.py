"""What is particular to Apicurio and to the blocking client, on a real Apicurio."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client
from tests.micro_schema_registry.apicurio import server_process
from tests.micro_schema_registry.conftest import running
from tests.micro_schema_registry.jetstream import JetStreamServer
from tests.micro_schema_registry.openapi import check_request

from micro_schema_registry import (
    ApicurioRegistryClient,
    AsyncApicurioRegistryClient,
    IncompatibleSchemaError,
    NatsRegistryClient,
    RegistryConnectionError,
    SchemaNotFoundError,
    SchemaRegistrationError,
    ServiceConfig,
    ServiceOptions,
)

USER = {"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}
BROKEN = {**USER, "fields": [{"name": "age", "type": "int"}]}


async def test_the_first_fetch_takes_three_requests_and_the_next_two(
    apicurio_url: str, group_id: str, async_http: httpx.AsyncClient
) -> None:
    async with AsyncApicurioRegistryClient(
        apicurio_url, group_id, http_client=async_http
    ) as writer:
        for name in ("one", "two"):
            await writer.register_schema(name, {**USER, "name": name})
    sent: list[str] = []

    async def note(request: httpx.Request) -> None:
        sent.append(str(request.url))

    async with httpx.AsyncClient(event_hooks={"request": [note]}, timeout=60) as http:
        client = AsyncApicurioRegistryClient(apicurio_url, group_id, http_client=http)
        await asyncio.gather(*(client.get_schema("one") for _ in range(100)))
        first = len(sent)
        await client.get_schema("two")
        second = len(sent)
        await client.fresh().get_schema("two")

    assert (first, second, len(sent)) == (3, 5, 7)  # a fresh one knows the server, not the schema
    assert len(set(sent)) == 5


async def test_latest_is_the_newest_even_if_a_version_has_that_name(
    apicurio_url: str, group_id: str, async_http: httpx.AsyncClient
) -> None:
    """`versions/latest` would be the version of that name."""
    async with AsyncApicurioRegistryClient(
        apicurio_url, group_id, http_client=async_http
    ) as client:
        named = await client.register_schema("user", USER, version="latest")
        newest = await client.register_schema("user", BROKEN)
        client.forget()

        assert await client.get_schema("user") == newest
        assert await client.get_schema("user", version="latest") == named


@pytest.mark.parametrize("odd", ["100%", "naïve"])
async def test_ids_that_apicurio_does_not_take_are_reported(
    apicurio_url: str, group_id: str, async_http: httpx.AsyncClient, odd: str
) -> None:
    async with AsyncApicurioRegistryClient(
        apicurio_url, group_id, http_client=async_http
    ) as client:
        with pytest.raises(SchemaRegistrationError) as caught:
            await client.register_schema(odd, USER)

    assert (caught.value.status, caught.value.name) == (400, "InvalidArtifactIdException")


def test_the_blocking_client_does_all_of_it(apicurio_url: str, group_id: str) -> None:
    def check(request: httpx.Request) -> None:
        check_request(request)

    http = httpx.Client(event_hooks={"request": [check]}, timeout=60)
    with http, ApicurioRegistryClient(apicurio_url, group_id, http_client=http) as client:
        registered = client.register_schema("user", USER)
        client.set_rule("COMPATIBILITY", "BACKWARD", artifact_id="user")
        client.forget()

        assert client.get_schema("user") == registered
        assert client.get_schema_by_global_id(registered.global_id) == USER
        assert client.get_schema_by_content_id(registered.content_id) == USER
        assert client.get_rules(artifact_id="user") == {"COMPATIBILITY": "BACKWARD"}
        assert not client.check_compatibility("user", BROKEN)
        with pytest.raises(IncompatibleSchemaError):
            client.register_schema("user", BROKEN)
        assert [item.version for item in client.list_versions("user")] == ["1"]
        assert client.search_artifacts(name="user", group_id=group_id).count == 1
        assert client.get_references("user") == ()
        client.set_state("user", "1", "DISABLED")
        client.delete_rule("COMPATIBILITY", artifact_id="user")
        client.delete_version("user", "1")
        client.delete_artifact("user")
        assert client.list_artifacts().count == 0
        assert group_id in client.list_groups(limit=500)
        assert client.info().version
        with pytest.raises(SchemaNotFoundError):
            client.get_version("user")


def test_racing_threads_all_register(apicurio_url: str, group_id: str, http: httpx.Client) -> None:
    client = ApicurioRegistryClient(apicurio_url, group_id, http_client=http)
    with ThreadPoolExecutor(20) as pool:
        results = list(
            pool.map(lambda n: client.register_schema("user", {**USER, "name": f"U{n}"}), range(20))
        )

    assert len({result.global_id for result in results}) == 20


async def test_a_registry_that_stops_and_comes_back(
    apicurio_home: Path, tmp_path: Path, group_id: str, async_http: httpx.AsyncClient
) -> None:
    """Cached schemas stay available; other calls fail with a reason and work again later."""
    with server_process(tmp_path) as url:
        client = AsyncApicurioRegistryClient(
            url, group_id, http_client=async_http, retry_backoff_ms=1
        )
        registered = await client.register_schema("user", USER)

    assert await client.get_schema("user") == registered
    client.forget()
    with pytest.raises(RegistryConnectionError) as caught:
        await client.get_schema("user")
    assert caught.value.url == url
    assert isinstance(caught.value.__cause__, httpx.TransportError)

    with server_process(tmp_path, port=httpx.URL(url).port):
        assert (await client.register_schema("user", USER)).schema == USER


async def make_draft(http: httpx.AsyncClient, artifacts: str) -> None:
    content = {"content": '{"type": "string"}', "contentType": "application/json"}
    body = {"artifactId": "user", "artifactType": "AVRO"}
    made = await http.post(
        artifacts, json=body | {"firstVersion": {"content": content, "isDraft": True}}
    )
    assert made.is_success


async def test_drafts_are_read_by_name_and_branch_and_not_cached(
    apicurio_url: str, group_id: str, async_http: httpx.AsyncClient
) -> None:
    """A draft has no content by its ids, and its content may change."""
    artifacts = f"{apicurio_url}/groups/{group_id}/artifacts"
    await make_draft(async_http, artifacts)
    client = AsyncApicurioRegistryClient(apicurio_url, group_id, http_client=async_http)

    for version in ("1", "branch=drafts"):
        draft = await client.get_schema("user", version=version)
        assert (draft.schema, draft.version, draft.artifact_type) == (
            {"type": "string"},
            "1",
            "AVRO",
        )
    with pytest.raises(SchemaNotFoundError):
        await client.get_schema("user")

    assert (await async_http.delete(f"{artifacts}/user")).is_success
    with pytest.raises(SchemaNotFoundError):
        await client.get_schema("user", version="1")


async def test_the_service_keeps_no_draft(
    apicurio_url: str,
    group_id: str,
    async_http: httpx.AsyncClient,
    jetstream: JetStreamServer,
    nc: Client,
) -> None:
    artifacts = f"{apicurio_url}/groups/{group_id}/artifacts"
    await make_draft(async_http, artifacts)
    config = ServiceConfig(
        backend="apicurio",
        url=apicurio_url,
        options=ServiceOptions(group=f"registry-{group_id}", timeout=30),
    )
    async with running(jetstream, config):
        client = NatsRegistryClient(nc, group_id, prefix=config.options.group, timeout=30)
        for version in ("1", "branch=drafts"):
            draft = await client.get_schema("user", version=version)
            assert (draft.schema, draft.version, draft.draft) == ({"type": "string"}, "1", True)
            with pytest.raises(SchemaNotFoundError):
                await client.get_content("globalId", draft.global_id)

        assert (await async_http.delete(f"{artifacts}/user")).is_success
        for version in ("1", "branch=drafts"):
            with pytest.raises(SchemaNotFoundError):
                await client.get_schema("user", version=version)
