"""A caller says how long it waits; nobody works longer than that for it, on either path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, ServiceError
from micro._handlers.nats_request import NatsRequest
from micro._protocol import deadline as _deadline
from micro._protocol.headers import header_block
from micro._wire.fence import fence
from micro.testing import NatsServer

from ..path_kit import PATHS, connections

LONG = 60.0
SHORT = 0.2


@pytest.fixture(params=PATHS)
async def nc(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[NatsClient]:
    """Connect the part under test by each path in turn."""
    async with connections(request.param) as connect:
        yield await connect(server.url)


@pytest.fixture
async def service(nc: NatsClient) -> AsyncIterator[micro.Service]:
    async with micro.add_service(nc, "clock", "1.0.0") as service:
        yield service


async def ask(
    caller: NatsClient, subject: str, header: str | None = None
) -> tuple[bytes, dict[str, str]]:
    """Ask without our own client, and wait for much longer than the header says."""
    headers = None if header is None else {_deadline.HEADER: header}
    answer = await caller.request(subject, b"", timeout=LONG, headers=headers)
    return answer.data, answer.headers or {}


def is_504(headers: dict[str, str]) -> bool:
    wanted = {"Nats-Service-Error": "deadline exceeded", "Nats-Service-Error-Code": "504"}
    return headers == wanted


def own(service: micro.Service, name: str) -> dict[str, Any]:
    """Return what the framework itself says in the data of an endpoint."""
    (found,) = (one for one in service.stats().endpoints if one.name == name)
    assert isinstance(found.data, dict)
    micro_data = found.data["micro"]
    assert isinstance(micro_data, dict)
    return micro_data


@pytest.mark.parametrize(("timeout", "sent"), [(1.5, "1500"), (0.0299, "29"), (3600, "3600000")])
async def test_a_client_says_how_long_it_waits(
    nc: NatsClient, caller: NatsClient, timeout: float, sent: str
) -> None:
    subscription = await caller.subscribe("deadline.told")
    await fence(caller)

    asked = asyncio.create_task(
        micro.Client(nc).request("deadline.told", b"x", {"A": "b"}, timeout=timeout)
    )
    told = await subscription.next_msg(timeout=LONG)
    asked.cancel()
    await asyncio.wait({asked})
    await subscription.unsubscribe()

    assert told.headers == {"A": "b", "Micro-Timeout-Ms": sent}


async def test_a_request_that_is_expired_when_admitted_is_not_run(
    service: micro.Service, caller: NatsClient
) -> None:
    ran: list[str] = []

    async def note(request: Request) -> None:
        ran.append(request.subject())
        await request.respond(b"")

    await service.add_endpoint("note", note)

    _, headers = await ask(caller, "note", "0")

    assert is_504(headers)
    assert ran == []
    stats = own(service, "note")
    assert (stats["expired"], stats["errors"]) == (1, {"504": 1})


async def test_a_request_that_expires_while_it_waits_for_a_slot_is_not_run(
    service: micro.Service, caller: NatsClient
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    ran: list[bytes] = []

    async def one_by_one(request: Request) -> None:
        ran.append(request.data())
        entered.set()
        await go_on.wait()
        await request.respond(b"done")

    await service.add_endpoint("single", one_by_one, max_in_flight=1)

    first = asyncio.create_task(ask(caller, "single"))
    await entered.wait()
    second = asyncio.create_task(ask(caller, "single", "1"))
    while own(service, "single")["queued"] < 1:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)  # the time of the second is over
    go_on.set()

    assert (await first)[0] == b"done"
    assert is_504((await second)[1])
    assert len(ran) == 1


async def test_a_handler_is_cancelled_at_the_deadline(
    service: micro.Service, caller: NatsClient
) -> None:
    cancelled = asyncio.Event()

    async def slow(request: Request) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await service.add_endpoint("slow", slow)

    _, headers = await ask(caller, "slow", str(int(SHORT * 1000)))

    assert is_504(headers)
    assert cancelled.is_set()
    stats = service.stats().endpoints[0]
    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert stats.last_error == "504:deadline exceeded"
    assert own(service, "slow")["expired"] == 1


async def test_a_handler_has_a_time_limit_of_its_own(
    service: micro.Service, caller: NatsClient
) -> None:
    async def slow(request: Request) -> None:
        await asyncio.sleep(LONG)

    await service.add_endpoint("slow", slow, timeout=SHORT)

    for header in (None, str(int(LONG * 1000))):
        assert is_504((await ask(caller, "slow", header))[1])
    assert own(service, "slow")["expired"] == 2


async def test_the_answer_given_before_the_deadline_stands(
    service: micro.Service, caller: NatsClient
) -> None:
    async def early(request: Request) -> None:
        await request.respond(b"early")
        await asyncio.sleep(LONG)

    await service.add_endpoint("early", early, timeout=SHORT)

    assert await ask(caller, "early") == (b"early", {})


async def test_an_endpoint_goes_on_after_deadlines(
    service: micro.Service, caller: NatsClient
) -> None:
    async def nap(request: Request) -> None:
        await asyncio.sleep(float(request.data()))
        await request.respond(b"rested")

    await service.add_endpoint("nap", nap, timeout=SHORT, max_in_flight=2)
    client = micro.Client(caller)

    late = [client.request("nap", b"60", timeout=LONG) for _ in range(5)]
    found = await asyncio.gather(*late, return_exceptions=True)

    codes = [error.code for error in found if isinstance(error, ServiceError)]
    assert len(codes) == 5
    assert codes[:2] == [504, 504]  # what ran; what waited as long as that is refused
    assert set(codes[2:]) <= {503, 504}
    assert (await client.request("nap", b"0", timeout=LONG)).data == b"rested"
    assert own(service, "nap")["in_flight"] == 0


async def test_a_handler_sees_what_remains(service: micro.Service, caller: NatsClient) -> None:
    seen: list[float | None] = []

    async def look(request: Request) -> None:
        seen.append(request.remaining())
        await request.respond(b"")

    await service.add_endpoint("look", look)

    await ask(caller, "look")
    await ask(caller, "look", "60000")

    unknown, known = seen
    assert unknown is None
    assert known is not None
    assert 1 < known <= 60


async def test_requests_of_a_handler_inherit_its_deadline(
    service: micro.Service, nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(nc)
    told: list[float | None] = []

    async def inner(request: Request) -> None:
        told.append(request.remaining())
        await request.respond(b"")

    async def outer(request: Request) -> None:
        await client.request("inner", timeout=3600)
        await asyncio.sleep(0)  # in the task that goes on with it, too
        await client.request("inner", timeout=3600)
        await asyncio.gather(*(client.request("inner", timeout=3600) for _ in range(2)))
        await client.request("inner", timeout=1)
        await request.respond(b"")

    await service.add_endpoint("inner", inner)
    await service.add_endpoint("outer", outer)

    assert await ask(caller, "outer", "60000") == (b"", {})

    *inherited, shorter = told
    assert len(inherited) == 4
    assert all(left is not None and 0 < left <= 60 for left in inherited)
    assert shorter is not None
    assert 0 < shorter <= 1


async def test_a_deadline_is_gone_after_the_request(
    service: micro.Service, nc: NatsClient, caller: NatsClient
) -> None:
    """The next request, whose caller has not said how long it waits, does not inherit it."""
    client = micro.Client(nc)
    told: list[float | None] = []

    async def inner(request: Request) -> None:
        told.append(request.remaining())
        await request.respond(b"")

    async def outer(request: Request) -> None:
        await asyncio.sleep(0)
        await client.request("inner", timeout=3600)
        await request.respond(b"")

    await service.add_endpoint("inner", inner)
    await service.add_endpoint("outer", outer)

    await ask(caller, "outer", "30000")
    await ask(caller, "outer")

    first, second = told
    assert first is not None
    assert second is not None
    assert first <= 30
    assert second > 1000


async def test_each_request_of_a_read_has_its_own_deadline(
    service: micro.Service, caller: NatsClient
) -> None:
    """Mix requests without a deadline, with a shared one, suspended, queued and dirty ones."""
    times = [None, "60000", "60000", "90000", None, "30000", None, "60000"] * 10
    seen: dict[int, list[float | None]] = {}
    left: list[asyncio.Task[None]] = []

    async def look(request: Request) -> None:
        number = int(request.data())
        found = seen[number] = [request.remaining(), inherited()]
        if number % 3 == 0:
            await asyncio.sleep(0.001)
            found.append(inherited())
        if number % 5 == 0:
            left.append(asyncio.create_task(later(found)))
        await request.respond(b"")

    async def later(found: list[float | None]) -> None:
        await asyncio.sleep(0.01)
        found.append(inherited())

    def inherited() -> float | None:
        deadline = _deadline.inherited()
        return None if deadline is None else deadline - asyncio.get_running_loop().time()

    await service.add_endpoint("look", look, max_in_flight=5, pending_msgs_limit=100)
    headers = [None if time is None else {_deadline.HEADER: time} for time in times]
    await asyncio.gather(
        *(caller.request("look", b"%d" % n, LONG, headers=headers[n]) for n in range(len(times)))
    )
    await asyncio.gather(*left)

    assert len(seen) == len(times)
    for number, found in seen.items():
        time = times[number]
        assert len(found) == 2 + (number % 3 == 0) + (number % 5 == 0)
        if number % 5 == 0:
            assert found.pop() is None  # the task has outlived its request
        for value in found:
            assert (value is None) == (time is None)
            assert value is None or time is None or 0 < int(time) / 1000 - value < 20


def test_a_remote_504_at_the_deadline_is_lateness_and_before_it_is_not() -> None:
    """The service of an inner request knows the deadline in whole milliseconds."""

    async def judge() -> list[bool]:
        request = NatsRequest(b"s", b"r", b"", None)
        now = asyncio.get_running_loop().time()
        late = micro.RemoteServiceError(504, "deadline exceeded")
        judged = [request.is_late(late)]
        for left in (LONG, 0.0):
            request.deadline = now + left
            judged += [request.is_late(late), request.is_late(micro.RemoteServiceError(500, "x"))]
        return judged

    assert asyncio.run(judge()) == [False, False, False, True, False]


async def test_a_request_of_a_handler_that_is_late_ends_in_504(
    service: micro.Service, nc: NatsClient, caller: NatsClient
) -> None:
    """The handler raises the inherited time-out of its inner request; that is no failure."""
    client = micro.Client(nc)

    async def silent(request: Request) -> None:
        await asyncio.sleep(LONG)

    async def outer(request: Request) -> None:
        await client.request("silent", timeout=3600)

    await service.add_endpoint("silent", silent)
    await service.add_endpoint("outer", outer)

    assert is_504((await ask(caller, "outer", str(int(SHORT * 1000))))[1])


async def test_a_client_without_time_left_does_not_ask(nc: NatsClient) -> None:
    late = NatsRequest(b"a", b"", b"", None)
    late.deadline = asyncio.get_running_loop().time()
    token = _deadline.current.set(late)
    try:
        with pytest.raises(nats.errors.TimeoutError):
            await micro.Client(nc).request("deadline.never", timeout=LONG)
    finally:
        _deadline.current.reset(token)


@pytest.mark.parametrize("suspends", [False, True])
async def test_work_that_outlives_its_request_has_no_deadline(
    service: micro.Service, nc: NatsClient, caller: NatsClient, suspends: bool
) -> None:
    """A task started by a handler still sends requests when the time of the caller is over."""
    client = micro.Client(nc)
    tasks: list[asyncio.Task[Any]] = []
    over = asyncio.Event()

    async def echo(request: Request) -> None:
        await request.respond(request.data())

    async def beat() -> bytes:
        await over.wait()
        return (await client.request("echo", b"beat", timeout=LONG)).data

    async def watch(request: Request) -> None:
        tasks.append(asyncio.create_task(beat()))
        if suspends:
            await asyncio.sleep(0)
        await request.respond(b"")

    await service.add_endpoint("echo", echo)
    await service.add_endpoint("watch", watch)
    for _ in range(3):
        await ask(caller, "watch", "100")
    asyncio.get_running_loop().call_later(0.2, over.set)  # when the deadlines have passed

    assert await asyncio.gather(*tasks) == [b"beat"] * 3


async def test_tasks_of_a_handler_inherit_its_deadline_while_it_runs(
    service: micro.Service, nc: NatsClient, caller: NatsClient
) -> None:
    client = micro.Client(nc)

    async def inner(request: Request) -> None:
        left = request.remaining()
        await request.respond(b"%d" % (left is not None and left <= 30))

    async def outer(request: Request) -> None:
        answers = await asyncio.gather(*(client.request("inner", timeout=LONG) for _ in range(3)))
        await request.respond(b"".join(answer.data for answer in answers))

    await service.add_endpoint("inner", inner)
    await service.add_endpoint("outer", outer)

    assert (await ask(caller, "outer", "30000"))[0] == b"111"


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "1.5", "1e3", "\N{SUPERSCRIPT TWO}", "9" * 13, "0x10", "1 2"]
)
async def test_a_header_that_is_no_number_is_ignored(
    service: micro.Service, caller: NatsClient, value: str
) -> None:
    seen: list[float | None] = []

    async def look(request: Request) -> None:
        seen.append(request.remaining())
        await request.respond(b"ok")

    await service.add_endpoint("look", look)

    assert await ask(caller, "look", value) == (b"ok", {})
    assert seen == [None]


async def test_the_data_of_an_endpoint(service: micro.Service, caller: NatsClient) -> None:
    async def count(endpoint: micro.Endpoint) -> dict[str, int]:
        return {"cached": 7}

    async def odd(request: Request) -> None:
        if request.data() == b"odd":
            raise ServiceError(418, "teapot")
        await request.respond(b"")

    await service.add_endpoint("odd", odd, stats_handler=count)

    client = micro.Client(caller)
    for data in (b"", b"odd", b"odd"):
        await asyncio.gather(client.request("odd", data, timeout=LONG), return_exceptions=True)
    stats = await client.instance("clock", service.id).stats(LONG)

    data = stats.endpoints[0].data
    quantiles = [data["micro"].pop(name) for name in ("p50_ns", "p95_ns", "p99_ns")]
    assert 0 < quantiles[0] <= quantiles[1] <= quantiles[2]
    assert sum(data["micro"].pop("durations").values()) == 3
    assert data == {
        "micro": {
            "in_flight": 0,
            "queued": 0,
            "rejected": 0,
            "expired": 0,
            "errors": {"418": 2},
        },
        "cached": 7,
    }


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"NATS/1.0\r\nMicro-Timeout-Ms: 1500\r\n\r\n", 1.5),
        (b"NATS/1.0\r\nA: b\r\nMicro-Timeout-Ms:20\r\n\r\n", 0.02),
        (b"NATS/1.0\r\nMicro-Timeout-Ms: two\r\n\r\n", None),
        (b"NATS/1.0\r\nX: Micro-Timeout-Ms: 5\r\n\r\n", None),
        (b"NATS/1.0\r\nMicro-Timeout-Ms:\r\n\r\n", None),
        (b"NATS/1.0\r\n\r\n", None),
    ],
)
def test_the_time_in_a_header_block(block: bytes, expected: float | None) -> None:
    assert _deadline.from_block(block) == expected


@pytest.mark.parametrize("milliseconds", [0, 1500, 86_400_000, -3])
def test_a_time_out_without_other_headers_has_the_usual_form(milliseconds: int) -> None:
    headers, block = _deadline.alone(milliseconds)
    assert block == header_block(headers)
    assert _deadline.from_block(block) == max(0, milliseconds) / 1000
