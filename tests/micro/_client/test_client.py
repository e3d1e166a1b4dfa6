"""Asking services and finding them, on a real server."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from pydantic import BaseModel, Field

import micro
from micro import ConfigError, PayloadTooLargeError, Request, ServiceError
from micro._wire.fence import fence
from micro.testing import NatsServer


async def echo(request: Request) -> None:
    await request.respond(request.data(), request.headers())


async def responder(
    nc: NatsClient, subject: str, *answers: bytes, headers: dict[str, str] | None = None
) -> None:
    """Answer each request to a subject with all of these."""

    async def answer(message: Msg) -> None:
        for data in answers:
            await nc.publish(message.reply, data, headers=headers)

    await nc.subscribe(subject, cb=answer)
    await fence(nc)


async def test_request_returns_the_answer(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(nc, "requested", "1.0.0") as service:
        await service.add_endpoint("echo", echo, subject="requested.echo")
        client = micro.Client(caller)
        answer = await client.request("requested.echo", b"data", {"X": "1"})
        empty = await client.request("requested.echo")
    assert (answer.data, answer.headers) == (b"data", {"X": "1"})
    assert (empty.data, empty.headers) == (b"", None)


async def test_error_answer_is_raised(nc: NatsClient, caller: NatsClient) -> None:
    async def refuse(request: Request) -> None:
        raise ServiceError(404, "gone", data=b"why", headers={"X": "1"})

    async with micro.add_service(nc, "refusing", "1.0.0") as service:
        await service.add_endpoint("e", refuse, subject="refusing.e")
        with pytest.raises(ServiceError) as caught:
            await micro.Client(caller).request("refusing.e")
    error = caught.value
    assert (error.code, error.description, error.subject) == (404, "gone", "refusing.e")
    assert (error.data, error.headers) == (b"why", {"X": "1"})


@pytest.mark.parametrize(
    ("headers", "code", "description"),
    [
        ({"Nats-Service-Error-Code": "nonsense", "Nats-Service-Error": "bad"}, 500, "bad"),
        ({"Nats-Service-Error-Code": "429"}, 429, "service error"),
        ({"Nats-Service-Error": "only text"}, 500, "only text"),
    ],
)
async def test_error_of_a_foreign_service_is_raised(
    nc: NatsClient, caller: NatsClient, headers: dict[str, str], code: int, description: str
) -> None:
    subject = nc.new_inbox()
    await responder(nc, subject, b"why", headers=headers)
    with pytest.raises(ServiceError) as caught:
        await micro.Client(caller).request(subject)
    assert (caught.value.code, caught.value.description) == (code, description)


async def test_nobody_there_and_no_answer_are_different_errors(nc: NatsClient) -> None:
    client = micro.Client(nc)
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request(nc.new_inbox(), timeout=60)
    silent = nc.new_inbox()
    await nc.subscribe(silent)
    with pytest.raises(nats.errors.TimeoutError):
        await client.request(silent, timeout=0.05)


async def test_unsendable_request_is_refused_and_the_client_goes_on(
    nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(caller)
    with pytest.raises(PayloadTooLargeError) as caught:
        await client.request("a", b"x" * (caller.max_payload - 10), {"X": "1"})
    assert caught.value.limit == caller.max_payload
    assert caught.value.size == caller.max_payload - 10 + len("NATS/1.0\r\nX: 1\r\n\r\n")
    with pytest.raises(ConfigError, match="invalid value of header 'X'"):
        await client.request("a", b"", {"X": "a\r\nb"})
    subject = nc.new_inbox()
    await responder(nc, subject, b"ok")
    assert (await client.request(subject)).data == b"ok"


async def test_ping_info_and_stats_of_two_instances(nc: NatsClient, caller: NatsClient) -> None:
    client = micro.Client(caller, default_max_wait=30)
    metadata = {"a": "1"}
    async with (
        micro.add_service(nc, "found", "1.2.3", "described", metadata) as one,
        micro.add_service(nc, "found", "1.2.3") as two,
    ):
        await one.add_endpoint("echo", echo, subject="found.echo")
        await client.request("found.echo")
        pings = await client.ping("found", max_count=2)
        infos = await client.info("found", max_count=2)
        stats = await client.stats("found", max_count=2)
        assert {answer.id for answer in pings} == {one.id, two.id}
        (info,) = (answer for answer in infos if answer.id == one.id)
        assert info == one.info()
        assert (info.description, info.metadata) == ("described", metadata)
        assert [endpoint.subject for endpoint in info.endpoints] == ["found.echo"]
        (counted,) = (answer for answer in stats if answer.id == one.id)
        assert counted == one.stats()
        assert counted.endpoints[0].num_requests == 1


async def test_discovery_of_all_services_finds_those_of_any_name(
    nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(caller, default_max_wait=30)
    async with (
        micro.add_service(nc, "any-one", "1.0.0"),
        micro.add_service(nc, "any-two", "1.0.0"),
    ):
        names = {answer.name for answer in await client.ping(max_interval=1)}
    assert names >= {"any-one", "any-two"}


async def test_iterators_yield_answers_as_they_come(nc: NatsClient, caller: NatsClient) -> None:
    client = micro.Client(caller)
    async with micro.add_service(nc, "iterated", "1.0.0") as service:
        for iterate in (client.ping_iter, client.info_iter, client.stats_iter):
            async with iterate("iterated", 30, 1) as answers:
                assert [answer.id async for answer in answers] == [service.id]


async def test_no_instances_is_an_empty_list_at_once(nc: NatsClient) -> None:
    client = micro.Client(nc, default_max_wait=600)
    assert await asyncio.wait_for(client.ping("nobody-has-this-name"), 60) == []


async def test_views_of_a_service_and_an_instance(nc: NatsClient, caller: NatsClient) -> None:
    client = micro.Client(caller)
    async with (
        micro.add_service(nc, "viewed", "1.0.0", id_generator=lambda: "one") as one,
        micro.add_service(nc, "viewed", "1.0.0", id_generator=lambda: "two"),
    ):
        view = client.service("viewed")
        assert {p.id for p in await view.ping(30, max_count=2)} == {"one", "two"}
        assert {i.id for i in await view.info(30, max_count=2)} == {"one", "two"}
        assert {s.id for s in await view.stats(30, max_count=2)} == {"one", "two"}
        for iterate in (view.ping_iter, view.info_iter, view.stats_iter):
            async with iterate(30, 2) as answers:
                assert {answer.id async for answer in answers} == {"one", "two"}
        instance = view.instance("one")
        assert (await instance.ping(30)).id == "one"
        assert await instance.info(30) == one.info()
        assert await instance.stats(30) == one.stats()
        assert await client.instance("viewed", "one").info(30) == one.info()
        with pytest.raises(nats.errors.NoRespondersError):
            await client.instance("viewed", "three").ping(30)


async def test_instance_that_answers_nonsense_is_told(nc: NatsClient, caller: NatsClient) -> None:
    await responder(nc, "$SRV.PING.broken.x", b"{")
    with pytest.raises(ValueError, match="PingInfo"):
        await micro.Client(caller).instance("broken", "x").ping(30)


async def test_instance_that_answers_with_an_error_is_told(
    nc: NatsClient, caller: NatsClient
) -> None:
    await responder(nc, "$SRV.INFO.broken.x", b"", headers={"Nats-Service-Error": "bad"})
    with pytest.raises(ServiceError, match="service error 500: bad"):
        await micro.Client(caller).instance("broken", "x").info(30)


async def test_unreadable_answers_are_left_out_with_a_warning(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"type": "io.nats.micro.v1.ping_response", "name": "m", "id": "i", "version": "1.0.0"}
    bad = [b"", b"\xff", b"null", b"[]", b'{"name": "m"}']
    await responder(nc, "$SRV.PING.malformed", *bad, json.dumps(good).encode())
    with caplog.at_level(logging.WARNING, "micro.client"):
        found = await micro.Client(caller).ping("malformed", max_wait=30, max_count=6)
    assert [answer.as_dict() for answer in found] == [{**good, "metadata": {}}]
    messages = [record.message for record in caplog.records]
    assert len(messages) == len(bad)
    assert all(message.startswith("unreadable PingInfo: ") for message in messages)
    assert not any("\n" in message for message in messages)


async def test_own_api_prefix(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(nc, "hidden", "1.0.0", api_prefix="acme.srv") as service:
        assert await micro.Client(caller).ping("hidden") == []
        client = micro.Client(caller, api_prefix="acme.srv")
        (found,) = await client.ping("hidden", 30, 1)
        assert found.id == service.id
        assert (await client.instance("hidden", service.id).ping(30)).id == service.id


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda nc: micro.Client(nc, api_prefix="a b"),
            "invalid API prefix 'a b': expected tokens separated by dots, without wildcards",
        ),
        (
            lambda nc: micro.Client(nc).service("a b"),
            "invalid service name 'a b': expected letters, digits, '-' or '_'",
        ),
        (
            lambda nc: micro.Client(nc).instance("a", "*"),
            "invalid instance name '*': expected letters, digits, '-' or '_'",
        ),
        (
            lambda nc: micro.Client(nc).ping_iter("*"),
            "invalid service name '*': expected letters, digits, '-' or '_'",
        ),
    ],
)
def test_unusable_names_are_refused_before_asking(call: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call(NatsClient())
    assert str(caught.value) == message


async def test_thousand_instances_are_gathered_without_a_task_per_answer(
    nc: NatsClient, caller: NatsClient
) -> None:
    count = 1000
    answers = [
        json.dumps({"name": "many", "id": f"i{number}", "version": "1.0.0"}).encode()
        for number in range(count)
    ]
    await responder(nc, "$SRV.PING.many", *answers)
    loop = asyncio.get_running_loop()
    created: list[object] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **keywords: Any) -> asyncio.Task[Any]:
        created.append(coro)
        return asyncio.Task(coro, loop=loop, **keywords)

    loop.set_task_factory(factory)
    try:
        found = await micro.Client(caller).ping("many", max_wait=60, max_count=count)
    finally:
        loop.set_task_factory(None)
    assert {answer.id for answer in found} == {f"i{number}" for number in range(count)}
    assert len(created) < 50


async def test_a_closed_connection_is_a_closed_error(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    client = micro.Client(nc)
    await nc.close()
    with pytest.raises(micro.ClosedError, match="the connection is closed") as caught:
        await client.request("anything")
    assert isinstance(caught.value, nats.errors.ConnectionClosedError)
    with pytest.raises(micro.ClosedError):
        await client.ping()


class Pair(BaseModel):
    left: int = Field(alias="a")
    at: datetime


async def test_a_dict_or_a_model_is_sent_as_json(nc: NatsClient, caller: NatsClient) -> None:
    client = micro.Client(caller)
    at = datetime(2024, 1, 2, tzinfo=UTC)
    async with micro.add_service(nc, "json", "1.0.0") as service:
        await service.add_endpoint("echo", echo, "json.echo")
        for data in ({"a": 1, "at": at}, Pair(a=1, at=at)):
            answer = await client.request("json.echo", data)
            assert json.loads(answer.data) == {"a": 1, "at": "2024-01-02T00:00:00Z"}
        assert (await client.request("json.echo", memoryview(b"x"))).data == b"x"  # type: ignore[arg-type]  # works


@pytest.mark.parametrize("data", ["text", {"a": object()}, {"a": b"\xff"}])
async def test_a_payload_without_json_is_refused_with_its_type(nc: NatsClient, data: Any) -> None:
    with pytest.raises(ConfigError, match=f"invalid payload of type '{type(data).__name__}'"):
        await micro.Client(nc).request("nobody", data)
