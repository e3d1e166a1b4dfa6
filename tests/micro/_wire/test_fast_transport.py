"""A connection of either path under everything that can happen to one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import nats
import nats.errors
import nats.js.api
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport, Transport

import micro
from micro import ConfigError, Request, Until, options
from micro._endpoint.task_pool import TaskPool
from micro._wire import fast_transport, nats_py
from micro._wire.fence import fence
from micro._wire.frames import Message
from micro.testing import NatsServer, free_port, nats_server

from ..path_kit import PATHS, Connect, connections, ignore

EAGER = {"reconnect_time_wait": 0.02, "max_reconnect_attempts": -1}


@pytest.fixture(params=PATHS)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    async with connections(request.param) as found:
        yield found


@pytest.fixture
async def fast() -> AsyncIterator[Connect]:
    async with connections("fast") as found:
        yield found


async def echo(request: Request) -> None:
    headers = {name: value for name, value in request.headers().items() if name[0] in "AH"}
    await request.respond(request.data(), headers)


async def serves(nc: NatsClient, subject: str) -> None:
    """Wait until a subject is served."""
    async with asyncio.timeout(30):
        while True:
            try:
                await nc.request(subject, b"", timeout=0.5)
            except (nats.errors.Error, OSError):
                await asyncio.sleep(0.02)
            else:
                return


# -- choosing the path


def test_other_value_of_the_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICRO_TRANSPORT", "quick")
    with pytest.raises(ConfigError) as caught:
        fast_transport.install(NatsClient(), [])
    assert str(caught.value) == (
        "invalid MICRO_TRANSPORT 'quick': expected 'auto', 'fast' or 'public'"
    )


@pytest.mark.parametrize("value", ["auto", "fast", None])
def test_fast_path_is_the_normal_case(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("MICRO_TRANSPORT", raising=False)
    if value is not None:
        monkeypatch.setenv("MICRO_TRANSPORT", value)
    client = NatsClient()
    fast_transport.install(client, ["nats://localhost:4222", "tls://localhost"])
    assert fast_transport.fast(client) is not None


@pytest.mark.parametrize("url", ["ws://localhost:8080", "wss://localhost"])
@pytest.mark.parametrize("value", ["auto", "fast"])
def test_websocket_goes_the_public_path(
    monkeypatch: pytest.MonkeyPatch, url: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MICRO_TRANSPORT", value)
    client = NatsClient()
    fast_transport.install(client, [url])
    assert fast_transport.fast(client) is None
    assert caplog.records == []


async def test_client_of_somebody_else_goes_the_public_path(server: NatsServer) -> None:
    nc = await nats.connect(server.url)
    async with nc, micro.add_service(nc, "foreign", "1.0.0") as service:
        await service.add_endpoint("foreign", echo)
        answer = await micro.Client(nc).request("foreign", b"x")
    assert answer.data == b"x"


async def test_context_takes_the_path_of_the_variable(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for value in ("fast", "public"):
        monkeypatch.setenv("MICRO_TRANSPORT", value)
        async with micro.Context() as ctx:
            await ctx.connect(options.servers(server.url))
            found[value] = fast_transport.fast(ctx.client) is not None
    assert found == {"fast": True, "public": False}


class Without(NatsClient):
    """A client of a release of nats-py that has renamed a private attribute."""

    missing = "_pending"

    def __init__(self) -> None:
        super().__init__()
        delattr(self, self.missing)


@pytest.mark.parametrize("name", [*nats_py._CLIENT])
def test_renamed_attribute_of_nats_py_means_the_public_path_and_one_warning(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Without, "missing", name)
    monkeypatch.setenv("MICRO_TRANSPORT", "auto")
    client = Without()
    fast_transport.install(client, [])

    assert fast_transport.fast(client) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"nats-py has another Client.{name}: taking the slower public path"
    ]


def test_changed_attribute_is_an_error_where_the_fast_path_is_demanded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MICRO_TRANSPORT", "fast")
    with pytest.raises(ConfigError) as caught:
        fast_transport.install(Without(), [])
    assert str(caught.value) == (
        "MICRO_TRANSPORT=fast is impossible: nats-py has another Client._pending"
    )


def test_everything_private_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    client = NatsClient()
    assert nats_py.unusable(client) is None

    monkeypatch.setattr(nats_py, "gives_messages_at_once", lambda: False)
    assert nats_py.unusable(client) == "Subscription.future"
    monkeypatch.setattr(Transport, "__abstractmethods__", frozenset({"connect"}))
    assert nats_py.unusable(client) == "Transport"
    monkeypatch.setattr(Subscription, "__init__", lambda self, conn, number, subject: None)
    assert nats_py.unusable(client) == "Subscription._id"
    monkeypatch.setattr(Subscription, "_id", 7, raising=False)
    assert nats_py.unusable(client) == "Subscription._pending_queue"
    monkeypatch.setattr(NatsClient, "_send_unsubscribe", None)
    assert nats_py.unusable(client) == "Client._send_unsubscribe"
    client._transport = TcpTransport()  # type: ignore[no-untyped-call]  # of asyncio, not ours
    assert nats_py.unusable(client) == "Client._transport"


class GivesOnlyTheFirst(NatsClient):
    """A client of a release of nats-py that ends a subscription whose future has a message."""

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        await super()._process_msg(sid, subject, reply, data, headers)
        self._subs.pop(sid, None)


class KeepsAll(NatsClient):
    """A client of a release of nats-py that has nothing to do with futures any more."""

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Lose the message."""


class Renames(NatsClient):
    """A client of a release of nats-py that calls it otherwise."""

    _process_msg = None  # type: ignore[assignment]  # as if it were not there


class Hangs(NatsClient):
    """A client of a release of nats-py that has to wait before it hands over."""

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("client", [GivesOnlyTheFirst, KeepsAll, Renames, Hangs])
async def test_release_of_nats_py_that_gives_futures_no_message_is_found_out(
    client: type[NatsClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = nats_py.gives_messages_at_once.__wrapped__
    assert trial()
    monkeypatch.setattr(nats_py, "NatsClient", client)
    assert not trial()


async def test_public_path_works_with_callbacks_where_futures_get_no_message(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_py, "gives_messages_at_once", lambda: False)
    async with connections("public") as connect:
        nc, caller = await connect(server.url), await connect(server.url)
        async with micro.add_service(nc, "old", "1.0.0") as service:
            await service.add_endpoint("old", echo)
            client = micro.Client(caller)
            answers = await asyncio.gather(*(client.request("old", b"%d" % i) for i in range(100)))
            async with client.request_many(
                "old", b"again", until=Until(max_wait=5, max_count=1)
            ) as replies:
                more = [reply.data async for reply in replies]
    assert [answer.data for answer in answers] == [b"%d" % i for i in range(100)]
    assert more == [b"again"]


async def test_public_path_does_without_what_a_release_of_nats_py_has_renamed() -> None:
    drained: list[str] = []

    class Renamed:
        async def drain(self) -> None:
            drained.append("drained")

    client: Any = Renamed()
    nats_py.guard(client)
    nats_py.watch_errors(client, lambda nc, error: None)
    await nats_py.leave(client, client)

    assert vars(client) == {}
    assert drained == ["drained"]
    assert nats_py.transport_of(client) is None
    assert nats_py.sid(client) is None
    assert nats_py.knows(client, 7)


# -- messages


class Slow(NatsClient):
    """A client whose `subscribe` returns when two messages for the subscription have come."""

    async def subscribe(self, *arguments: Any, **options: Any) -> Subscription:
        found = await super().subscribe(*arguments, **options)
        if found.subject == "slow":
            before = self.stats["in_msgs"]
            while self.stats["in_msgs"] < before + 2:
                await asyncio.sleep(0.01)
        return found


async def test_messages_that_come_before_their_route_is_known_are_answered(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICRO_TRANSPORT", "fast")
    nc = Slow()
    fast_transport.install(nc, [server.url])
    await nc.connect(server.url)
    caller = await nats.connect(server.url)
    answers = await caller.subscribe("answers")
    async with micro.add_service(nc, "slow", "1.0.0") as service:
        adding = asyncio.create_task(service.add_endpoint("slow", echo))
        await asyncio.sleep(0.1)
        await caller.publish("slow", b"one", reply="answers", headers={"A-Name": "value"})
        await caller.publish("slow", b"two", reply="answers")
        await adding
        await caller.publish("slow", b"three", reply="answers")
        found = [await answers.next_msg(timeout=5) for _ in range(3)]
    await nc.close()
    await caller.close()
    assert [(message.data, message.headers) for message in found] == [
        (b"one", {"A-Name": "value"}),
        (b"two", None),
        (b"three", None),
    ]


@pytest.mark.parametrize("size", [0, 1, 4096, 70_000, 1_000_000])
async def test_payloads_of_any_size_come_back(
    connect: Connect, server: NatsServer, size: int
) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    data = os.urandom(size // 2) + b"\r\nMSG a 1 5\r\n"[: size - size // 2]
    async with micro.add_service(nc, "sizes", "1.0.0") as service:
        await service.add_endpoint("sizes", echo, subject="sizes")
        answers = await asyncio.gather(
            *(micro.Client(caller).request("sizes", data, {"A": "b"}, timeout=20) for _ in range(5))
        )
    assert [(answer.data, answer.headers) for answer in answers] == [(data, {"A": "b"})] * 5


async def test_headers_at_the_size_limit_come_back(connect: Connect, server: NatsServer) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    headers = {f"H{i}": "v" * 1000 for i in range(1000)}
    async with micro.add_service(nc, "headers", "1.0.0") as service:
        await service.add_endpoint("headers", echo, subject="headers")
        answer = await micro.Client(caller).request("headers", b"", headers, timeout=20)
    assert answer.headers == headers


async def test_what_a_handler_publishes_goes_before_its_answer(
    connect: Connect, server: NatsServer
) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    order: list[str] = []

    async def handler(request: Request) -> None:
        await nc.publish("order.event", request.data())
        await request.respond(request.data())

    async def note(message: Any) -> None:
        order.append(message.subject.partition(".")[0])

    async with micro.add_service(nc, "order", "1.0.0") as service:
        await service.add_endpoint("order", handler, subject="order.endpoint")
        await caller.subscribe(">", cb=note)
        await fence(caller)
        for i in range(20):
            await caller.publish("order.endpoint", b"%d" % i, reply="answer.x")
            await caller.flush()
            while len(order) < 3 * (i + 1):
                await asyncio.sleep(0.001)
    assert order == ["order", "order", "answer"] * 20


async def test_statistics_of_nats_py_stay_right(connect: Connect, server: NatsServer) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    async with micro.add_service(nc, "counted", "1.0.0") as service:
        await service.add_endpoint("counted", echo, subject="counted")
        before = dict(nc.stats)
        client = micro.Client(caller)
        for _ in range(10):
            await client.request("counted", b"12345", {"A": "b"})
        changes = {key: nc.stats[key] - before[key] for key in before}
    assert changes == {
        "in_msgs": 10,
        "out_msgs": 10,
        "in_bytes": 50,
        "out_bytes": 50,
        "reconnects": 0,
        "errors_received": 0,
    }


async def test_subscriptions_of_others_are_left_to_nats_py(
    connect: Connect, server: NatsServer
) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    async with micro.add_service(nc, "beside", "1.0.0") as service:
        await service.add_endpoint("beside", echo, subject="beside")
        limited = await nc.subscribe("others", max_msgs=3)
        await limited.unsubscribe(3)
        await fence(nc)
        for i in range(5):
            await caller.publish("others", b"%d" % i)
        await caller.flush()
        received = [(await limited.next_msg(5)).data for _ in range(3)]
        own = await nc.request("beside", b"x", timeout=5)
        with pytest.raises(nats.errors.TimeoutError):
            await limited.next_msg(0.05)
    assert received == [b"0", b"1", b"2"]
    assert own.data == b"x"


async def test_draining_the_client_beside_a_service_ends_without_an_error(
    connect: Connect, server: NatsServer
) -> None:
    nc, caller = await connect(server.url), await connect(server.url)
    async with micro.add_service(nc, "drained", "1.0.0") as service:
        await service.add_endpoint("drained", echo, subject="drained")
        received: list[bytes] = []

        async def keep(message: Any) -> None:
            received.append(message.data)

        await nc.subscribe("kept", cb=keep)
        await fence(nc)  # flush() proves nothing about what is still buffered
        for i in range(50):
            await caller.publish("kept", b"%d" % i)
        await fence(caller)
        await nc.drain()
    assert len(received) == 50
    assert nc.is_closed


async def test_jetstream_on_the_same_connection(connect: Connect) -> None:
    with nats_server(jetstream=True) as server:
        nc = await connect(server.url)
        async with micro.add_service(nc, "stream", "1.0.0") as service:
            await service.add_endpoint("stream", echo, subject="endpoint")
            js = nc.jetstream()
            await js.add_stream(name="S", subjects=["s.*"])
            for i in range(20):
                await js.publish("s.a", b"%d" % i)
            pull = await js.pull_subscribe("s.a", "durable")
            pulled = [message.data for message in await pull.fetch(20, timeout=10)]
            ordered = await js.subscribe("s.a", ordered_consumer=True)
            pushed = [(await ordered.next_msg(10)).data for _ in range(20)]
            bucket = await js.create_key_value(nats.js.api.KeyValueConfig(bucket="b"))
            await bucket.put("k", b"v")
            value = (await bucket.get("k")).value
            answer = await micro.Client(nc).request("endpoint", b"x")
    assert pulled == pushed == [b"%d" % i for i in range(20)]
    assert value == b"v"
    assert answer.data == b"x"


# -- losing the connection


async def test_service_is_back_after_a_restart_of_the_server(connect: Connect) -> None:
    port = free_port()
    with nats_server(port=port) as server:
        nc, caller = await connect(server.url, **EAGER), await connect(server.url, **EAGER)
        service = micro.add_service(nc, "back", "1.0.0")
        await service.start()
        await service.add_endpoint("back", echo, subject="back")
        client = micro.Client(caller)
        await client.request("back", b"x")
    with nats_server(port=port):
        await serves(caller, "back")
        answer = await client.request("back", b"again", timeout=5)
        await service.stop()
        await nc.close()
        await caller.close()
    assert answer.data == b"again"


async def test_new_max_payload_after_a_reconnect_counts(connect: Connect) -> None:
    port = free_port()
    large = b"x" * 5000
    with nats_server(port=port) as server:
        nc, caller = await connect(server.url, **EAGER), await connect(server.url, **EAGER)
        service = micro.add_service(nc, "limit", "1.0.0")
        await service.start()

        async def handler(request: Request) -> None:
            await request.respond(large)

        await service.add_endpoint("limit", handler, subject="limit")
        client = micro.Client(caller)
        assert (await client.request("limit")).data == large
    with nats_server(port=port, config="max_payload: 4096"):
        await serves(caller, "limit")
        with pytest.raises(micro.ServiceError, match="500"):
            await client.request("limit", timeout=5)
        with pytest.raises(micro.PayloadTooLargeError):
            await client.request("limit", large)
        await service.stop()
        await nc.close()
        await caller.close()


class Gate:
    """Makes nats-py reconnect to a port where nobody listens, until it is opened."""

    def __init__(self, url: str) -> None:
        self.servers = [url, f"nats://127.0.0.1:{free_port()}"]
        self.lost = asyncio.Event()
        self.open = False

    def choose(self, pool: list[Any], info: dict[str, Any]) -> tuple[Any, float]:
        wanted = self.servers[0 if self.open else 1]
        return next(entry for entry in pool if entry.uri.geturl() == wanted), 0.02

    async def disconnected(self) -> None:
        self.lost.set()

    def keywords(self) -> dict[str, Any]:
        return {
            "servers": self.servers,
            "dont_randomize": True,
            "reconnect_to_server_handler": self.choose,
            "disconnected_cb": self.disconnected,
            **EAGER,
        }


class Late:
    """A handler that answers when it is let go, and the answers that came."""

    def __init__(self, data: bytes = b"") -> None:
        self.go = asyncio.Event()
        self.received: list[bytes] = []
        self._data = data
        self._entered = asyncio.Semaphore(0)

    async def handler(self, request: Request) -> None:
        self._entered.release()
        await self.go.wait()
        await request.respond(request.data() + self._data)

    async def serve(self, nc: NatsClient) -> micro.Service:
        service = micro.add_service(nc, "late", "1.0.0")
        await service.start()
        await service.add_endpoint("late", self.handler)
        return service

    async def collect(self, message: Any) -> None:
        self.received.append(message.data)

    async def ask(self, caller: NatsClient, count: int) -> None:
        await caller.subscribe("answers", cb=self.collect)
        for i in range(count):
            await caller.publish("late", b"%d" % i, reply="answers")
        await caller.flush()
        for _ in range(count):
            await self._entered.acquire()

    async def got(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.received) < count:
                await asyncio.sleep(0.01)


async def ended(service: micro.Service, count: int) -> None:
    async with asyncio.timeout(30):
        while service.stats().endpoints[0].num_requests < count:
            await asyncio.sleep(0.01)


async def test_answers_given_while_disconnected_arrive_afterwards_once(connect: Connect) -> None:
    port, late, back = free_port(), Late(), asyncio.Event()

    async def reconnected() -> None:
        back.set()

    with nats_server(port=port) as server:
        gate = Gate(server.url)
        nc = await connect(server.url, **gate.keywords())
        caller = await connect(server.url, reconnected_cb=reconnected, **EAGER)
        service = await late.serve(nc)
        await late.ask(caller, 10)
    await gate.lost.wait()
    late.go.set()
    await ended(service, 10)
    with nats_server(port=port):
        await asyncio.wait_for(back.wait(), 30)
        await fence(caller)  # answers to nobody would be dropped by the server
        gate.open = True
        await late.got(10)
        await serves(caller, "late")
        await service.stop()
        await nc.close()
        await caller.close()
    assert sorted(late.received) == [b"%d" % i for i in range(10)]
    assert service.stats().endpoints[0].num_errors == 0


async def test_answers_beyond_the_pending_size_are_counted_as_lost(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    late = Late(b"x" * 1000)
    with nats_server() as server:
        gate = Gate(server.url)
        nc = await connect(server.url, pending_size=5000, **gate.keywords())
        caller = await connect(server.url)
        service = await late.serve(nc)
        await late.ask(caller, 10)
    await gate.lost.wait()
    late.go.set()
    await ended(service, 10)
    stats = service.stats().endpoints[0]
    await service.stop()
    assert stats.num_errors == 6
    assert stats.last_error.startswith("500:answer lost: ")
    assert "answer to 'late' is lost" in caplog.text


async def test_answers_that_never_leave_are_logged(
    fast: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    late = Late()
    with nats_server() as server:
        gate = Gate(server.url)
        nc = await fast(server.url, **gate.keywords())
        caller = await fast(server.url)
        service = await late.serve(nc)
        await late.ask(caller, 3)
    await gate.lost.wait()
    late.go.set()
    await ended(service, 3)
    await service.stop()
    with caplog.at_level(logging.ERROR):
        await nc.close()
    assert "3 messages are lost with the connection" in caplog.messages


async def test_answer_after_the_close_is_counted_as_lost(
    connect: Connect, server: NatsServer
) -> None:
    late = Late()
    nc, caller = await connect(server.url), await connect(server.url)
    service = await late.serve(nc)
    await late.ask(caller, 1)
    await nc.close()
    late.go.set()
    await ended(service, 1)
    stats = service.stats().endpoints[0]
    await service.stop()
    assert (stats.num_errors, stats.last_error) == (1, "500:answer lost: nats: connection closed")


# -- servers that do not behave


class Server:
    """A server of a few lines, to do what a real one does not: stop reading, or reset."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.received = 0
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[Any]] = []
        self._server: asyncio.Server

    @property
    def writer(self) -> asyncio.StreamWriter:
        return self._writers[-1]

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reading.set()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._serving)
        self._server.close()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        writer.write(b'INFO {"max_payload":1048576,"headers":true,"version":"2.11.0"}\r\n')
        with contextlib.suppress(OSError):
            while True:
                await self.reading.wait()
                data = await reader.read(65536)
                if not data:
                    break
                self.received += len(data)
                for _ in range(data.count(b"PING\r\n")):
                    writer.write(b"PONG\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_server_that_stops_reading_fills_no_memory_and_may_go_on(fast: Connect) -> None:
    """16 MiB of requests whose answers nobody takes: reading stops with what fits."""
    answered = 0
    data = b"x" * 65536
    request = b"MSG big 1 answers %d\r\n%b\r\n" % (len(data), data)

    def sink(messages: list[Message]) -> None:
        nonlocal answered
        for _, reply, data, _ in messages:
            answered += 1
            transport.reply(reply, data)

    async with Server() as server:
        nc = await fast(server.url)
        found = fast_transport.fast(nc)
        assert found is not None
        transport = found
        subscription = await transport.subscribe("big", "", sink)
        assert nats_py.sid(subscription) == 1
        await nc.flush()
        server.reading.clear()
        sending = asyncio.create_task(_send(server.writer, request, 256))
        before = -1
        while before != answered or answered == 0:
            before = answered
            await asyncio.sleep(0.3)
        assert answered < 200
        server.reading.set()
        await sending
        async with asyncio.timeout(30):
            while server.received < 256 * 65536:
                await asyncio.sleep(0.01)
        assert answered == 256
        await nc.close()


async def _send(writer: asyncio.StreamWriter, data: bytes, count: int) -> None:
    for _ in range(count):
        writer.write(data)
        await writer.drain()


async def test_half_open_connection_with_unsent_data_is_left(fast: Connect) -> None:
    async with Server() as server:
        nc = await fast(server.url, ping_interval=0.1, max_outstanding_pings=1, **EAGER)
        await nc.flush()
        transport = fast_transport.fast(nc)
        assert transport is not None
        server.reading.clear()
        for _ in range(16):
            transport.publish("a", b"x" * 1_000_000)
        async with asyncio.timeout(30):
            while server.connections < 2:
                await asyncio.sleep(0.05)
        server.reading.set()
        async with asyncio.timeout(30):
            while not nc.is_connected:
                await asyncio.sleep(0.02)
        await nc.close()


async def test_reset_connection_is_made_again(fast: Connect) -> None:
    async with Server() as server:
        nc = await fast(server.url, **EAGER)
        server.writer.transport.abort()
        async with asyncio.timeout(30):
            while server.connections < 2 or not nc.is_connected:
                await asyncio.sleep(0.02)
        await nc.flush()
        await nc.close()


async def test_last_words_of_a_server_reach_nats_py(fast: Connect) -> None:
    """An error right behind the handshake, and the end of the connection in the same breath."""
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload":1024}\r\n')
        await reader.readuntil(b"PING\r\n")
        writer.write(b"PONG\r\n-ERR 'Permissions Violation for Subscription to \"a\"'\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    nc = await fast(f"nats://127.0.0.1:{port}", error_cb=note, allow_reconnect=False)
    async with asyncio.timeout(30):
        while not nc.is_closed:
            await asyncio.sleep(0.01)
    server.close()
    assert any("permissions violation" in error for error in errors)


async def test_connecting_ends_in_time_when_nobody_answers(fast: Connect) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises((TimeoutError, nats.errors.Error)):
        await fast(
            f"nats://127.0.0.1:{port}", connect_timeout=0.1, allow_reconnect=False, error_cb=ignore
        )
    server.close()


async def test_parked_tasks_are_shared_by_the_endpoints_of_a_service(
    connect: Connect, server: NatsServer
) -> None:
    nc = await connect(server.url)
    async with micro.add_service(nc, "shared", "1.0.0") as service:
        client = micro.Client(nc)
        for i in range(30):
            await service.add_endpoint(f"e{i}", echo, subject=f"shared.{i}")
            await client.request(f"shared.{i}")
        tasks = [task for task in asyncio.all_tasks() if TaskPool.__name__ in repr(task.get_coro())]
    assert len(tasks) == 1


def test_fast_path_works_on_uvloop(server: NatsServer) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not made for this platform")

    async def handler(request: Request) -> None:
        async with asyncio.timeout(20):
            await asyncio.sleep(0.001 if request.data() == b"wait" else 0)
        await request.respond(request.data())

    async def main() -> list[bytes]:
        async with connections("fast") as connect:
            nc = await connect(server.url)
            async with micro.add_service(nc, "uv", "1.0.0") as service:
                await service.add_endpoint("uv", handler, subject="uv")
                client = micro.Client(nc)
                payloads = [b"wait", b"", b"x" * 300_000] * 30
                answers = await asyncio.gather(
                    *(client.request("uv", data, timeout=20) for data in payloads)
                )
                return [answer.data for answer in answers]

    assert uvloop.run(main()) == [b"wait", b"", b"x" * 300_000] * 30
