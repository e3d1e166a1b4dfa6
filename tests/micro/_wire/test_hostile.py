"""Messages that are odd, or that nats-py fails to read, stop no service; on either path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request
from micro._wire.fence import fence
from micro.testing import NatsServer

from ..path_kit import PATHS, connections

LONG = 60.0
MAX_PAYLOAD = 1024 * 1024
TARGETS = ("hostile.echo", "$SRV.PING", "$SRV.INFO.hostile", "$SRV.STATS")


class Raw:
    """A connection at the level of the protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, server: NatsServer) -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
        raw = cls(reader, writer)
        await raw.line(b"INFO ")
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        raw.send(b"CONNECT " + json.dumps({**options, "protocol": 1}).encode() + b"\r\n")
        return raw

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def line(self, *starts: bytes) -> bytes:
        async with asyncio.timeout(LONG):
            while True:
                line = await self._reader.readline()
                assert line, "the server has closed the connection"
                if line.startswith(starts):
                    return line

    async def settle(self) -> bytes:
        """Return the first line of the server after it has processed everything."""
        self.send(b"PING\r\n")
        async with asyncio.timeout(LONG):
            return await self._reader.readline()

    def publish(
        self, subject: bytes, reply: bytes, data: bytes = b"", block: bytes | None = None
    ) -> None:
        if block is None:
            self.send(b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(data), data))
        else:
            sizes = (len(block), len(block) + len(data))
            self.send(b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, *sizes, block, data))

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
async def raw(server: NatsServer) -> AsyncIterator[Raw]:
    connection = await Raw.connect(server)
    yield connection
    await connection.close()


@pytest.fixture(params=PATHS)
async def nc(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect by each path in turn."""
    async with connections(request.param) as connect:
        yield await connect(server.url)


@pytest.fixture
async def service(nc: NatsClient) -> AsyncIterator[micro.Service]:
    async def echo(request: Request) -> None:
        request.headers()
        await request.respond(request.data())

    async with micro.add_service(nc, "hostile", "1.0.0") as service:
        await service.add_endpoint("echo", echo, "hostile.echo")
        yield service


async def check(caller: NatsClient, service: micro.Service) -> None:
    """Check that the service answers requests and discovery."""
    client = micro.Client(caller)
    assert (await client.request("hostile.echo", b"still here", timeout=LONG)).data == b"still here"
    instance = client.instance("hostile", service.id)
    assert (await instance.ping(LONG)).id == service.id
    assert (await instance.info(LONG)).endpoints[0].subject == "hostile.echo"
    assert (await instance.stats(LONG)).endpoints[0].num_requests > 0


BLOCKS = {
    "no headers": b"NATS/1.0\r\n\r\n",
    "status as the server's": b"NATS/1.0 503\r\n\r\n",
    "error of a service": b"NATS/1.0\r\nNats-Service-Error-Code: 1\r\n\r\n",
    "repeated names": b"NATS/1.0\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    "names that differ in case": b"NATS/1.0\r\nA: b\r\na: c\r\n\r\n",
    "values without blank and without text": b"NATS/1.0\r\nA:b\r\nB:\r\nC: \r\n\r\n",
    "2,000 headers": b"NATS/1.0\r\n" + b"".join(b"H-%d: v\r\n" % n for n in range(2000)) + b"\r\n",
}


@pytest.mark.parametrize("name", BLOCKS)
async def test_odd_headers(service: micro.Service, caller: NatsClient, raw: Raw, name: str) -> None:
    """They are answered like any others."""
    raw.send(b"SUB odd.headers 1\r\n")
    for target in TARGETS:
        raw.publish(target.encode(), b"odd.headers", b"", BLOCKS[name])
        assert (await raw.line(b"MSG")).startswith(b"MSG odd.headers 1 "), target

    await check(caller, service)


REPLIES = [
    b"",
    b"$JS.API.INFO",
    b"$SRV.PING",
    b"$SRV.STATS.hostile",
    b"hostile.echo",
    b">",
    b"*",
    b"_INBOX.*.>",
    b"x" * 2000,
    b".".join([b"x"] * 1000),
]


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: repr(reply[:24]))
async def test_odd_reply_subjects(
    service: micro.Service, caller: NatsClient, raw: Raw, reply: bytes
) -> None:
    for target in TARGETS:
        raw.publish(target.encode(), reply, b"payload")
        raw.publish(target.encode(), reply, b"payload", b"NATS/1.0\r\nA: b\r\n\r\n")
    await raw.settle()

    await check(caller, service)


MARK = b"Mark: 1"
"""A valid header that makes `Failing` raise."""


class Failing(NatsClient):
    """A nats-py that fails at the valid messages with a mark, in both steps of its reading."""

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        if headers and MARK in headers:
            raise ValueError("a marked header")
        return await super()._process_headers(headers)

    def _build_message(self, sid: int, subject: bytes, reply: bytes, *rest: Any) -> Any:
        if reply.endswith(b".mark"):
            raise UnicodeDecodeError("ascii", reply, 0, 1, "a marked reply subject")
        return super()._build_message(sid, subject, reply, *rest)


@pytest.mark.parametrize("path", PATHS)
async def test_a_message_that_nats_py_fails_to_read_stops_nothing(
    path: str, server: NatsServer, caller: NatsClient, raw: Raw
) -> None:
    async with connections(path, Failing) as connect:
        nc = await connect(server.url)

        async def echo(request: Request) -> None:
            await request.respond(request.data(), headers=request.headers())

        async with micro.add_service(nc, "hostile", "1.0.0") as service:
            await service.add_endpoint("echo", echo, "hostile.echo")
            raw.send(b"SUB odd.> 1\r\n")
            block = b"NATS/1.0\r\n%b\r\n\r\n" % MARK
            for target in TARGETS:
                raw.publish(target.encode(), b"odd.headers", b"", block)
                await raw.line(b"MSG odd.headers", b"HMSG odd.headers")
                raw.publish(target.encode(), b"odd.mark", b"x")
            await raw.settle()

            await check(caller, service)


async def test_an_answer_that_nats_py_fails_to_read_does_not_stop_a_client(
    server: NatsServer, raw: Raw
) -> None:
    async with connections("public", Failing) as connect:
        nc = await connect(server.url)
        raw.send(b"SUB odd.answers 1\r\n")
        await raw.settle()
        request = asyncio.create_task(micro.Client(nc).request("odd.answers", timeout=LONG))
        reply = (await raw.line(b"HMSG")).split()[3]
        raw.publish(reply, b"", b"answer", b"NATS/1.0\r\n%b\r\nA: b\r\n\r\n" % MARK)

        answer = await request

        assert answer.data == b"answer"
        assert answer.headers is not None
        assert answer.headers["A"] == "b"
        await fence(nc)


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD - 1, MAX_PAYLOAD])
async def test_sizes_of_payloads(
    service: micro.Service, caller: NatsClient, raw: Raw, size: int
) -> None:
    raw.send(b"SUB big 1\r\n")
    for target in TARGETS:
        raw.publish(target.encode(), b"big", b"x" * size)
        line = await raw.line(b"MSG big")
        if target == "hostile.echo":
            assert line == b"MSG big 1 %d\r\n" % size

    await check(caller, service)


async def test_nothing_is_ever_sent_to_the_subjects_of_the_server(
    service: micro.Service, caller: NatsClient, raw: Raw
) -> None:
    async def refuse(request: Request) -> None:
        raise micro.ServiceError(400, "refused")

    async def fail(request: Request) -> None:
        raise KeyError

    async def slow(request: Request) -> None:
        await asyncio.sleep(LONG)

    await service.add_endpoint("refuse", refuse, "hostile.refuse")
    await service.add_endpoint("fail", fail, "hostile.fail")
    await service.add_endpoint("late", slow, "hostile.late", timeout=0.05)
    await service.add_endpoint(
        "full", slow, "hostile.full", max_in_flight=1, pending_msgs_limit=0, timeout=0.05
    )
    raw.send(b"SUB $NOBODY.> 1\r\nSUB somebody 2\r\n")
    others = ("hostile.refuse", "hostile.fail", "hostile.full", "hostile.full", "hostile.late")
    for target in (*TARGETS, *others):
        raw.publish(target.encode(), b"$NOBODY.home", b"x")
    raw.publish(b"hostile.late", b"somebody", b"x")  # answered after all that came before

    async with asyncio.timeout(LONG):
        while service.stats().endpoints[-2].num_requests < 2:
            await asyncio.sleep(0.01)
    first = await raw.line(b"HMSG", b"MSG")

    assert first.startswith(b"HMSG somebody 2 ")
    await check(caller, service)


async def test_replies_only_to_what_is_allowed(
    nc: NatsClient, caller: NatsClient, raw: Raw
) -> None:
    async def echo(request: Request) -> None:
        await request.respond(request.data())

    prefixes = ["_INBOX.", "answers."]
    async with micro.add_service(nc, "strict", "1.0.0", reply_prefixes=prefixes) as service:
        await service.add_endpoint("echo", echo, "strict.echo")
        raw.send(b"SUB admin.delete 1\r\nSUB answers.far 2\r\n")
        raw.publish(b"strict.echo", b"admin.delete", b"1")
        raw.publish(b"strict.echo", b"_INBOX", b"2")
        raw.publish(b"strict.echo", b"answers.far", b"3")
        assert await raw.line(b"MSG") == b"MSG answers.far 2 1\r\n"
        answer = await micro.Client(caller).request("strict.echo", b"4", timeout=LONG)
        stats = service.stats().endpoints[0]

    assert answer.data == b"4"
    assert (stats.num_requests, stats.num_errors) == (4, 2)
    assert stats.data["micro"]["rejected"] == 2
    assert stats.last_error == "403:reply subject not allowed"


async def test_a_flood_of_discovery_leaves_the_endpoints_alive(
    service: micro.Service, caller: NatsClient, raw: Raw
) -> None:
    """1,500 requests a second for STATS and INFO, two seconds long."""
    failed = answered = 0
    client = micro.Client(caller)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def flood() -> None:
        sent = 0
        while sent < 3000:
            for _ in range(int((loop.time() - began) * 1500) - sent):
                raw.publish(b"$SRV.STATS" if sent % 2 else b"$SRV.INFO", b"flood.answers")
                sent += 1
            await asyncio.sleep(0.002)

    flooding = asyncio.create_task(flood())
    while not flooding.done():
        try:
            await client.request("hostile.echo", b"x", timeout=2.0)
            answered += 1
        except nats.errors.Error:
            failed += 1
    await flooding

    assert answered > 0
    assert failed == 0
    await check(caller, service)
