"""Tokens: which are sent, when they are fetched, and that secrets stay secret."""

import asyncio
import json
import threading
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
            return answer
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
