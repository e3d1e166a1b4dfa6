"""One endpoint on a real server: how it stops alone, and its limits."""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, ServiceError
from micro._wire.fence import fence

LONG = 60.0


async def arrived(caller: NatsClient, nc: NatsClient) -> None:
    """Return when everything that the one has sent has reached the other."""
    await asyncio.sleep(0)  # tasks of a moment ago send first
    await fence(caller)
    await fence(nc)


class Gate:
    """A handler that waits for the test."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.order: list[bytes] = []
        self.entered: asyncio.Queue[bytes] = asyncio.Queue()
        self.release = asyncio.Event()

    async def __call__(self, request: Request) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.put_nowait(request.data())
        await self.release.wait()
        self.running -= 1
        self.order.append(request.data())
        await request.respond(request.data())


async def test_stopped_endpoint_leaves_info_and_finishes(
    nc: NatsClient, caller: NatsClient
) -> None:
    gate = Gate()
    async with micro.add_service(nc, "one-stops", "1.0.0") as service:
        endpoint = await service.add_endpoint("gone", gate, subject="one-stops.gone")
        await service.add_endpoint("stays", gate, subject="one-stops.stays")
        answer = asyncio.create_task(caller.request("one-stops.gone", b"x", timeout=LONG))
        await gate.entered.get()
        stopping = asyncio.create_task(endpoint.stop())
        await asyncio.sleep(0)
        assert [e.name for e in service.info().endpoints] == ["stays"]
        assert not stopping.done()
        gate.release.set()
        assert (await answer).data == b"x"
        await stopping
        await endpoint.stop()
        with pytest.raises(nats.errors.NoRespondersError):
            await caller.request("one-stops.gone")
        assert (await caller.request("one-stops.stays", b"y", timeout=LONG)).data == b"y"
        again = await service.add_endpoint("gone", gate, subject="one-stops.gone")
        assert again is not endpoint
        assert (await caller.request("one-stops.gone", b"z", timeout=LONG)).data == b"z"


async def test_endpoint_stops_from_its_own_handlers(nc: NatsClient, caller: NatsClient) -> None:
    """Two requests of one endpoint stop it at the same time."""
    both = asyncio.Barrier(2)

    async def handler(request: Request) -> None:
        await both.wait()
        await endpoint.stop()
        await request.respond(b"stopped")

    async with micro.add_service(nc, "own-stop", "1.0.0") as service:
        endpoint = await service.add_endpoint("e", handler, subject="own-stop.e")
        async with asyncio.timeout(15):  # far below the 30 s of the drain
            answers = await asyncio.gather(
                *(caller.request("own-stop.e", timeout=LONG) for _ in range(2))
            )
        assert [answer.data for answer in answers] == [b"stopped"] * 2
        assert service.info().endpoints == []


async def test_stop_of_an_endpoint_is_bounded(nc: NatsClient, caller: NatsClient) -> None:
    gate = Gate()
    async with micro.add_service(nc, "bounded-one", "1.0.0") as service:
        endpoint = await service.add_endpoint("e", gate, subject="bounded-one.e", max_in_flight=1)
        client = micro.Client(caller)
        running = asyncio.create_task(client.request("bounded-one.e", timeout=LONG))
        await gate.entered.get()
        waiting = asyncio.create_task(client.request("bounded-one.e", timeout=LONG))
        await arrived(caller, nc)
        await endpoint.stop(timeout=0.2)
        for asking in (running, waiting):
            with pytest.raises(ServiceError) as caught:
                await asking
            assert (caught.value.code, caught.value.description) == (503, "service stopped")


async def test_requests_run_side_by_side_up_to_the_limit(
    nc: NatsClient, caller: NatsClient
) -> None:
    gate = Gate()
    async with micro.add_service(nc, "side", "1.0.0") as service:
        await service.add_endpoint("e", gate, subject="side.e", max_in_flight=3)
        asking = [
            asyncio.create_task(caller.request("side.e", b"%d" % number, timeout=LONG))
            for number in range(7)
        ]
        for _ in range(3):
            await gate.entered.get()
        gate.release.set()
        answers = [(await answer).data for answer in asking]
    assert gate.most == 3
    assert answers == [b"%d" % number for number in range(7)]


async def test_one_at_a_time_keeps_the_order_of_arrival(nc: NatsClient, caller: NatsClient) -> None:
    gate = Gate()
    gate.release.set()
    async with micro.add_service(nc, "ordered", "1.0.0") as service:
        await service.add_endpoint("e", gate, subject="ordered.e", max_in_flight=1)
        await asyncio.gather(
            *(caller.request("ordered.e", b"%02d" % number, timeout=LONG) for number in range(50))
        )
    assert gate.most == 1
    assert gate.order == [b"%02d" % number for number in range(50)]


@pytest.mark.parametrize(
    "limits",
    [
        {"pending_msgs_limit": 1},
        {"pending_bytes_limit": 1},
        {"pending_bytes_limit": 1, "pending_msgs_limit": 9},
    ],
)
async def test_more_than_may_wait_is_refused_at_once(
    nc: NatsClient, caller: NatsClient, limits: dict[str, Any]
) -> None:
    gate = Gate()
    client = micro.Client(caller)
    async with micro.add_service(nc, "full", "1.0.0") as service:
        await service.add_endpoint("e", gate, subject="full.e", max_in_flight=1, **limits)
        running = asyncio.create_task(client.request("full.e", b"1", timeout=LONG))
        await gate.entered.get()
        waiting = asyncio.create_task(client.request("full.e", b"2", timeout=LONG))
        await arrived(caller, nc)
        with pytest.raises(ServiceError) as caught:
            await client.request("full.e", b"3", timeout=LONG)
        gate.release.set()
        assert ((await running).data, (await waiting).data) == (b"1", b"2")
        (stats,) = service.stats().endpoints
    assert (caught.value.code, caught.value.description) == (503, "overloaded")
    assert caught.value.headers == {"Retry-After": "1"}
    assert (stats.num_requests, stats.num_errors) == (3, 1)
    assert stats.last_error == "503:overloaded"


async def test_refused_request_without_reply_is_only_counted(
    nc: NatsClient, caller: NatsClient
) -> None:
    gate = Gate()
    async with micro.add_service(nc, "refused", "1.0.0") as service:
        await service.add_endpoint(
            "e", gate, subject="refused.e", max_in_flight=1, pending_msgs_limit=0
        )
        running = asyncio.create_task(caller.request("refused.e", timeout=LONG))
        await gate.entered.get()
        await caller.publish("refused.e")
        with pytest.raises(ServiceError):
            await micro.Client(caller).request("refused.e", timeout=LONG)
        gate.release.set()
        await running
        (stats,) = service.stats().endpoints
    assert (stats.num_requests, stats.num_errors) == (3, 2)


async def test_service_that_stops_waits_for_an_endpoint_that_is_stopping(
    nc: NatsClient, caller: NatsClient
) -> None:
    gate = Gate()
    async with micro.add_service(nc, "both-stop", "1.0.0") as service:
        endpoint = await service.add_endpoint("e", gate, subject="both-stop.e")
        asking = asyncio.create_task(caller.request("both-stop.e", b"x", timeout=LONG))
        await gate.entered.get()
        one = asyncio.create_task(endpoint.stop())
        await asyncio.sleep(0)
        assert service.info().endpoints == []
        two = asyncio.create_task(service.stop())
        await arrived(caller, nc)
        assert not one.done()
        assert not two.done()
        gate.release.set()
        answer = await asking
        await asyncio.gather(one, two)
    assert (answer.data, answer.headers) == (b"x", None)


async def test_serial_endpoint_stops_from_its_handler_with_requests_waiting(
    nc: NatsClient, caller: NatsClient
) -> None:
    entered = asyncio.Event()

    async def handler(request: Request) -> None:
        if not entered.is_set():
            entered.set()
            await arrived(caller, nc)
            await endpoint.stop()
        await request.respond(request.data())

    async with micro.add_service(nc, "serial-stop", "1.0.0") as service:
        endpoint = await service.add_endpoint(
            "e", handler, subject="serial-stop.e", max_in_flight=1
        )
        async with asyncio.timeout(15):  # far below the 30 s of the drain
            answers = await asyncio.gather(
                *(caller.request("serial-stop.e", b"%d" % n, timeout=LONG) for n in range(3))
            )
    assert [answer.data for answer in answers] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_error_of_a_dependency_is_not_that_of_the_service(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture, wrapped: bool
) -> None:
    client = micro.Client(nc)

    async def inner(request: Request) -> None:
        raise micro.ServiceError(404, "secret text", data=b"secret")

    async def outer(request: Request) -> None:
        await client.request("inner")

    async def translating(request: Request) -> None:
        try:
            await client.request("inner")
        except micro.RemoteServiceError as error:
            raise micro.ServiceError(error.code, "no such thing") from error

    async def plain(request: Request, following: micro.NextHandler) -> micro.Response:
        return await following(request)

    middlewares = [plain] if wrapped else []
    async with micro.add_service(nc, "outer", "1.0.0", middlewares=middlewares) as service:
        await service.add_endpoint("inner", inner)
        await service.add_endpoint("outer", outer)
        await service.add_endpoint("translating", translating)
        passed = await caller.request("outer")
        translated = await caller.request("translating")

    assert (passed.data, passed.headers) == (
        b"",
        {"Nats-Service-Error": "dependency failed", "Nats-Service-Error-Code": "502"},
    )
    assert translated.headers == {
        "Nats-Service-Error": "no such thing",
        "Nats-Service-Error-Code": "404",
    }
    (record,) = [record for record in caplog.records if record.name == "micro.requests"]
    assert "service error 404: secret text (from 'inner')" in record.getMessage()
