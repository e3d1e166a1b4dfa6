"""Handlers that misbehave: one answer to each request, and the endpoint lives on."""

from __future__ import annotations

import asyncio
from collections import Counter

import nats
import pytest
from nats.aio.msg import Msg

import micro
from micro import options
from micro.testing import NatsServer

from .kit import running

SECRET = "text of an exception"


async def raises(request: micro.Request) -> None:
    raise RuntimeError(SECRET)


async def cancelled(request: micro.Request) -> None:
    raise asyncio.CancelledError(SECRET)


async def exits(request: micro.Request) -> None:
    raise SystemExit(SECRET)


async def mute(request: micro.Request) -> None:
    return


async def twice(request: micro.Request) -> None:
    await request.respond(b"first")
    await request.respond(b"second")


async def responds_then_raises(request: micro.Request) -> None:
    await request.respond(b"first")
    raise RuntimeError(SECRET)


async def wrong_type(request: micro.Request) -> None:
    await request.respond(3)  # type: ignore[arg-type]  # the wrong type is the point


async def too_large(request: micro.Request) -> None:
    await request.respond(b"x" * 2_000_000)


async def bad_header_name(request: micro.Request) -> None:
    await request.respond(b"", {"X\r\nInjected": "y"})


async def bad_header_value(request: micro.Request) -> None:
    await request.respond(b"", {"X": "y\r\nInjected: z"})


async def hangs(request: micro.Request) -> None:
    await asyncio.Event().wait()


INTERNAL = ("500", "internal error")
HANDLERS = {
    raises: INTERNAL,
    cancelled: INTERNAL,
    exits: INTERNAL,
    mute: ("500", "handler did not respond"),
    twice: (None, None),
    responds_then_raises: (None, None),
    wrong_type: INTERNAL,
    too_large: INTERNAL,
    bad_header_name: INTERNAL,
    bad_header_value: INTERNAL,
    hangs: ("504", "deadline exceeded"),
}
ROUNDS = 3


@pytest.mark.parametrize("suspends", [False, True], ids=["at_once", "later"])
async def test_misbehaving_handlers_give_one_answer_and_live_on(
    path: str, suspends: bool, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    answers: dict[str, list[Msg]] = {handler.__name__: [] for handler in HANDLERS}

    async def pause(request: micro.Request, next: micro.NextHandler) -> micro.Response:
        await asyncio.sleep(0.001)
        return await next(request)

    async def setup(ctx: micro.Context) -> None:
        service = await ctx.add_service(
            "misbehaving", "1.0.0", middlewares=[pause] if suspends else []
        )
        group = service.add_group(f"t3.{path}.{suspends}")
        for handler in HANDLERS:
            timeout = 0.3 if handler is hangs else None
            await group.add_endpoint(handler.__name__, handler, timeout=timeout)

    async def receive(message: Msg) -> None:
        answers[message.subject.rpartition(".")[2]].append(message)

    async with running(setup, options.servers(server.url)):
        caller = await nats.connect(server.url)
        inbox = caller.new_inbox()
        await caller.subscribe(f"{inbox}.>", cb=receive)
        for _ in range(ROUNDS):
            for name in answers:
                subject = f"t3.{path}.{suspends}.{name}"
                await caller.publish(subject, b"", reply=f"{inbox}.{name}")
        async with asyncio.timeout(20):
            while min(map(len, answers.values())) < ROUNDS:
                await asyncio.sleep(0.01)
        (stats,) = await micro.Client(caller).stats("misbehaving", max_count=1, max_wait=10)
        await caller.close()

    for handler, expected in HANDLERS.items():
        given = answers[handler.__name__]
        codes = [
            (
                (m.headers or {}).get("Nats-Service-Error-Code"),
                (m.headers or {}).get("Nats-Service-Error"),
            )
            for m in given
        ]
        assert codes == [expected] * ROUNDS, handler.__name__
        assert {m.data for m in given} == {b"first" if expected[0] is None else b""}
        assert not any("Injected" in (m.headers or {}) for m in given)
        assert not any(SECRET in str(m.headers) for m in given)
        print(f"{path}: {handler.__name__}: {len(given)} of {ROUNDS}, {expected}")
    counted = Counter({e.name: e.num_errors for e in stats.endpoints})
    assert counted == Counter({handler.__name__: ROUNDS for handler in HANDLERS})
    assert {e.num_requests for e in stats.endpoints} == {ROUNDS}
    assert "t3." in caplog.text
    assert SECRET in caplog.text
