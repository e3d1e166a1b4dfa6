"""What a handler may do with its task, its context and its time; the same on both paths."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

import micro
from micro import Request
from micro._endpoint.task_pool import PooledTask, Suspended, TaskPool
from micro._handlers.nats_request import NatsRequest
from micro._wire.stepping import go_on
from micro.testing import NatsServer

from ..path_kit import PATHS, connections

VARIABLE: contextvars.ContextVar[bytes | None] = contextvars.ContextVar("v", default=None)


class Kit:
    """A service with one handler, and somebody to ask it."""

    def __init__(self, nc: NatsClient, caller: NatsClient, service: micro.Service) -> None:
        self.nc = nc
        self.service = service
        self._client = micro.Client(caller)
        self._count = 0

    async def ask(self, handler: Callable[[Request], Any], *payloads: bytes) -> list[bytes]:
        """Return the answers to payloads sent one after the other, each when the former has one."""
        self._count += 1
        name = f"e{self._count}"
        await self.service.add_endpoint(name, handler, subject=f"parked.{name}")
        asked = payloads if payloads else (b"",)
        return [(await self._client.request(f"parked.{name}", p, timeout=20)).data for p in asked]

    async def ask_at_once(
        self, handler: micro.Handler, count: int, max_in_flight: int = 512
    ) -> list[bytes]:
        self._count += 1
        name = f"e{self._count}"
        await self.service.add_endpoint(
            name,
            handler,
            subject=f"parked.{name}",
            max_in_flight=max_in_flight,
            pending_msgs_limit=999,
        )
        requests = (
            self._client.request(f"parked.{name}", b"%d" % i, timeout=20) for i in range(count)
        )
        return [answer.data for answer in await asyncio.gather(*requests)]


@pytest.fixture(params=PATHS)
async def kit(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[Kit]:
    async with connections(request.param) as connect:
        nc, caller = await connect(server.url), await connect(server.url)
        async with micro.add_service(nc, "parked", "1.0.0") as service:
            yield Kit(nc, caller, service)


async def test_current_task_is_real_and_stays_the_same(kit: Kit) -> None:
    others = asyncio.all_tasks()

    async def handler(request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task not in others
        assert task in asyncio.all_tasks()
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is task
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        await request.respond(b"same")

    assert await kit.ask(handler, b"1", b"2") == [b"same"] * 2


async def test_concurrent_requests_have_tasks_of_their_own(kit: Kit) -> None:
    tasks: set[int] = set()
    together = asyncio.Barrier(5)

    async def handler(request: Request) -> None:
        tasks.add(id(asyncio.current_task()))
        await together.wait()
        await request.respond(request.data())

    answers = await kit.ask_at_once(handler, 5)
    assert sorted(answers) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(tasks) == 5


@pytest.mark.parametrize("limit", [0, 0.02])
async def test_timeout_ends_the_wait(kit: Kit, limit: float) -> None:
    async def handler(request: Request) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(limit):
                await asyncio.sleep(60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), limit)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await request.respond(b"timed out")

    assert await kit.ask(handler, b"1", b"2") == [b"timed out"] * 2


async def test_timeout_in_the_first_step_cancels_what_is_waited_for(kit: Kit) -> None:
    cancelled: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("child")
            raise

    async def handler(request: Request) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.gather(child(), child())
        await asyncio.sleep(0)
        await request.respond(b"%d" % len(cancelled))

    assert await kit.ask(handler) in ([b"0"], [b"2"])  # 0 where the children have not begun
    assert not [task for task in asyncio.all_tasks() if "child" in repr(task.get_coro())]


async def test_task_group_and_cancel_scope(kit: Kit) -> None:
    async def handler(request: Request) -> None:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(asyncio.sleep(0.001, b"a"))
            two = group.create_task(asyncio.sleep(0.001, b"b"))
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(60)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0.001)
        with anyio.CancelScope() as inner:
            inner.cancel()
            await anyio.sleep(60)
        assert scope.cancelled_caught
        assert inner.cancelled_caught
        await request.respond(one.result() + two.result())

    assert await kit.ask(handler, b"1", b"2", b"3") == [b"ab"] * 3


@pytest.mark.parametrize("suspends", [False, True])
async def test_context_variables_are_isolated(kit: Kit, suspends: bool) -> None:
    VARIABLE.set(b"of the test")

    async def handler(request: Request) -> None:
        before = VARIABLE.get()
        VARIABLE.set(request.data())
        if suspends:
            await asyncio.sleep(0.001)
        assert VARIABLE.get() == request.data()
        await request.respond(repr(before).encode())

    # The service was started before the test set the variable.
    assert await kit.ask(handler, b"1", b"2", b"3") == [b"None"] * 3
    assert VARIABLE.get() == b"of the test"


async def test_exception_info_is_clean(kit: Kit) -> None:
    async def handler(request: Request) -> None:
        first = sys.exc_info()
        await asyncio.sleep(0)
        second = sys.exc_info()
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
        assert (first, second, sys.exc_info()) == ((None,) * 3,) * 3
        await request.respond(b"clean")

    assert await kit.ask(handler, b"1", b"2") == [b"clean"] * 2


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit])
async def test_any_exception_is_one_500_and_the_endpoint_lives(
    kit: Kit, late: bool, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request) -> None:
        if late:
            await asyncio.sleep(0.001)
        if request.data() == b"fail":
            raise error("secret")
        await request.respond(b"fine")

    with caplog.at_level(logging.CRITICAL), pytest.raises(micro.ServiceError) as caught:
        await kit.ask(handler, b"fail")
    assert (caught.value.code, caught.value.description) == (500, "internal error")
    client = micro.Client(kit.nc)
    assert (await client.request("parked.e1", b"x")).data == b"fine"
    stats = kit.service.stats().endpoints[0]
    assert (stats.num_requests, stats.num_errors) == (2, 1)


@pytest.mark.parametrize("late", [False, True])
async def test_request_that_cancels_its_own_task_is_answered(kit: Kit, late: bool) -> None:
    async def handler(request: Request) -> None:
        if late:
            await asyncio.sleep(0.001)
        task = asyncio.current_task()
        assert task is not None
        if request.data() == b"cancel":
            task.cancel()
            await asyncio.sleep(60)
        if request.data() == b"cancel and end":
            task.cancel()
        await request.respond(b"fine")

    answers = await kit.ask(handler, b"1", b"cancel and end", b"2")
    assert answers == [b"fine"] * 3
    client = micro.Client(kit.nc)
    with pytest.raises(micro.ServiceError, match="internal error"):
        await client.request("parked.e1", b"cancel")
    assert (await client.request("parked.e1", b"3")).data == b"fine"


async def test_never_more_than_the_limit_run_and_all_are_answered(kit: Kit) -> None:
    running, most = 0, 0

    async def handler(request: Request) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        await request.respond(request.data())

    answers = await kit.ask_at_once(handler, 300, max_in_flight=20)
    assert answers == [b"%d" % i for i in range(300)]
    assert most == 20


async def test_one_at_a_time_keeps_the_order(kit: Kit) -> None:
    order: list[bytes] = []

    async def handler(request: Request) -> None:
        order.append(request.data())
        if int(request.data()) % 3 == 0:
            await asyncio.sleep(0.001)
        order.append(request.data())
        await request.respond(b"")

    await kit.ask_at_once(handler, 60, max_in_flight=1)
    assert order == [b"%d" % (i // 2) for i in range(120)]


async def test_overload_is_refused_at_once_and_order_returns(kit: Kit) -> None:
    go = asyncio.Event()

    async def handler(request: Request) -> None:
        await go.wait()
        await request.respond(b"done")

    await kit.service.add_endpoint(
        "full", handler, subject="parked.full", max_in_flight=1, pending_msgs_limit=1
    )
    client = micro.Client(kit.nc)
    asked = [asyncio.create_task(client.request("parked.full", timeout=20)) for _ in range(5)]
    refused = await _finished(asked, 3)
    go.set()
    await asyncio.wait(asked)

    errors = [task.exception() for task in refused]
    assert [str(error) for error in errors] == [
        "service error 503: overloaded (from 'parked.full')"
    ] * 3
    assert sum(task.exception() is None for task in asked) == 2


async def _finished(tasks: list[asyncio.Task[Msg]], count: int) -> list[asyncio.Task[Msg]]:
    while sum(task.done() for task in tasks) < count:
        pending = [task for task in tasks if not task.done()]
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    return [task for task in tasks if task.done()]


async def test_cheap_handler_runs_in_the_same_way(kit: Kit) -> None:
    @micro.cheap
    def handler(request: Request) -> None:
        assert asyncio.current_task() is not None
        before = VARIABLE.get()
        VARIABLE.set(b"x")
        if request.data() == b"fail":
            raise ValueError("secret")
        request.respond(repr(before).encode())

    assert await kit.ask(handler, b"1", b"2") == [b"None"] * 2
    with pytest.raises(micro.ServiceError, match="internal error"):
        await micro.Client(kit.nc).request("parked.e1", b"fail")


async def test_stopping_leaves_no_task(kit: Kit) -> None:
    with pytest.raises(nats.errors.NoRespondersError):
        await micro.Client(kit.nc).request("nobody")  # opens the inbox, which stays
    before = asyncio.all_tasks()
    go = asyncio.Event()

    async def handler(request: Request) -> None:
        await go.wait()
        await request.respond(b"")

    async with micro.add_service(kit.nc, "brief", "1.0.0") as service:
        await service.add_endpoint("brief", handler, subject="parked.brief")
        client = micro.Client(kit.nc)
        asked = [asyncio.create_task(client.request("parked.brief", timeout=20)) for _ in range(99)]
        await kit.nc.flush()
        asyncio.get_running_loop().call_later(0.05, go.set)
    await asyncio.gather(*asked)

    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def test_debug_mode_finds_nothing_to_complain_about(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    try:

        async def handler(request: Request) -> None:
            await asyncio.sleep(0.001)
            await request.respond(b"fine")

        with caplog.at_level(logging.WARNING):
            assert await kit.ask(handler, b"1", b"2") == [b"fine"] * 2
    finally:
        loop.set_debug(False)
    assert caplog.records == []


async def test_task_cancelled_before_it_began_hands_its_request_on() -> None:
    """The very first step of the very first task: nothing has run it yet."""
    ended: list[str] = []

    class Owner:
        def start(self, task: PooledTask, requests: Iterable[NatsRequest]) -> Suspended | None:
            (request,) = requests
            steps = self.handle()
            return Suspended(self, request, 0, steps, steps.send(None))

        async def handle(self) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")

        async def resume(self, suspended: Suspended, cancelled: BaseException | None) -> None:
            await go_on(suspended.steps, suspended.waits_for, cancelled)
            ended.append("answered")

        def until(self, request: NatsRequest) -> None:
            return None

        def close(self) -> None:
            ended.append("released")
            done.set()

    pool, done = TaskPool(), asyncio.Event()
    request = NatsRequest(b"a", b"", b"", None)
    asyncio.get_running_loop().call_soon(pool.run, Owner(), iter([request]))
    await done.wait()
    await pool.close()

    assert ended == ["cancelled", "answered", "released"]
