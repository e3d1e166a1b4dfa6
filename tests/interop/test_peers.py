"""Our service and client against programs written with nats.go, the npm packages and nats-py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

import micro
from micro.testing import nats_server

if TYPE_CHECKING:
    from tests.interop.conftest import Peer

# Fixtures are not timed: the first test that needs a peer builds it.
pytestmark = pytest.mark.timeout(120, func_only=True)

VERSION = "2.1.0-rc.1+build.7"
DESCRIPTION = "What every peer offers"

OFFERED = {
    "echo": ("interop.echo", "q"),
    "refuse": ("refuse", "q"),
    "add": ("math.v1.add", "calc"),
}
"""The endpoints that all peers offer: name -> subject, queue group."""

EXTRA = {
    "go": {"every": ("every", "")},
    "js": {"crash": ("crash", "q"), "stream": ("stream", "q")},
    "nats-py": {"crash": ("crash", "q")},
}
"""Endpoints that only one of the peers can offer."""


STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""A whole second: the reader of nats-py needs a fraction, which a writer may omit."""


class Pair(BaseModel):
    a: int
    b: int


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), request.headers())


async def refuse(request: micro.Request) -> None:
    await request.respond_error(418, "I'm a teapot", b"short and stout", {"Retry-After": "7"})


async def crash(request: micro.Request) -> None:
    raise RuntimeError("secret")


async def add(pair: Pair) -> int:
    return pair.a + pair.b


def report(endpoint: micro.Endpoint) -> dict[str, Any]:
    return {"about": endpoint.name, "load": 0.5}


@pytest_asyncio.fixture
async def ours(nc: NatsClient) -> AsyncIterator[micro.Service]:
    """Run our service with the endpoints that the clients of the peers call."""
    async with micro.add_service(
        nc,
        "ours",
        VERSION,
        description="A service of ours",
        metadata={"peer": "micro"},
        now=lambda: STARTED,
    ) as service:
        await service.add_endpoint(
            "echo", echo, "interop.echo", metadata={"kind": "raw"}, stats_handler=report
        )
        await service.add_endpoint("refuse", refuse)
        await service.add_endpoint("crash", crash)
        await service.add_endpoint("every", echo, queue_group="")
        await service.add_group("math", queue_group="calc").add_group("v1").add_endpoint("add", add)
        yield service


async def test_our_client_finds_their_service(peer: Peer, url: str, nc: NatsClient) -> None:
    client = micro.Client(nc, default_max_wait=10)
    async with peer.serving(url) as id:
        one = client.instance("interop", id)
        pings = [*await client.ping(max_count=1), *await client.ping("interop", max_count=1)]
        infos = [*await client.info(max_count=1), *await client.info("interop", max_count=1)]
        stats = [*await client.stats(max_count=1), *await client.stats("interop", max_count=1)]
        pings.append(await one.ping(timeout=10))
        infos.append(await one.info(timeout=10))
        stats.append(await one.stats(timeout=10))

    assert len(pings) == len(infos) == len(stats) == 3
    for answer in [*pings, *infos, *stats]:
        identity = (answer.name, answer.id, answer.version, answer.metadata)
        assert identity == ("interop", id, VERSION, {"peer": peer.name})
    expected = {**OFFERED, **EXTRA[peer.name]}
    for info in infos:
        assert info.description == DESCRIPTION
        endpoints = {e.name: (e.subject, e.queue_group) for e in info.endpoints}
        assert endpoints == expected
        assert {e.name: e.metadata for e in info.endpoints if e.metadata} == {
            "echo": {"kind": "raw"}
        }
    for answer in stats:
        assert {e.name: (e.subject, e.queue_group) for e in answer.endpoints} == expected
        assert all(e.data == {"about": e.name, "load": 0.5} for e in answer.endpoints)
        assert answer.started.tzinfo is not None


async def test_our_client_calls_their_endpoints(peer: Peer, url: str, nc: NatsClient) -> None:
    client = micro.Client(nc)
    async with peer.serving(url):
        for size in (0, 5, 100_000):
            answer = await client.request(
                "interop.echo", b"\x00" * size, headers={"X-Trace": "t-1"}, timeout=10
            )
            assert answer.data == b"\x00" * size
            # The peers do not know the header of the time-out, and echo it.
            assert answer.headers == {"X-Trace": "t-1", "Micro-Timeout-Ms": "10000"}
        total = await client.request("math.v1.add", b'{"a": 19, "b": 23}', timeout=10)
        assert json.loads(total.data) == 42


async def test_their_errors_become_service_errors(peer: Peer, url: str, nc: NatsClient) -> None:
    client = micro.Client(nc)
    async with peer.serving(url):
        with pytest.raises(micro.ServiceError) as refused:
            await client.request("refuse", timeout=10)
        with pytest.raises(micro.ServiceError) as invalid:
            await client.request("math.v1.add", b'{"a": "nineteen"}', timeout=10)

    error = refused.value
    assert (error.code, error.description, error.subject) == (418, "I'm a teapot", "refuse")
    assert (error.data, error.headers) == (b"short and stout", {"Retry-After": "7"})
    error = invalid.value
    assert (error.code, error.description) == (400, "expected two integers")
    assert error.data == b'{"a": "nineteen"}'


@pytest.mark.parametrize(
    "peer", [pytest.param("js", marks=pytest.mark.interop), "nats-py"], indirect=True
)
async def test_their_crash_becomes_a_service_error(peer: Peer, url: str, nc: NatsClient) -> None:
    """A panic would end the Go program."""
    client = micro.Client(nc)
    async with peer.serving(url):
        with pytest.raises(micro.ServiceError) as crashed:
            await client.request("crash", timeout=10)
        (stats,) = await client.stats("interop", max_count=1, max_wait=10)

    assert crashed.value.code == 500
    counters = {endpoint.name: endpoint for endpoint in stats.endpoints}
    assert counters["crash"].num_errors == 1
    assert "secret" in counters["crash"].last_error


async def test_our_models_read_their_counters(peer: Peer, url: str, nc: NatsClient) -> None:
    """Each field equals the raw answer, which is requested right after it."""
    client = micro.Client(nc)
    async with peer.serving(url) as id:
        for _ in range(3):
            await client.request("interop.echo", b"x", timeout=10)
        with pytest.raises(micro.ServiceError):
            await client.request("refuse", timeout=10)
        raw = json.loads((await nc.request(f"$SRV.STATS.interop.{id}", timeout=10)).data)
        stats = await client.instance("interop", id).stats(timeout=10)

    counters = {endpoint.name: endpoint for endpoint in stats.endpoints}
    assert counters["echo"].num_requests == 3
    assert counters["refuse"].num_requests == 1
    assert counters["add"].num_requests == counters["add"].average_processing_time == 0
    for theirs in raw["endpoints"]:
        ours = counters[theirs["name"]].model_dump()
        assert ours == {
            **ours,
            **{key: value for key, value in theirs.items() if value is not None},
        }
    if peer.name == "go":  # the others do not count an error answer of a handler
        assert (counters["refuse"].num_errors, counters["refuse"].last_error) == (
            1,
            "418:I'm a teapot",
        )


@pytest.mark.interop
@pytest.mark.parametrize("peer", ["js"], indirect=True)
async def test_fractional_nanoseconds_of_javascript_are_read(
    peer: Peer, url: str, nc: NatsClient
) -> None:
    """An iterating endpoint reports a fractional average processing time."""
    client = micro.Client(nc)
    async with peer.serving(url) as id:
        stream: dict[str, Any] = {}
        while not isinstance(stream.get("average_processing_time"), float):
            await client.request("stream", b"x", timeout=10)
            raw = json.loads((await nc.request(f"$SRV.STATS.interop.{id}", timeout=10)).data)
            stream = {endpoint["name"]: endpoint for endpoint in raw["endpoints"]}["stream"]
        (stats,) = await client.stats("interop", max_count=1, max_wait=10)

    endpoint = {endpoint.name: endpoint for endpoint in stats.endpoints}["stream"]
    assert endpoint.num_requests == stream["num_requests"]
    assert endpoint.average_processing_time == int(stream["average_processing_time"])


async def test_their_client_finds_our_service(peer: Peer, url: str, ours: micro.Service) -> None:
    seen = await peer.call(url, "ours")

    stats = ours.stats().as_dict()
    for level in ("all", "name", "id"):
        assert seen[level]["ping"] == {
            "type": "io.nats.micro.v1.ping_response",
            "name": "ours",
            "id": ours.id,
            "version": VERSION,
            "metadata": {"peer": "micro"},
        }
        assert seen[level]["info"] == ours.info().as_dict()
        body = seen[level]["stats"]
        # decoded and encoded again by the peer
        assert datetime.fromisoformat(body.pop("started")) == STARTED
        for endpoint in body["endpoints"]:
            if endpoint.get("data", ...) is None:
                del endpoint["data"]  # nats-py's own null
        assert body == {key: value for key, value in stats.items() if key != "started"}


@pytest.fixture
def url() -> Iterator[str]:
    """Run a nats-server with JetStream, for services with consumers."""
    with nats_server(jetstream=True) as server:
        yield server.url


@pytest_asyncio.fixture
async def consuming(ours: micro.Service) -> micro.Service:
    """Add a subscriber and a consumer to our service."""
    await ours.add_subscriber("hear", "heard.by.ours", echo)
    await ours.add_consumer(
        "work", echo, stream="WORK", subjects="work.>", ensure_stream=True, durable="worker"
    )
    return ours


async def test_their_client_reads_a_service_with_events(
    peer: Peer, url: str, consuming: micro.Service
) -> None:
    seen = await peer.call(url, "ours")

    names = ["echo", "refuse", "crash", "every", "add"]
    for level in ("all", "name", "id"):
        assert [each["name"] for each in seen[level]["info"]["endpoints"]] == names
        assert [each["name"] for each in seen[level]["stats"]["endpoints"]] == names
        for answer in ("info", "stats"):
            events = json.loads(seen[level][answer]["metadata"]["micro.events"])
            assert [each["name"] for each in events] == ["hear", "work"]


@pytest.mark.interop
async def test_async_nats_of_rust_reads_a_service_with_events(
    url: str, consuming: micro.Service, rust_reader: Callable[..., Awaitable[bytes]]
) -> None:
    seen = json.loads(await rust_reader(url, "ours"))

    names = ["echo", "refuse", "crash", "every", "add"]
    assert seen["ping"]["id"] == seen["info"]["id"] == seen["stats"]["id"] == consuming.id
    assert [each["name"] for each in seen["info"]["endpoints"]] == names
    assert [each["name"] for each in seen["stats"]["endpoints"]] == names
    events = json.loads(seen["info"]["metadata"]["micro.events"])
    assert [each["name"] for each in events] == ["hear", "work"]


async def test_their_client_calls_our_endpoints(peer: Peer, url: str, ours: micro.Service) -> None:
    seen = await peer.call(url, "ours")

    good = {"code": "", "description": ""}
    assert seen["echo"] == {"data": "hello", "headers": {"X-Trace": "t-1"}, **good}
    assert seen["add"]["data"] == "42"
    assert seen["refuse"] == {
        "data": "short and stout",
        "headers": {"Retry-After": "7"},
        "code": "418",
        "description": "I'm a teapot",
    }
    assert seen["crash"] == {
        "data": "",
        "headers": {},
        "code": "500",
        "description": "internal error",
    }
    assert seen["bad"]["code"] == "400"
    assert [detail["loc"] for detail in json.loads(seen["bad"]["data"])] == [["a"], ["b"]]
    counted = {
        e["name"]: (e["num_requests"], e["num_errors"]) for e in seen["id"]["stats"]["endpoints"]
    }
    assert counted == {
        "echo": (1, 0),
        "refuse": (1, 1),
        "crash": (1, 1),
        "every": (0, 0),
        "add": (2, 1),
    }


@pytest.mark.interop
async def test_instances_in_four_languages_are_one_service(
    all_peers: list[Peer], url: str, nc: NatsClient
) -> None:
    """Discovery lists them together, and they share the requests of a queue group."""
    client = micro.Client(nc, default_max_wait=10)
    async with AsyncExitStack() as stack:
        ids = [await stack.enter_async_context(peer.serving(url)) for peer in all_peers]
        service = await stack.enter_async_context(
            micro.add_service(nc, "interop", VERSION, metadata={"peer": "micro"})
        )
        await service.add_endpoint("echo", echo, "interop.echo")
        await service.add_endpoint("every", echo, queue_group="")
        ids.append(service.id)

        answers = await client.ping("interop", max_count=4)
        for number in range(200):
            answer = await client.request("interop.echo", str(number).encode(), timeout=10)
            assert answer.data == str(number).encode()
        stats = await client.stats("interop", max_count=4)
        async with client.request_many(
            "every", b"all", until=micro.Until(max_wait=10, max_count=2)
        ) as replies:
            everyone = [reply.data async for reply in replies]

    assert sorted(answer.id for answer in answers) == sorted(ids)
    served = [
        endpoint.num_requests
        for instance in stats
        for endpoint in instance.endpoints
        if endpoint.name == "echo"
    ]
    assert sum(served) == 200
    assert min(served) > 0
    assert everyone == [b"all", b"all"]  # of nats.go and of ours, which offer it
