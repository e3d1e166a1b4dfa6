"""How the service reaches Apicurio: authentication, TLS, proxies, and whose failures count."""

import asyncio
import base64
import json
import logging
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from tests.micro.certificates import write_certificates
from tests.micro_schema_registry.conftest import running
from tests.micro_schema_registry.jetstream import JetStreamServer

from micro.testing import free_port
from micro_schema_registry import (
    NatsRegistryClient,
    RegistryConnectionError,
    RequestRefusedError,
    ServiceConfig,
    ServiceOptions,
)

INFO = {"name": "Apicurio Registry", "version": "3.3.3"}
SECRET = "s3cret"


@dataclass
class WebServer:
    """An HTTP server that keeps the heads of requests and answers as it is told."""

    context: ssl.SSLContext | None = None
    status: int = 200
    content_type: str = "application/json"
    body: dict[str, Any] = field(default_factory=lambda: dict(INFO))
    heads: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line for line in head.lower().splitlines() if line.startswith("content-length")]
        sent = await reader.readexactly(int(length[0].split(":")[1]) if length else 0)
        self.heads.append(head)
        self.bodies.append(sent.decode())
        answer = json.dumps(self.body | self._token(head)).encode()
        writer.write(
            f"HTTP/1.1 {self.status} X\r\nContent-Type: {self.content_type}\r\n"
            f"Content-Length: {len(answer)}\r\nConnection: close\r\n\r\n".encode()
            + answer
        )
        await writer.drain()
        writer.close()

    def _token(self, head: str) -> dict[str, Any]:
        return {"access_token": "t0ken", "expires_in": 60} if "/token" in head else {}


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    server = WebServer()
    async with server.run():
        yield server


@pytest.fixture
def asked(jetstream: JetStreamServer, nc: Client) -> Any:
    """Run the service as configured, and ask it for its registry."""

    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[NatsRegistryClient]:
        options = ServiceOptions(group=f"registry-{uuid.uuid4().hex}")
        config = ServiceConfig(backend="apicurio", options=options, **settings)
        assert SECRET not in repr(config)
        async with running(jetstream, config):
            yield NatsRegistryClient(nc, "g", prefix=options.group, timeout=20)

    return run


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_a_user_authenticates_by_basic(web: WebServer, asked: Any) -> None:
    url = f"http://127.0.0.1:{web.port}/apis/registry/v3"
    async with asked(url=url, username="u", password=SECRET) as client:
        assert (await client.info()).name == INFO["name"]

    assert basic("u", SECRET) in web.heads[0]


async def test_a_user_in_the_url_authenticates_and_is_never_shown(
    web: WebServer, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://u%40x:{SECRET}@127.0.0.1:{web.port}/apis/registry/v3"
    async with asked(url=url) as client:
        await client.info()
        web.status = 503
        web.content_type = "text/plain"
        with pytest.raises(RegistryConnectionError) as caught:
            await client.get_schema("user")

    assert basic("u@x", SECRET) in web.heads[0]
    assert f"http://127.0.0.1:{web.port}" in str(caught.value)
    assert SECRET not in str(caught.value) + repr(caught.value) + caplog.text


async def test_client_credentials_get_a_token(web: WebServer, asked: Any) -> None:
    url = f"http://127.0.0.1:{web.port}/apis/registry/v3"
    token_url = f"http://127.0.0.1:{web.port}/token"
    async with asked(url=url, token_url=token_url, client_id="me", client_secret=SECRET) as client:
        await client.info()
        await client.info()

    assert web.heads[0].split()[1] == "/token"
    assert f"client_secret={SECRET}" in web.bodies[0]
    assert all("Authorization: Bearer t0ken" in head for head in web.heads[1:])
    assert len(web.heads) == 3


async def test_tls_with_an_authority_and_a_client_certificate(asked: Any, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "both.pem", tmp_path / "both.key")
    context.verify_mode = ssl.CERT_REQUIRED
    web = WebServer(context)
    files = {
        "ca_file": str(tmp_path / "ca.pem"),
        "cert_file": str(tmp_path / "both.pem"),
        "key_file": str(tmp_path / "both.key"),
    }
    async with web.run(), asked(url=f"https://127.0.0.1:{web.port}", **files) as client:
        assert (await client.info()).version == INFO["version"]


@pytest.mark.parametrize("source", ["setting", "environment", "excepted"])
async def test_a_proxy_is_used_unless_the_environment_excepts_the_host(
    web: WebServer, asked: Any, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = f"http://p:{SECRET}@127.0.0.1:{web.port}"
    url = "http://registry.invalid/apis/registry/v3"
    if source != "setting":
        monkeypatch.setenv("http_proxy", proxy)
    if source == "excepted":
        monkeypatch.setenv("no_proxy", "registry.invalid")
    async with asked(url=url, proxy=proxy if source == "setting" else None) as client:
        if source == "excepted":
            with pytest.raises(RegistryConnectionError):
                await client.info()
            assert web.heads == []
        else:
            await client.info()
            assert web.heads[0].startswith(f"GET {url}/system/info")


async def test_an_account_of_one_request_opens_no_circuit(web: WebServer, asked: Any) -> None:
    """A 500 with a problem document is about that request: others are sent, and it is final."""
    web.status = 500
    web.body = {"status": 500, "name": "NullPointerException", "title": "oops"}
    async with asked(url=f"http://127.0.0.1:{web.port}/apis/registry/v3") as client:
        for number in range(12):
            with pytest.raises(RequestRefusedError, match="oops") as caught:
                await client.get_version(f"user-{number}")
            assert caught.value.status == 500
        web.status = 200
        web.body = INFO
        await client.info()

    assert len(web.heads) == 13


async def test_a_gateway_that_fails_opens_the_circuit(web: WebServer, asked: Any) -> None:
    web.status, web.content_type = 502, "text/html"
    async with asked(url=f"http://127.0.0.1:{web.port}/apis/registry/v3") as client:
        for number in range(20):
            with pytest.raises(RegistryConnectionError):
                await client.get_version(f"user-{number}")

    assert len(web.heads) < 15


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"username": "u"}, "password missing: expected username and password"),
        (
            {"client_id": "c"},
            "token_url and client_secret missing: expected token_url and client_id "
            "and client_secret",
        ),
        (
            {"token": SECRET, "username": "u", "password": SECRET},
            "token and username are set: expected one way to authenticate",
        ),
        ({"key_file": "k"}, "key_file is set without cert_file: expected both or neither"),
        (
            {"url": f"htp://u:{SECRET}@host"},
            "invalid url 'htp://host': expected one like 'http://host/apis/registry/v3'",
        ),
        (
            {"token_url": "x", "client_id": "c", "client_secret": SECRET},
            "invalid token_url 'x': expected one like 'https://host/token'",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_named(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ServiceConfig(**{"backend": "apicurio", "url": "http://host", **settings})

    assert str(caught.value) == message


async def test_files_that_are_no_certificates_are_named(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ValueError, match=f"cannot use .*{name}: expected PEM files"):
            async with asked(url=f"https://127.0.0.1:{free_port()}", ca_file=str(tmp_path / name)):
                pass
