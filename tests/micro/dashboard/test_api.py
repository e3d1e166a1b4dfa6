"""The API of the dashboard and its protection."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from pydantic import BaseModel

import micro
from micro import options
from micro.testing import nats_server

from ...interop.conftest import make_peer
from .conftest import Dashboard, running_dashboard

MANUAL = Path(__file__).parents[3] / "docs/dashboard.md"
# Never looked up: names of XML and the example of a URI.
NAMES = r"http://www\.w3\.org/(2000/svg|1999/xhtml|1998/Math/MathML)|https://example\.com"


class Pair(BaseModel):
    a: int
    b: int


async def add(pair: Pair) -> int:
    return pair.a + pair.b


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), headers=request.headers())


async def test_it_tells_what_a_service_of_ours_does(nc: NatsClient, dashboard: Dashboard) -> None:
    async with micro.add_service(
        nc, "math", "1.0.0", "Adds", {"team": "blue"}, id_generator=lambda: "one"
    ) as service:
        await service.add_endpoint("add", add)
        before = await dashboard.until(lambda state: state["services"])
        for data in ('{"a": 1, "b": 2}', '{"a": 1}'):
            await dashboard.ask("add", data)
        after = await dashboard.until(
            lambda state: state["services"][0]["endpoints"][0]["num_requests"] == 2
        )

    assert before["server"]["connected"]
    assert before["problem"] is None
    (shown,) = after["services"]
    assert shown["description"] == "Adds"
    assert shown["metadata"] == {"team": "blue"}
    assert shown["versions"] == ["1.0.0"]
    (instance,) = shown["instances"]
    assert instance["id"] == "one"
    assert instance["rtt_ms"] > 0
    assert instance["requests_per_second"] > 0
    (endpoint,) = shown["endpoints"]
    assert endpoint["queue_groups"] == ["q"]
    assert endpoint["num_errors"] == 1
    assert endpoint["errors_per_second"] > 0
    assert endpoint["last_error"] == "400:invalid request"
    assert endpoint["own"]["errors"] == {"400": 1}
    assert endpoint["own"]["p99_ns"] > 0
    assert json.loads(endpoint["metadata"]["micro.response.schema"]) == {"type": "integer"}


@pytest.mark.interop
@pytest.mark.timeout(120, func_only=True)
async def test_it_tells_what_a_service_in_javascript_does(url: str, dashboard: Dashboard) -> None:
    async with make_peer("js").serving(url) as id:
        await dashboard.until(lambda state: state["services"])
        reply = await dashboard.ask("math.v1.add", '{"a": 19, "b": 23}', timeout=20)
        refusal = await dashboard.ask("refuse", timeout=20)
        await dashboard.ask("crash", timeout=20)
        state = await dashboard.until(
            lambda state: sum(one["num_requests"] for one in state["services"][0]["endpoints"]) == 3
        )

    assert reply["data"] == "42"
    assert (refusal["outcome"], refusal["code"]) == ("error", 418)
    assert refusal["description"] == "I'm a teapot"
    assert refusal["data"] == "short and stout"
    assert refusal["headers"] == {"Retry-After": "7"}
    (service,) = state["services"]
    assert service["name"] == "interop"
    assert [one["id"] for one in service["instances"]] == [id]
    counted = {one["name"]: one for one in service["endpoints"]}
    assert counted["crash"]["num_errors"] == 1
    assert counted["add"]["average_ns"] is not None
    assert counted["add"]["own"] is None


async def test_it_sends_requests(nc: NatsClient, dashboard: Dashboard) -> None:
    async with micro.add_service(nc, "echo", "1.0.0") as service:
        await service.add_endpoint("echo", echo)
        await dashboard.until(lambda state: state["services"])
        reply = await dashboard.ask("echo", "héllo", headers={"Trace": "7"})
        nobody = await dashboard.ask("nobody.there")
        bad_header = await dashboard.ask("echo", headers={"Bad:Name": "x"})

    assert (reply["outcome"], reply["data"], reply["is_base64"]) == ("reply", "héllo", False)
    assert reply["headers"]["Trace"] == "7"
    assert reply["elapsed_ms"] > 0
    assert nobody["outcome"] == "failed"
    assert nobody["description"] == "No service listens on nobody.there"
    assert "invalid header name 'Bad:Name'" in bad_header["description"]


async def test_binary_replies_and_silence_are_told(nc: NatsClient, dashboard: Dashboard) -> None:
    async def answer(msg: Msg) -> None:
        await msg.respond(b"\xff\x00")

    await nc.subscribe("silent")
    await nc.subscribe("binary", cb=answer)
    await nc.flush()
    await dashboard.until(lambda state: state["server"]["connected"])

    silence = await dashboard.ask("silent", timeout=0.1)
    binary = await dashboard.ask("binary")

    assert silence["description"] == "No answer from silent within 0.1 s"
    assert (binary["data"], binary["is_base64"]) == ("/wA=", True)


async def test_odd_subjects_are_refused(dashboard: Dashboard) -> None:
    await dashboard.until(lambda state: state["server"]["connected"])

    for subject in ("", "a b", "a..b", "a.*", ">", "$SYS.REQ.PING", "$JS.API.INFO", "a\r\nPUB b"):
        refusal = await dashboard.ask(subject)
        assert refusal["outcome"] == "failed"
        assert refusal["description"].startswith(f"invalid subject {subject!r}")


async def test_other_pages_and_other_names_are_refused(
    nc: NatsClient, dashboard: Dashboard
) -> None:
    body = '{"subject": "seen"}'
    seen = await nc.subscribe("seen")
    await nc.flush()
    await dashboard.until(lambda state: state["server"]["connected"])
    own = dashboard.url.rstrip("/")

    statuses = {
        "other origin": (await dashboard.post(body, Origin="http://evil.example")).status,
        "sandboxed origin": (await dashboard.post(body, Origin="null")).status,
        "other port": (await dashboard.post(body, Origin="http://127.0.0.1:1")).status,
        "other site": (await dashboard.post(body, Sec_Fetch_Site="cross-site")).status,
        "form": (await dashboard.post(body, Content_Type="text/plain")).status,
        "name": (await dashboard.post(body, Host="evil.example")).status,
        "name of state": (await dashboard.get("/api/state", Host="evil.example:80")).status,
        "name of page": (await dashboard.get("/", Host="evil.example")).status,
        "odd name": (await dashboard.get("/", Host="[::1")).status,
        "unknown field": (await dashboard.post('{"subject": "a", "reply": "b"}')).status,
        "no JSON": (await dashboard.post("{")).status,
        "endless": (await dashboard.post('{"subject": "a", "timeout": 1e9}')).status,
    }
    unseen = seen.pending_msgs
    good = {
        "own page": (await dashboard.post(body, Origin=own)).status,
        "localhost": (await dashboard.get("/api/state", Host="localhost:1")).status,
        "address": (await dashboard.get("/", Host="[::1]:8032")).status,
    }

    assert statuses == {
        "other origin": 403,
        "sandboxed origin": 403,
        "other port": 403,
        "other site": 403,
        "form": 415,
        "name": 421,
        "name of state": 421,
        "name of page": 421,
        "odd name": 421,
        "unknown field": 400,
        "no JSON": 400,
        "endless": 400,
    }
    assert unseen == 0
    assert good == {"own page": 200, "localhost": 200, "address": 200}
    assert seen.pending_msgs == 1


async def test_every_answer_is_guarded(dashboard: Dashboard) -> None:
    for path in ("/", "/app.js", "/style.css", "/api/state", "/none"):
        answer = await dashboard.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_page_needs_nothing_from_elsewhere(dashboard: Dashboard) -> None:
    page = files("micro.dashboard") / "page"
    names = [path.relative_to(str(page)).as_posix() for path in Path(str(page)).rglob("*.*")]
    for name in names:
        answer = await dashboard.get("/" + name.removesuffix("index.html"))
        text = re.sub(r"^/\*.*?\*/", "", answer.text, flags=re.DOTALL)  # without its licence
        assert answer.status == 200
        assert re.findall(r"(?:https?:|['\"(])//", re.sub(NAMES, "", text)) == []


async def test_a_large_answer_is_compressed_on_demand(nc: NatsClient, dashboard: Dashboard) -> None:
    async with micro.add_service(nc, "math", "1.0.0") as service:
        for number in range(40):
            await service.add_endpoint(f"add{number}", add)
        await dashboard.until(lambda state: len(state["services"]) == 1)
        plain = await dashboard.get("/api/state", Accept_Encoding="identity")
        packed = await dashboard.get("/api/state", Accept_Encoding="gzip")

    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) * 4 < int(plain.headers["Content-Length"])
    assert json.loads(packed.text)["services"] != []
    assert "Content-Security-Policy" in packed.headers


async def test_it_waits_for_a_server_and_says_so() -> None:
    with nats_server() as server:
        port = server.port
    async with running_dashboard(options.servers(server.url)) as dashboard:
        alone = await dashboard.until(lambda state: "Connect" in (state["problem"] or ""))
        unsent = await dashboard.ask("a")
        with nats_server(port=port):
            there = await dashboard.until(lambda state: state["server"]["connected"])
        lost = await dashboard.until(lambda state: state["problem"])

    assert alone["problem"].startswith(f"No NATS server at {server.url} yet: ")
    assert not alone["server"]["connected"]
    assert unsent["description"] == "there is no connection to a NATS server"
    assert there["problem"] is None
    assert lost["problem"].startswith(f"The connection to {server.url} is lost; reconnecting")


async def test_missing_permissions_are_told() -> None:
    config = 'authorization { users: [{user: u, password: p, permissions: {publish: ["a"]}}] }'
    with nats_server(config=config) as server:
        given = options.servers(server.url), options.user_password("u", "p")
        async with running_dashboard(*given) as dashboard:
            state = await dashboard.until(lambda state: state["problem"] and state["looked_at_ms"])

    assert 'permissions violation for publish to "$srv.' in state["problem"].lower()


async def test_the_documented_permissions_suffice() -> None:
    (granted,) = re.findall(r"```text\n(permissions.*?)```", MANUAL.read_text(), re.DOTALL)
    users = f"{{user: viewer, password: p, {granted}}}, {{user: service, password: p}}"
    with nats_server(config=f"authorization {{ users: [{users}] }}") as server:
        nc = await nats.connect(server.url, user="service", password="p")
        given = options.servers(server.url), options.user_password("viewer", "p")
        async with (
            nc,
            micro.add_service(nc, "orders", "1.0.0") as service,
            running_dashboard(*given) as dashboard,
        ):
            await service.add_endpoint("place", echo, subject="orders.place")
            await dashboard.until(lambda state: state["services"] and not state["problem"])
            reply = await dashboard.ask("orders.place", "x")
            refusal = await dashboard.ask("payroll.pay", timeout=0.5)

    assert reply["data"] == "x"
    assert refusal["description"] == 'permissions violation for publish to "payroll.pay"'


async def test_the_asyncapi_document_of_a_service_is_offered(
    nc: NatsClient, dashboard: Dashboard
) -> None:
    async with (
        micro.add_service(nc, "math", "1.0.0", "Adds") as service,
        micro.add_service(nc, "other", "1.0.0"),
    ):
        await service.add_endpoint("add", add)
        await dashboard.until(
            lambda state: [len(one["endpoints"]) for one in state["services"]] == [1, 0]
        )
        one = await dashboard.get("/api/asyncapi.json?service=math")
        every = await dashboard.get("/api/asyncapi.json")
        absent = await dashboard.get("/api/asyncapi.json?service=nobody")
        page = await dashboard.get("/api.html?service=math")

    document = json.loads(one.text)
    assert document["info"] == {"title": "math", "version": "1.0.0", "description": "Adds"}
    assert document["operations"]["math.add"]["reply"]
    assert json.loads(every.text)["info"]["title"] == "NATS services"
    assert (absent.status, absent.text) == (404, "no such service runs")
    assert '<script type="module" src="/api.js">' in page.text
