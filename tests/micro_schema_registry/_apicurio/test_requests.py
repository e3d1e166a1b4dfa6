"""Requests, retries and odd answers, with both drivers where they could differ."""

import asyncio
import json
import pickle
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.micro_http.conftest import Reply, Server
from tests.micro_schema_registry.stub import SCHEMA, URL, Stub, problem, version

import micro_schema_registry
from micro_http import no_delays
from micro_schema_registry import (
    ApicurioRegistryClient,
    AsyncApicurioRegistryClient,
    AuthenticationError,
    Cause,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidSchemaError,
    RegistryConnectionError,
    RequestRefusedError,
    SchemaExistsError,
    SchemaRegistrationError,
    _errors,
)

CONTENT = "GET /groups/g/artifacts/user/versions/branch%3Dlatest/content"
REGISTER = "POST /groups/g/artifacts"


class Blocking:
    """Run the blocking client as the async one is run, so that one test serves both."""

    def __init__(self, stub: Stub, **options: Any) -> None:
        self._client = ApicurioRegistryClient(URL, "g", http_client=stub.client(), **options)

    def __getattr__(self, name: str) -> Any:
        async def method(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(getattr(self._client, name), *args, **kwargs)

        return method


def open_async(stub: Stub, **options: Any) -> Any:
    return AsyncApicurioRegistryClient(URL, "g", http_client=stub.async_client(), **options)


Open = Callable[..., Any]


@pytest.fixture(params=[open_async, Blocking], ids=["async", "blocking"])
def open_client(request: pytest.FixtureRequest) -> Open:
    """Open a client of either kind on a stub."""
    made: Open = request.param
    return made


# --- repeating


@pytest.mark.parametrize(
    "trouble",
    [429, 502, 503, 504, httpx.ReadError("cut"), httpx.ConnectTimeout("slow")],
    ids=repr,
)
async def test_passing_trouble_is_waited_out(open_client: Open, trouble: Any) -> None:
    stub = Stub(ids_in_headers=True)
    for _ in range(3):
        answer = httpx.Response(trouble) if isinstance(trouble, int) else trouble
        stub.answers.setdefault(CONTENT, []).append(answer)

    with no_delays():
        assert (await open_client(stub).get_schema("user")).global_id == 17

    assert stub.requests == {CONTENT: 4}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500])
async def test_what_repeating_cannot_change_is_asked_once(open_client: Open, status: int) -> None:
    stub = Stub(ids_in_headers=True)
    stub.answers[CONTENT] = [problem(status)] * 2

    with pytest.raises(_errors.RegistryError) as caught:
        await open_client(stub).get_schema("user")

    assert caught.value.status == status
    assert stub.requests == {CONTENT: 1}


async def test_trouble_that_stays_is_reported(open_client: Open) -> None:
    stub = Stub()
    stub.answers[CONTENT] = [httpx.ConnectError("refused")] * 9

    with no_delays(), pytest.raises(RegistryConnectionError) as caught:
        await open_client(stub, max_retries=2).get_schema("user")

    assert stub.requests.total() == 3
    assert caught.value.url == URL
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    assert CONTENT in str(caught.value)
    assert "refused" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_a_lost_answer_is_asked_for_again_if_that_is_safe(open_client: Open) -> None:
    """Finding or creating twice is once; creating twice is two versions."""
    for if_exists, requests in (("FIND_OR_CREATE_VERSION", 2), ("CREATE_VERSION", 1), ("FAIL", 1)):
        stub = Stub()
        stub.answers[REGISTER] = [httpx.ReadError("cut")]
        client = open_client(stub)
        with no_delays():
            if requests == 2:
                await client.register_schema("user", SCHEMA, if_exists)
            else:
                with pytest.raises(RegistryConnectionError, match="cut"):
                    await client.register_schema("user", SCHEMA, if_exists)

        assert stub.requests == {REGISTER: requests}


async def test_what_was_never_sent_is_always_sent_again(open_client: Open) -> None:
    stub = Stub()
    stub.answers[REGISTER] = [httpx.ConnectError("refused")]

    with no_delays():
        await open_client(stub).register_schema("user", SCHEMA, "CREATE_VERSION")

    assert stub.requests == {REGISTER: 2}


async def test_retry_after_is_obeyed_although_the_back_off_is_short(open_client: Open) -> None:
    stub = Stub(ids_in_headers=True)
    stub.answers[CONTENT] = [httpx.Response(503, headers={"Retry-After": "1"})]
    client = open_client(stub, retry_backoff_ms=1, retry_max_backoff_ms=1)
    started = time.monotonic()

    await client.get_schema("user")

    assert time.monotonic() - started >= 1


async def test_a_registration_too_large_is_a_registration_error(open_client: Open) -> None:
    stub = Stub()
    stub.answers[REGISTER] = [httpx.Response(413)]

    with pytest.raises(SchemaRegistrationError) as caught:
        await open_client(stub).register_schema("user", SCHEMA)

    assert caught.value.status == 413


async def test_a_lost_race_is_run_again(open_client: Open) -> None:
    stub = Stub()
    lost = problem(409, "VersionAlreadyExistsException", "there is a version '2'")
    stub.answers[REGISTER] = [lost] * 3

    registered = await open_client(stub).register_schema("user", SCHEMA)

    assert registered.global_id == 17
    assert stub.requests == {REGISTER: 4}


async def test_a_version_name_that_is_taken_is_looked_for_once_more(open_client: Open) -> None:
    stub = Stub()
    taken = problem(409, "VersionAlreadyExistsException", "there is a version '1.0'")
    stub.answers[REGISTER] = [taken] * 9

    with pytest.raises(SchemaExistsError):
        await open_client(stub).register_schema("user", SCHEMA, version="1.0")

    assert stub.requests == {REGISTER: 2}


# --- answers


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(409, "RuleViolationException", "Incompatible artifact"), IncompatibleSchemaError),
        (problem(400, "RuleViolationException", "Incompatible artifact"), IncompatibleSchemaError),
        (problem(409, "RuleViolationException", "Syntax violation for Avro"), InvalidSchemaError),
        (problem(422, "UnprocessableSchemaException", "invalid Avro schema"), InvalidSchemaError),
        (problem(409, "ArtifactAlreadyExistsException", "there is one"), SchemaExistsError),
        (problem(400, "InvalidArtifactIdException", "bad id"), SchemaRegistrationError),
        (problem(500, "NullPointerException", "oh"), SchemaRegistrationError),
        (httpx.Response(500, text="<html>oh</html>"), SchemaRegistrationError),
    ],
    ids=repr,
)  # fmt: skip
async def test_refusals_are_told_apart_by_name_not_status(
    answer: httpx.Response, kind: Any
) -> None:
    """Before 3.3 Apicurio says 409 to a rule violation, since then 400."""
    stub = Stub()
    stub.answers[REGISTER] = [answer]

    with pytest.raises(SchemaRegistrationError) as caught:
        await open_async(stub).register_schema("user", SCHEMA, "FAIL")

    assert type(caught.value) is kind
    assert caught.value.artifact_id == "user"
    assert caught.value.status == answer.status_code
    assert isinstance(caught.value.cause, RegistryConnectionError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_causes_are_attributes_and_text() -> None:
    stub = Stub()
    causes = [{"description": "no default", "context": "/fields/1"}, {"description": "other"}]
    stub.answers[REGISTER] = [problem(409, "RuleViolationException", "Incompatible", causes=causes)]

    result = await open_async(stub).check_compatibility("user", SCHEMA)

    assert result.causes == (Cause("no default", "/fields/1"), Cause("other"))
    stub.answers[REGISTER] = [problem(409, "RuleViolationException", "Incompatible", causes=causes)]
    with pytest.raises(IncompatibleSchemaError) as caught:
        await open_async(stub).register_schema("user", SCHEMA)
    assert caught.value.causes == result.causes
    assert str(caught.value) == (
        "schema 'user' was not registered: 409 Incompatible: no default at /fields/1; other"
    )


GARBAGE = [b"", b"<html>", b"{", b"null", b"[]", b'{"version": 3}', b"\xff\xfe"]


@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_is_no_usable_answer(open_client: Open, body: bytes) -> None:
    stub = Stub()
    answer = httpx.Response(200, content=body)
    stub.answers["GET /groups/g/artifacts/user/versions/1"] = [answer]
    stub.answers["GET /groups/g/artifacts"] = [answer]
    stub.answers["GET /system/info"] = [answer]
    client = open_client(stub)

    for act in (
        lambda: client.get_version("user", "1"),
        client.list_artifacts,
        client.info,
    ):
        with pytest.raises(RegistryConnectionError, match="expected") as caught:
            await act()
        assert caught.value.url == URL


@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_as_a_registration_is_a_registration_error(body: bytes) -> None:
    stub = Stub()
    stub.answers[REGISTER] = [httpx.Response(200, content=body)]

    with pytest.raises(SchemaRegistrationError) as caught:
        await open_async(stub).register_schema("user", SCHEMA)

    assert isinstance(caught.value.cause, RegistryConnectionError)


async def test_content_that_contradicts_its_type_is_no_usable_answer() -> None:
    stub = Stub()
    headers = {"X-Registry-ArtifactType": "AVRO"}
    stub.answers["GET /ids/globalIds/1"] = [
        httpx.Response(200, text="{nonsense", headers=headers),
        httpx.Response(200, content=b"\xff", headers=headers),
    ]
    client = open_async(stub)

    for reason in ("expected AVRO content", "expected UTF-8"):
        with pytest.raises(RegistryConnectionError, match=reason):
            await client.get_schema_by_global_id(1)


@pytest.mark.parametrize("wrong", [-1, 2**63])
async def test_ids_out_of_range_are_no_usable_answer(open_client: Open, wrong: int) -> None:
    stub = Stub()
    path = "GET /groups/g/artifacts/user/versions/branch%3Dlatest"
    stub.answers[path] = [httpx.Response(200, json=version("user", globalId=wrong))]

    with pytest.raises(RegistryConnectionError, match="expected VersionInfo"):
        await open_client(stub).get_schema("user")


async def test_content_that_is_nested_too_deeply_is_no_usable_answer(open_client: Open) -> None:
    stub = Stub()
    headers = {"X-Registry-ArtifactType": "AVRO"}
    deep = httpx.Response(200, text="[" * 100_000 + "]" * 100_000, headers=headers)
    stub.answers["GET /ids/globalIds/1"] = [deep]

    with pytest.raises(RegistryConnectionError, match="nested too deeply"):
        await open_client(stub).get_schema_by_global_id(1)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_an_authentication_error(status: int) -> None:
    stub = Stub()
    stub.answers["GET /system/info"] = [httpx.Response(status)]

    with pytest.raises(AuthenticationError) as caught:
        await open_async(stub).info()

    assert caught.value.status == status


async def test_deletion_that_is_switched_off_is_refused() -> None:
    stub = Stub()
    stub.answers["DELETE /groups/g/artifacts/user"] = [
        problem(405, "NotAllowedException", "Artifact deletion operation is not enabled.")
    ]

    with pytest.raises(RequestRefusedError, match="not enabled") as caught:
        await open_async(stub).delete_artifact("user")

    assert (caught.value.status, caught.value.name) == (405, "NotAllowedException")


async def test_versions_without_a_group_belong_to_the_default_group() -> None:
    stub = Stub()
    stub.answers["GET /groups/g/artifacts/user/versions/1"] = [
        httpx.Response(200, json=version("user", groupId=None, labels=None))
    ]

    info = await open_async(stub).get_version("user", "1")

    assert (info.group_id, info.labels) == ("default", {})


# --- construction


@pytest.mark.parametrize("kind", [ApicurioRegistryClient, AsyncApicurioRegistryClient])
@pytest.mark.parametrize(
    "options",
    [
        {"url": ""},
        {"url": "registry:8080"},
        {"group_id": ""},
        {"group_id": " "},
        {"max_retries": -1},
        {"retry_backoff_ms": -1},
        {"cache_max_size": 0},
        {"cache_ttl_seconds": 0},
        {"cache_ttl_seconds": -1.0},
    ],
    ids=str,
)
def test_parameters_that_cannot_work_are_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="invalid"):
        kind(**{"url": URL, "group_id": "g"} | options)


async def test_the_configuration_can_be_read() -> None:
    async with AsyncApicurioRegistryClient(URL, "g") as client:
        assert (client.url, client.group_id) == (URL, "g")
        assert (client.max_retries, client.retry_backoff_ms) == (3, 1000)
        assert client.retry_max_backoff_ms == 20000


async def test_a_client_that_was_given_stays_open() -> None:
    http = Stub().async_client()
    async with AsyncApicurioRegistryClient(URL, "g", http_client=http) as client:
        await client.get_version("user")

    assert not http.is_closed
    with Stub().client() as blocking:
        with ApicurioRegistryClient(URL, "g", http_client=blocking):
            pass
        assert not blocking.is_closed


def test_a_closed_blocking_client_says_so() -> None:
    client = ApicurioRegistryClient(URL, "g", http_client=Stub().client())
    cached = client.get_schema("user")
    client.close()
    client.close()

    assert cached.global_id == 17
    for act in (lambda: client.get_schema("user"), client.info, client.__enter__):
        with pytest.raises(RuntimeError, match="client is closed"):
            act()


async def test_the_settings_of_a_given_client_are_kept() -> None:
    seen: list[httpx.Request] = []

    def transport(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=SCHEMA)

    http = httpx.AsyncClient(
        transport=httpx.MockTransport(transport),
        headers={"X-Api-Key": "k"},
        auth=("user", "password"),
    )
    await AsyncApicurioRegistryClient(f"{URL}/", "g", http_client=http).get_schema_by_content_id(1)

    assert str(seen[0].url) == f"{URL}/ids/contentIds/1"
    assert seen[0].headers["X-Api-Key"] == "k"
    assert seen[0].headers["Authorization"].startswith("Basic ")


async def fetch_four(url: str) -> None:
    """Fetch two contents with a client of one's own, then two with one that is given."""
    async with httpx.AsyncClient() as http:
        for given in (None, http):
            async with AsyncApicurioRegistryClient(url, "g", http_client=given) as client:
                await client.get_schema_by_content_id(1)
                await client.get_schema_by_content_id(2)


async def fetch_four_blocking(url: str) -> None:
    def fetch() -> None:
        with httpx.Client() as http:
            for given in (None, http):
                with ApicurioRegistryClient(url, "g", http_client=given) as client:
                    client.get_schema_by_content_id(1)
                    client.get_schema_by_content_id(2)

    await asyncio.to_thread(fetch)


@pytest.mark.parametrize("fetch", [fetch_four, fetch_four_blocking], ids=["async", "blocking"])
async def test_every_client_keeps_its_connection_and_cookies(
    fetch: Callable[[str], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    server.answer = lambda _: Reply(
        body=json.dumps(SCHEMA).encode(), headers={"Set-Cookie": "route=a; Path=/"}
    )
    await server.start()
    try:
        await fetch(server.url)
    finally:
        await server.stop()

    assert [seen.headers.get("cookie") for seen in server.seen] == [None, "route=a"] * 2
    assert server.connections == 2


async def test_registration_sends_what_others_send() -> None:
    """The text is that of json.dumps, as apicurio-serdes sends it."""
    sent: list[Any] = []

    def transport(request: httpx.Request) -> httpx.Response:
        sent.append((dict(request.url.params), json.loads(request.content)))
        return httpx.Response(200, json={"version": version("user")})

    http = httpx.AsyncClient(transport=httpx.MockTransport(transport))
    client = AsyncApicurioRegistryClient(URL, "g", http_client=http)
    await client.register_schema("user", SCHEMA, "CREATE_VERSION")

    params, body = sent[0]
    assert params["ifExists"] == "CREATE_VERSION"
    assert (body["artifactId"], body["artifactType"]) == ("user", "AVRO")
    assert body["firstVersion"]["content"] == {
        "content": json.dumps(SCHEMA),
        "contentType": "application/json",
        "references": [],
    }


def test_the_names_of_the_package_are_these() -> None:
    assert micro_schema_registry.__all__ == sorted(micro_schema_registry.__all__)
    for name in micro_schema_registry.__all__:
        published = getattr(micro_schema_registry, name)
        if name == "__version__":
            continue
        assert published.__doc__
        assert published.__module__ == "micro_schema_registry"


async def test_arguments_that_cannot_work_are_refused_by_one_kind_of_error(
    open_client: Open,
) -> None:
    stub = Stub()
    client = open_client(stub)

    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: client.get_schema(" "),
        lambda: client.get_version("user", "tag=1"),
        lambda: client.set_rule("BOGUS", "FULL"),
        lambda: client.get_rules(artifact_id="user", everywhere=True),
        lambda: client.search_artifacts(content=SCHEMA, name="user"),
        lambda: client.register_schema("user", "http://127.0.0.1:1/x", artifact_type="PROTOBUF"),
    ]
    for act in acts:
        with pytest.raises(InvalidArgumentError) as caught:
            await act()
        assert isinstance(caught.value, ValueError)
    assert not stub.requests
