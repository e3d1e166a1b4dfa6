"""The documented samples run as written, over TLS and a proxy on this machine."""

import ast
import asyncio
import datetime as dt
import inspect
import json
import os
import re
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import micro_http

HOSTS = (
    "www.logikascium.com",
    "api.example.com",
    "api.users.com",
    "api.orders.com",
    "api.notifications.com",
    "external-api.com",
)


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """Write a CA, and a certificate with its key for all hosts; return both paths."""
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("test CA", "hosts")
    ]
    ca_id = x509.SubjectKeyIdentifier.from_public_key(keys[0].public_key())
    certificates = []
    for index, (key, name) in enumerate(zip(keys, names, strict=True)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=index == 0, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        if index == 0:
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        else:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id)
            hosts = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
            builder = builder.add_extension(issuer, critical=False).add_extension(
                hosts, critical=False
            )
        certificates.append(
            builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
    key_pem = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca, server = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(certificates[0])
    server.write_bytes(key_pem + certificates[1])
    return ca, server


class Proxy(socketserver.ThreadingTCPServer):
    """Accept CONNECT for any host and answer its requests with host and path, as JSON."""

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)
        self.seen: list[tuple[str, str, str]] = []
        self.authorization: str | None = None


class Tunnel(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        host = self._head(self.request).split(" ")[1].removesuffix(":443")
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self.server.tls.wrap_socket(self.request, server_side=True) as connection:
            while head := self._head(connection):
                method, path, _ = head.split("\r\n")[0].split(" ")
                self.server.seen.append((method, host, path))
                found = re.search(r"(?im)^authorization: (.*)\r$", head)
                self.server.authorization = found and found[1]
                body = json.dumps({"host": host, "path": path}).encode()
                head_line = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head_line.encode() + body)

    @staticmethod
    def _head(connection: Any) -> str:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            try:
                chunk = connection.recv(1)
            except OSError:
                return ""
            if not chunk:
                return ""
            data += chunk
        return data.decode()


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Serve the host names of the samples."""
    ca, certificate = make_certificates(tmp_path)
    with Proxy(certificate) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        yield proxy
        proxy.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def documented_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the samples import this package by its documented name."""
    monkeypatch.setitem(sys.modules, "typed_async_client", micro_http)


DOCS = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
DOC_SAMPLES = re.findall(r"^```python\n(.*?)^```", DOCS, re.M | re.S)


def test_the_page_has_samples() -> None:
    assert len(DOC_SAMPLES) >= 6


@pytest.mark.parametrize("number", range(len(DOC_SAMPLES)))
def test_each_sample_of_the_page_runs(
    number: int, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sample with a blocking transport gets a proxy: it takes none from the environment."""
    inner = partial(httpx.HTTPTransport, proxy=os.environ["HTTPS_PROXY"])
    monkeypatch.setattr("micro_http._transport.httpx.HTTPTransport", inner)
    exec(
        compile(DOC_SAMPLES[number], f"docs/http.md sample {number}", "exec"),
        {"__name__": "sample"},
    )

    assert capsys.readouterr().out or "observer" in DOC_SAMPLES[number]


def compiled(name: str) -> CodeType:
    text = Path(__file__).with_name("samples.txt").read_text(encoding="utf-8")
    found = re.search(rf"^## {name}\n\n```python\n(.*?)^```", text, re.M | re.S)
    assert found is not None
    code = compile(found[1], f"sample {name}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    return code


def run(name: str, **names: Any) -> dict[str, Any]:
    """Run a sample as a script and return its names."""
    namespace = {"__name__": "sample", **names}
    exec(compiled(name), namespace)
    return namespace


def test_the_simple_sample(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("simple")

    assert names["result"] == {"host": "www.logikascium.com", "path": "/"}
    assert capsys.readouterr().out == "Status: 200\n"


def test_the_advanced_sample(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    run("advanced")

    assert proxy.seen == [("GET", "api.example.com", "/critical-data")]
    assert proxy.authorization == "Bearer TOKEN"
    assert re.fullmatch(r"Succès après 1 tentatives en \d\.\d\ds\n", capsys.readouterr().out)


def test_the_concurrent_sample(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    run("concurrent")

    services = ["users_service", "orders_service", "notifications_service"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"[V] {service}: 200" for service in services]
    assert {re.sub(r"\d\.\d\ds$", "", line) for line in lines[3:]} == {
        f"{service}: 1 tentatives, " for service in services
    }


async def test_the_retry_count_sample() -> None:
    from unittest.mock import MagicMock, patch

    import httpcore

    names = run(
        "retry_count",
        pytest=pytest,
        patch=patch,
        MagicMock=MagicMock,
        httpcore=httpcore,
        AsyncResilientClient=micro_http.AsyncResilientClient,
        RequestContext=micro_http.RequestContext,
    )
    with micro_http.no_delays():
        await names["test_exact_retry_count"]()


@pytest.mark.filterwarnings(r"ignore:\s*on_event is deprecated:DeprecationWarning")
async def test_the_fastapi_sample(proxy: Proxy) -> None:
    names = run("fastapi")
    app, client = names["app"], names["http_client"]
    asgi = httpx.ASGITransport(app)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=asgi, base_url="http://app") as user,
        ):
            responses = await asyncio.gather(user.get("/api/data/7"), user.get("/api/data/8"))
    finally:
        await client.close()

    assert [response.json() for response in responses] == [
        {"host": "external-api.com", "path": "/data/7"},
        {"host": "external-api.com", "path": "/data/8"},
    ]
    assert client.get_result("external_api_7").attempts == 1


async def test_the_monitoring_sample(refused_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The sample ends before the first request, so its collector then gets real failures."""
    namespace: dict[str, Any] = {
        "create_async_resilient_client": micro_http.create_async_resilient_client,
        "EventType": micro_http.EventType,
    }
    started = eval(compiled("monitoring"), namespace)
    assert inspect.iscoroutine(started)
    await started
    metrics = namespace["metrics"]
    async with micro_http.create_async_resilient_client() as client:
        client.add_event_callback(micro_http.EventType.RETRY, metrics.on_retry)
        client.add_event_callback(micro_http.EventType.ERROR, metrics.on_error)
        with micro_http.no_delays():
            context = micro_http.RequestContext(request_id="x")
            await client.get(f"http://127.0.0.1:{refused_port}/", context=context)
            await client.wait_for_all_requests()

    assert metrics.stats == {"total_retries": 2, "total_errors": 1}
    assert capsys.readouterr().out.splitlines() == [
        "🔄 Retry #1 pour x",
        "🔄 Retry #2 pour x",
        "Échec définitif pour x",
    ]
