"""Tokens: which are sent, when they are fetched, and that secrets stay secret."""

import asyncio
import inspect
import json
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.micro_schema_registry.stub import URL

from micro_http import no_delays
from micro_schema_registry import (
    ApicurioRegistryClient,
    AsyncApicurioRegistryClient,
    AuthenticationError,
    BearerAuth,
    KeycloakAuth,
    RegistryConnectionError,
)

TOKEN_URL = "https://keycloak.invalid/realms/r/protocol/openid-connect/token"
INFO = {"name": "stub", "version": "1"}


class Server:
    """A registry that notes tokens, and a token endpoint beside it."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.forms: list[dict[str, str]] = []
        self.sent: list[str | None] = []
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) != TOKEN_URL:
            self.sent.append(request.headers.get("Authorization"))
            return httpx.Response(200, json=INFO)
        with self._lock:
            self.forms.append(dict(httpx.QueryParams(request.content.decode())))
            number = len(self.forms)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return httpx.Response(answer.status_code, content=answer.content)
        return httpx.Response(200, json={"access_token": f"t{number}", "expires_in": 300})

    def async_client(self, auth: httpx.Auth) -> AsyncApicurioRegistryClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self), auth=auth)
        return AsyncApicurioRegistryClient(URL, "g", http_client=http, auth=auth)

    def client(self, auth: httpx.Auth) -> ApicurioRegistryClient:
        http = httpx.Client(transport=httpx.MockTransport(self), auth=auth)
        return ApicurioRegistryClient(URL, "g", http_client=http, auth=auth)


def keycloak(**options: Any) -> KeycloakAuth:
    return KeycloakAuth(TOKEN_URL, "me", "s3cret", **options)


async def test_a_fixed_token_is_sent() -> None:
    server = Server()
    auth = BearerAuth("abc")

    await server.async_client(auth).info()
    server.client(auth).info()

    assert server.sent == ["Bearer abc"] * 2


async def test_a_token_provider_is_asked_for_each_request() -> None:
    server = Server()
    tokens = iter(["one", "two"])
    client = server.async_client(BearerAuth(token_provider=lambda: next(tokens)))

    await client.info()
    await client.info()

    assert server.sent == ["Bearer one", "Bearer two"]


def test_a_bearer_needs_one_source() -> None:
    wrong: list[dict[str, Any]] = [{}, {"token": "a", "token_provider": lambda: "b"}]
    for options in wrong:
        with pytest.raises(ValueError, match="exactly one"):
            BearerAuth(**options)


async def test_keycloak_is_asked_once_by_concurrent_requests() -> None:
    server = Server()
    client = server.async_client(keycloak(scope="registry"))

    await asyncio.gather(*(client.info() for _ in range(20)))

    assert server.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": "me",
            "client_secret": "s3cret",
            "scope": "registry",
        }
    ]
    assert server.sent == ["Bearer t1"] * 20


def test_keycloak_is_asked_once_by_concurrent_threads() -> None:
    server = Server()
    client = server.client(keycloak())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.info(), range(20)))

    assert len(server.forms) == 1
    assert server.sent == ["Bearer t1"] * 20


async def test_a_token_near_its_end_is_replaced() -> None:
    server = Server(httpx.Response(200, json={"access_token": "short", "expires_in": 0}))
    client = server.async_client(keycloak())

    await client.info()
    await client.info()
    await client.info()

    assert server.sent == ["Bearer short", "Bearer t2", "Bearer t2"]


def test_one_object_serves_many_event_loops() -> None:
    server = Server(*(httpx.Response(200, json={"access_token": "x", "expires_in": 0}),) * 2)
    auth = keycloak()

    async def both() -> None:
        client = server.async_client(auth)
        await asyncio.gather(client.info(), client.info())

    asyncio.run(both())
    asyncio.run(both())

    assert len(server.sent) == 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(401, json={"error": "s3cret is wrong"}), "401"),
        (httpx.Response(200, json={"token": "s3cret"}), "wrong: access_token"),
        (httpx.Response(200, text="s3cret"), "wrong: all"),
        (httpx.ConnectError("refused"), "refused"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("blocking", [False, True])
async def test_no_token_is_an_authentication_error_without_the_secret(
    answer: Any, reason: str, blocking: bool
) -> None:
    if isinstance(answer, httpx.Response):
        answer = httpx.Response(answer.status_code, content=answer.content)
    server = Server(*[answer] * 4)

    async def ask() -> object:
        if blocking:
            return await asyncio.to_thread(server.client(keycloak()).info)
        return await server.async_client(keycloak()).info()

    with no_delays(), pytest.raises(AuthenticationError, match=reason) as caught:
        await ask()

    assert caught.value.url == TOKEN_URL
    assert "s3cret" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert server.sent == []


def test_the_secret_is_in_no_repr() -> None:
    auth = keycloak()

    assert "s3cret" not in repr(auth)
    assert "me" in repr(auth)
    assert "abc" not in repr(BearerAuth("abc"))


async def test_an_own_client_authenticates_too() -> None:
    """Over a real socket, since the transport of an own client cannot be replaced."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.extend(line for line in head.decode().split("\r\n") if "uthorization" in line)
        body = json.dumps(INFO).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/apis/registry/v3"
        async with AsyncApicurioRegistryClient(url, "g", auth=BearerAuth("abc")) as client:
            await client.info()
        with ApicurioRegistryClient(url, "g", auth=BearerAuth("def")) as blocking:
            await asyncio.to_thread(blocking.info)

    assert [line.split(" ", 1)[1] for line in seen] == ["Bearer abc", "Bearer def"]


class Token(dict[str, Any]):
    """The answer of a token endpoint."""

    def __init__(self, token: str, expires_in: Any = 300) -> None:
        super().__init__(access_token=token, expires_in=expires_in)


class Realm(Server):
    """A registry that accepts some tokens only."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        super().__init__(*answers)
        self.valid: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        response = super().__call__(request)
        if str(request.url) == TOKEN_URL:
            return response
        token = (self.sent[-1] or "").removeprefix("Bearer ")
        return response if token in self.valid else httpx.Response(401)


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_refused_token_is_replaced_and_the_request_repeated_once(blocking: bool) -> None:
    realm = Realm()
    auth = keycloak()
    client, blocking_client = realm.async_client(auth), realm.client(auth)

    async def ask() -> object:
        return await (asyncio.to_thread(blocking_client.info) if blocking else client.info())

    realm.valid = {"t1"}
    await ask()
    realm.valid = {"t2"}
    await asyncio.gather(*(ask() for _ in range(10)))

    assert len(realm.forms) == 2
    realm.valid = set()
    with pytest.raises(AuthenticationError, match="401"):
        await ask()
    assert realm.sent[-2:] == ["Bearer t2", "Bearer t3"]


def test_a_streamed_body_is_not_sent_twice() -> None:
    realm = Realm()

    class Streaming(httpx.BaseTransport):
        """A transport that leaves the body of a request unread, unlike a mock."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if str(request.url) == TOKEN_URL:
                request.read()
            return realm(request)

    with httpx.Client(transport=Streaming(), auth=keycloak()) as client:
        response = client.post("https://registry.invalid/", content=iter([b"a"]))

    assert response.status_code == 401
    assert len(realm.sent) == 1


TROUBLE = [
    httpx.Response(503),
    httpx.Response(200, text="a page"),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("reset"),
]


@pytest.mark.parametrize("trouble", TROUBLE, ids=repr)
@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("own", [False, True], ids=["argument", "own client"])
async def test_a_failing_token_server_harms_nobody_while_the_old_token_lives(
    trouble: Any, blocking: bool, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One attempt only, so that a retry cannot hide it."""
    server = Server(httpx.Response(200, json=Token("old", 100)), trouble)
    auth = keycloak()
    inner, outer = (auth, None) if own else (None, auth)
    http = httpx.AsyncClient(transport=httpx.MockTransport(server), auth=inner)
    client = AsyncApicurioRegistryClient(URL, "g", http_client=http, auth=outer, max_retries=0)
    sync_http = httpx.Client(transport=httpx.MockTransport(server), auth=inner)
    blocked = ApicurioRegistryClient(URL, "g", http_client=sync_http, auth=outer, max_retries=0)
    clock = time.monotonic
    now = clock()

    async def ask(seconds: float) -> None:
        monkeypatch.setattr(
            "micro_schema_registry._apicurio.auth.time.monotonic", lambda: now + seconds
        )
        try:
            await (asyncio.to_thread(blocked.info) if blocking else client.info())
        finally:
            monkeypatch.setattr("micro_schema_registry._apicurio.auth.time.monotonic", clock)

    for seconds in (0, 85, 86, 99):
        await ask(seconds)

    assert server.sent == ["Bearer old"] * 3 + ["Bearer t3"]
    assert len(server.forms) == 3


@pytest.mark.parametrize("trouble", TROUBLE, ids=repr)
@pytest.mark.parametrize("blocking", [False, True])
async def test_callers_share_the_failure_of_a_token_request(trouble: Any, blocking: bool) -> None:
    server = Server(*[trouble] * 99)
    waiting = threading.Barrier(8) if blocking else None
    begun = asyncio.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        time.sleep(0.3)  # the time in which the other threads queue up
        return server(request)

    async def slow_async(request: httpx.Request) -> httpx.Response:
        await begun.wait()
        return server(request)

    auth = keycloak()
    if blocking:
        http = httpx.Client(transport=httpx.MockTransport(slow))
        blocked = ApicurioRegistryClient(URL, "g", http_client=http, auth=auth, max_retries=0)

        def ask() -> object:
            assert waiting is not None
            waiting.wait()
            return blocked.info()

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask) for _ in range(8)]
            errors: list[Any] = [call.exception() for call in asked]
    else:
        async_http = httpx.AsyncClient(transport=httpx.MockTransport(slow_async))
        client = AsyncApicurioRegistryClient(
            URL, "g", http_client=async_http, auth=auth, max_retries=0
        )
        tasks = [asyncio.create_task(client.info()) for _ in range(8)]
        await asyncio.sleep(0.1)
        begun.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(error) for error in errors} == {AuthenticationError}
    assert len({str(error) for error in errors}) == 1
    assert len(server.forms) == 1


async def test_a_registration_is_repeated_when_only_the_token_request_failed() -> None:
    server = Server(httpx.RemoteProtocolError("reset"))
    http = httpx.AsyncClient(transport=httpx.MockTransport(server))
    client = AsyncApicurioRegistryClient(URL, "g", http_client=http, auth=keycloak())
    with no_delays():
        await client.info()

    assert len(server.forms) == 2
    assert server.sent == ["Bearer t2"]


@pytest.mark.parametrize("given", [{}, {"timeout": None}, {"timeout": httpx.Timeout(3, read=None)}])
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_token_request_has_time_outs(given: dict[str, Any], blocking: bool) -> None:
    seen: list[dict[str, float | None]] = []
    server = Server()

    def note(request: httpx.Request) -> httpx.Response:
        if str(request.url) == TOKEN_URL:
            seen.append(dict(request.extensions["timeout"]))
        return server(request)

    if blocking:
        http = httpx.Client(transport=httpx.MockTransport(note), **given)
        await asyncio.to_thread(
            ApicurioRegistryClient(URL, "g", http_client=http, auth=keycloak()).info
        )
    else:
        async_http = httpx.AsyncClient(transport=httpx.MockTransport(note), **given)
        await AsyncApicurioRegistryClient(URL, "g", http_client=async_http, auth=keycloak()).info()

    assert all(value is not None and value <= 10 for value in seen[0].values())
    assert len(seen[0]) == 4


@pytest.mark.parametrize("token", ["", " ", "\n", "a b", "a\nb", "\u20ac", "a\0"])
async def test_a_token_that_is_no_header_value_is_refused_unseen(token: str) -> None:
    with pytest.raises(ValueError, match="invalid token: expected printable") as refused:
        BearerAuth(token)
    assert repr(token) not in f"{refused.value}" or not token.strip()

    server = Server(*[httpx.Response(200, json=Token(token))] * 4)
    for auth in (BearerAuth(token_provider=lambda: token), keycloak()):
        for ask in (server.async_client(auth).info, server.client(auth).info):
            with pytest.raises(AuthenticationError) as failed:
                await asyncio.to_thread(asyncio.run, awaited(ask))
            assert "a b" not in repr(failed.value)
    assert server.sent == []


async def awaited(ask: Callable[[], Any]) -> Any:
    answer = ask()
    return await answer if inspect.isawaitable(answer) else answer


async def test_line_ends_round_tokens_and_secrets_are_removed() -> None:
    server = Server(httpx.Response(200, json=Token("tok\r\n")))

    await server.async_client(BearerAuth("abc\n")).info()
    await server.async_client(BearerAuth(token_provider=lambda: " def\n")).info()
    await server.async_client(KeycloakAuth(TOKEN_URL, "me", "s3cret\n")).info()

    assert server.sent == ["Bearer abc", "Bearer def", "Bearer tok"]
    assert server.forms[0]["client_secret"] == "s3cret"


async def test_an_async_provider_is_awaited_or_refused_by_a_blocking_client() -> None:
    async def provider() -> str:
        return "tok"

    server = Server()
    auth = BearerAuth(token_provider=provider)
    await server.async_client(auth).info()
    with pytest.raises(AuthenticationError, match="needs an async client"):
        await asyncio.to_thread(server.client(auth).info)

    assert server.sent == ["Bearer tok"]


@pytest.mark.parametrize("expires_in", [None, "300", 0, -1, 1e12])
async def test_any_lifetime_is_taken(expires_in: Any) -> None:
    server = Server(httpx.Response(200, json=Token("tok", expires_in)))
    await server.async_client(keycloak()).info()

    assert server.sent == ["Bearer tok"]


async def test_credentials_of_a_token_url_become_basic_authentication() -> None:
    server = Server()
    heads: list[str | None] = []

    def note(request: httpx.Request) -> httpx.Response:
        if str(request.url) == TOKEN_URL:
            heads.append(request.headers.get("authorization"))
        return server(request)

    auth = KeycloakAuth(TOKEN_URL.replace("://", "://user:p4ss@"), "me", "s3cret")
    http = httpx.AsyncClient(transport=httpx.MockTransport(note))
    await AsyncApicurioRegistryClient(URL, "g", http_client=http, auth=auth).info()

    assert auth.token_url == TOKEN_URL
    assert "p4ss" not in repr(auth)
    assert heads == ["Basic " + b64encode(b"user:p4ss").decode()]


@pytest.mark.parametrize("kind", ["own", "given", "given with its own"])
async def test_credentials_of_a_registry_url_become_basic_authentication(kind: str) -> None:
    seen: list[str | None] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        assert not request.url.userinfo
        raise httpx.ConnectError("down")

    url = URL.replace("://", "://user:p4ss@")
    own = ("other", "x") if kind == "given with its own" else None
    http = httpx.AsyncClient(transport=httpx.MockTransport(note), auth=own)
    client = AsyncApicurioRegistryClient(
        url, "g", http_client=None if kind == "own" else http, max_retries=0
    )
    with pytest.raises(RegistryConnectionError) as failed:
        await client.info()
    await client.aclose()

    assert "p4ss" not in f"{failed.value!r} {failed.value.__cause__!r} {client.url} {vars(client)}"
    if kind != "own":
        pair = b"other:x" if own else b"user:p4ss"
        assert seen == ["Basic " + b64encode(pair).decode()]


def test_a_wrong_registry_url_is_refused_without_its_password() -> None:
    for url in ("ftp://user:p4ss@registry/", "http://user:p4/ss@registry/", "user:p4ss@registry"):
        with pytest.raises(ValueError, match="invalid url") as refused:
            ApicurioRegistryClient(url, "g")
        assert "p4ss@r" not in str(refused.value) or "://" not in url
