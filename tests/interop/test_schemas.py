"""The raw bytes of discovery answers, checked with independent JSON schemas."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel, create_model

import micro

SCHEMAS = json.loads(Path(__file__).with_name("schemas.json").read_text())
LEVELS = ("all", "name", "id")

Prepare = Callable[[micro.Service, NatsClient], Awaitable[None]]


class Pair(BaseModel):
    a: int
    b: int


async def echo(request: micro.Request) -> None:
    await request.respond(request.data(), request.headers())


async def add(pair: Pair) -> int:
    return pair.a + pair.b


def blocking(request: micro.Request) -> Any:
    return request.respond(b"done")


async def refuse(request: micro.Request) -> None:
    raise micro.ServiceError(418, "I'm a teapot\nshort and stout")


async def crash(request: micro.Request) -> None:
    raise RuntimeError("secret")


async def mute(request: micro.Request) -> None:
    """Return without an answer."""


async def no_endpoints(service: micro.Service, nc: NatsClient) -> None:
    """Change nothing."""


async def every_kind(service: micro.Service, nc: NatsClient) -> None:
    await service.add_endpoint("echo", echo, metadata={"kind": "raw", "ünï": "çödé"})
    await service.add_endpoint("echo", echo, subject="another.echo")
    await service.add_endpoint("plain", echo, queue_group="")
    await service.add_endpoint("wide", echo, subject="wide.*.>", allow_wildcards=True)
    await service.add_endpoint("blocking", blocking, max_in_flight=1)
    group = service.add_group("math", queue_group="calc")
    await group.add_endpoint("add", add)
    await group.add_group("v2").add_endpoint("add", add, queue_group="")


async def only_events(service: micro.Service, nc: NatsClient) -> None:
    await service.add_subscriber("hear", "heard.by.us", echo, metadata={"own": "1"})


async def after_requests(service: micro.Service, nc: NatsClient) -> None:
    await every_kind(service, nc)
    for subject in ("echo", "another.echo", "plain", "wide.x.y", "blocking"):
        await nc.request(subject, b"hello", timeout=5, headers={"X-Trace": "t-1"})
    assert (await nc.request("math.add", b'{"a": 1, "b": 2}', timeout=5)).data == b"3"
    assert sum(endpoint.num_requests for endpoint in service.stats().endpoints) == 6


async def after_errors(service: micro.Service, nc: NatsClient) -> None:
    await service.add_endpoint("add", add)
    for handler in (refuse, crash, mute):
        await service.add_endpoint(handler.__name__, handler)
    for subject in ("add", "refuse", "crash", "mute"):
        await nc.request(subject, b"{not json", timeout=5)
    assert [endpoint.num_errors for endpoint in service.stats().endpoints] == [1, 1, 1, 1]


async def after_overload(service: micro.Service, nc: NatsClient) -> None:
    gate = asyncio.Event()

    async def wait(request: micro.Request) -> None:
        await gate.wait()
        await request.respond(b"")

    await service.add_endpoint("wait", wait, max_in_flight=1, pending_msgs_limit=0)
    first = asyncio.create_task(nc.request("wait", timeout=5))
    second = asyncio.create_task(nc.request("wait", timeout=5))
    await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
    gate.set()
    await asyncio.gather(first, second)
    assert service.stats().endpoints[0].last_error == "503:overloaded"


async def after_reset(service: micro.Service, nc: NatsClient) -> None:
    await after_errors(service, nc)
    service.reset()
    assert sum(endpoint.num_requests for endpoint in service.stats().endpoints) == 0


async def with_data(service: micro.Service, nc: NatsClient) -> None:
    async def later(endpoint: micro.Endpoint) -> dict[str, Any]:
        return {"load": 0.5, "deep": [{"endpoint": endpoint.name}, None]}

    def fail(endpoint: micro.Endpoint) -> None:
        raise RuntimeError("secret")

    handlers: dict[str, Callable[[micro.Endpoint], Any]] = {
        "text": lambda endpoint: "fine",
        "zero": lambda endpoint: 0,
        "later": later,
        "nothing": lambda endpoint: None,
        "fail": fail,
        "unserialisable": lambda endpoint: object(),
        "nan": lambda endpoint: float("nan"),
    }
    for name, handler in handlers.items():
        await service.add_endpoint(name, echo, stats_handler=handler)


async def large(service: micro.Service, nc: NatsClient) -> None:
    for number in range(30):
        fields: dict[str, Any] = {
            f"field_{number}_{index}_{'x' * 40}": (int, 0) for index in range(20)
        }
        model = create_model(f"Model{number}", **fields)

        async def take(value: Any) -> None:
            """Accept a value of the model."""

        take.__annotations__ = {"value": model, "return": type(None)}
        await service.add_endpoint(f"take{number}", take)


@pytest.mark.parametrize(
    "prepare",
    [
        no_endpoints,
        every_kind,
        only_events,
        after_requests,
        after_errors,
        after_overload,
        after_reset,
        with_data,
        large,
    ],
)
async def test_raw_answers_obey_the_schemas(prepare: Prepare, nc: NatsClient) -> None:
    metadata = {"région": "été", "quote": '"'}
    async with micro.add_service(nc, "strict", "1.2.3-rc.1+b.7", metadata=metadata) as service:
        await prepare(service, nc)

        answers = await ask_everything(nc, "$SRV", "strict", service.id)

    for (verb, level), body in answers.items():
        check(verb, body)
        assert body["id"] == service.id, (verb, level)
        events = body["metadata"].pop("micro.events", "[]")
        assert len(json.loads(events)) == (0 if verb == "PING" else len(service.info().events))
        assert body["metadata"] == metadata
        if verb != "PING":
            assert len(body["endpoints"]) == len(service.info().endpoints)


async def test_an_overridden_prefix_and_a_bare_service_obey_the_schemas(nc: NatsClient) -> None:
    async with micro.add_service(nc, "bare", "0.0.1", api_prefix="acme.SRV") as service:
        answers = await ask_everything(nc, "acme.SRV", "bare", service.id)

    for (verb, _), body in answers.items():
        check(verb, body)


async def test_data_of_a_handler_stands_beside_what_micro_counts(nc: NatsClient) -> None:
    async with micro.add_service(nc, "strict", "1.0.0") as service:
        await with_data(service, nc)

        answers = await ask_everything(nc, "$SRV", "strict", service.id)

    endpoints = answers["STATS", "id"]["endpoints"]
    data_by_name = {each["name"]: each["data"] for each in endpoints if "data" in each}
    assert all(data.pop("micro")["in_flight"] == 0 for data in data_by_name.values())
    expected = {
        "text": {"user": "fine"},
        "zero": {"user": 0},
        "later": {"load": Decimal("0.5"), "deep": [{"endpoint": "later"}, None]},
    }
    assert data_by_name == expected


async def test_large_schemas_give_way_to_their_hashes(nc: NatsClient) -> None:
    async with micro.add_service(nc, "strict", "1.0.0") as service:
        await large(service, nc)

        answer = await nc.request(f"$SRV.INFO.strict.{service.id}", timeout=5)

    assert len(answer.data) < 64 * 1024
    assert all(
        list(endpoint["metadata"]) == ["micro.request.schema.sha256"]
        for endpoint in parse(answer.data)["endpoints"]
    )


BROKEN: list[tuple[str, str, Callable[[dict[str, Any]], Any]]] = [
    ("PING", "metadata null", lambda body: body.update(metadata=None)),
    ("PING", "a number in the metadata", lambda body: body.update(metadata={"a": 1})),
    ("PING", "no id", lambda body: body.pop("id")),
    ("PING", "type of another answer", lambda body: body.update(type=STATS_TYPE)),
    ("PING", "unknown field", lambda body: body.update(extra="x")),
    ("PING", "version with a 'v'", lambda body: body.update(version="v1.0.0")),
    ("INFO", "description null", lambda body: body.update(description=None)),
    ("INFO", "no description", lambda body: body.pop("description")),
    ("INFO", "endpoints null", lambda body: body.update(endpoints=None)),
    ("INFO", "queue group null", lambda body: body["endpoints"][0].update(queue_group=None)),
    ("INFO", "no endpoint metadata", lambda body: body["endpoints"][0].pop("metadata")),
    ("STATS", "local time", lambda body: body.update(started="2026-01-02T03:04:05+01:00")),
    ("STATS", "time without zone", lambda body: body.update(started="2026-01-02T03:04:05")),
    ("STATS", "data null", lambda body: body["endpoints"][0].update(data=None)),
    ("STATS", "last error null", lambda body: body["endpoints"][0].update(last_error=None)),
    ("STATS", "error without code", lambda body: body["endpoints"][0].update(last_error="oops")),
    (
        "STATS",
        "fractional nanoseconds",
        lambda body: body["endpoints"][0].update(average_processing_time=Decimal("1.0")),
    ),
    ("STATS", "no counter", lambda body: body["endpoints"][0].pop("num_errors")),
]
STATS_TYPE = "io.nats.micro.v1.stats_response"


async def test_the_schemas_refuse_what_strict_readers_refuse(nc: NatsClient) -> None:
    async with micro.add_service(nc, "strict", "1.0.0") as service:
        await service.add_endpoint("echo", echo)
        answers = await ask_everything(nc, "$SRV", "strict", service.id)

    for verb, fault, break_it in BROKEN:
        body = copy.deepcopy(answers[verb, "all"])
        break_it(body)
        assert not validator(verb).is_valid(body), f"{verb} with {fault} passes"


async def ask_everything(
    nc: NatsClient, prefix: str, name: str, id: str
) -> dict[tuple[str, str], Any]:
    """Send requests to all nine subjects, with a payload and headers that have no effect."""
    bodies: dict[tuple[str, str], Any] = {}
    for verb in ("PING", "INFO", "STATS"):
        for level, scope in zip(LEVELS, ("", f".{name}", f".{name}.{id}"), strict=True):
            answer = await nc.request(
                f"{prefix}.{verb}{scope}", b"\xff{", timeout=5, headers={"X-Trace": "t-1"}
            )
            assert answer.headers is None
            bodies[verb, level] = parse(answer.data)
    return bodies


def parse(raw: bytes) -> Any:
    """Read JSON without the leniency of Python: no NaN, no key twice, 1.0 is not an integer."""

    def no_constant(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    return json.loads(
        raw.decode(), parse_float=Decimal, parse_constant=no_constant, object_pairs_hook=unique
    )


def check(verb: str, body: Any) -> None:
    validator(verb).validate(body)


def validator(verb: str) -> Draft202012Validator:
    return Draft202012Validator({**SCHEMAS, "$ref": f"#/$defs/{verb.lower()}"})
