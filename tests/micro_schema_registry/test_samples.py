"""The documented samples run as written: a proxy leads the host they name to a real Apicurio."""

import ast
import inspect
import re
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from micro_schema_registry import AsyncApicurioRegistryClient, CachedSchema

URL = "http://registry:8080/apis/registry/v3"
USER_EVENT = {
    "type": "record",
    "name": "UserEvent",
    "namespace": "com.example",
    "fields": [{"name": "userId", "type": "string"}, {"name": "country", "type": "string"}],
}
SAMPLES = dict(
    re.findall(
        r"^## (.+?)\n+```python\n(.+?)^```$",
        Path(__file__).with_name("samples.txt").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)
GUIDE = re.findall(
    r"^```python\n(.+?)^```$",
    (Path(__file__).parents[2] / "docs" / "registry-clients.md").read_text(),
    re.DOTALL | re.MULTILINE,
)


class Proxy(BaseHTTPRequestHandler):
    """Send what is meant for the samples' host to the real registry."""

    target: str

    def forward(self) -> None:
        assert self.path.startswith(URL)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {"Content-Type": self.headers["Content-Type"]} if body else {}
        url = self.path.replace(URL, self.target)
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.request(self.command, url, content=body, headers=headers)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = forward

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def the_registry(apicurio_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the real registry at http://registry:8080."""
    handler = type("TargetedProxy", (Proxy,), {"target": apicurio_url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
async def client(the_registry: None) -> AsyncIterator[AsyncApicurioRegistryClient]:
    """Return the client of the first sample, with the schema that the samples get."""
    async with AsyncApicurioRegistryClient(URL, "my-group") as opened:
        await opened.register_schema("UserEvent", USER_EVENT)
        yield opened


async def run(name: str, **names: Any) -> dict[str, Any]:
    """Run a sample, which may await at its top level; return the names it leaves."""
    code = compile(SAMPLES[name], name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    namespace: dict[str, Any] = {"__name__": "sample", **names}
    result = eval(code, namespace)
    if inspect.isawaitable(result):
        await result
    return namespace


async def test_the_blocks_of_the_guide_run_in_order(the_registry: None, group_id: str) -> None:
    namespace: dict[str, Any] = {"__name__": "guide"}
    for number, block in enumerate(GUIDE):
        code = compile(
            block.replace("my-group", group_id),
            f"block {number}",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        result = eval(code, namespace)
        if inspect.isawaitable(result):
            await result


async def test_basic_use(
    client: AsyncApicurioRegistryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = await client.get_schema("UserEvent")

    left = await run("basic")
    await left["client"].aclose()

    lines = [str(USER_EVENT), str(expected.global_id), str(expected.content_id)]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("name", ["context manager", "aclose"])
async def test_closing(client: AsyncApicurioRegistryClient, name: str) -> None:
    left = await run(name)

    assert left["cached"] == await client.get_schema("UserEvent")
    with pytest.raises(RuntimeError, match="client is closed"):
        await left["client"].get_schema("UserEvent")


async def test_fastapi_lifespan(client: AsyncApicurioRegistryClient) -> None:
    """The handler is called directly: FastAPI passes a request only to a parameter annotated so."""
    left = await run("fastapi")
    app: FastAPI = left["app"]

    async with app.router.lifespan_context(app):
        await left["produce"](Request({"type": "http", "app": app}))
        cached = await app.state.registry.get_schema("UserEvent")

    assert cached == await client.get_schema("UserEvent")
    with pytest.raises(RuntimeError, match="client is closed"):
        await app.state.registry.get_schema("UserEvent")


async def test_registering(
    client: AsyncApicurioRegistryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    left = await run("register", client=client)

    cached: CachedSchema = left["cached"]
    assert cached.schema == USER_EVENT
    assert await client.get_schema("UserEvent") is cached
    assert capsys.readouterr().out.split() == [str(cached.global_id), str(cached.content_id)]


async def test_handling_a_missing_schema(
    client: AsyncApicurioRegistryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await run("errors", client=client)

    assert capsys.readouterr().out.split() == ["my-group", "NonExistent"]


async def test_handling_an_unreachable_registry(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    http = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
    async with AsyncApicurioRegistryClient(
        URL, "my-group", max_retries=0, http_client=http
    ) as client:
        await run("errors", client=client)

    assert capsys.readouterr().out.split() == [URL]
