"""Whatever a handler does, its caller gets one answer, and it is counted."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import Request, ServiceError
from micro._wire.fence import fence

LONG = 60.0


async def raises(request: Request) -> None:
    raise KeyError("secret detail")


async def raises_exit(request: Request) -> None:
    raise SystemExit(3)


async def cancelled(request: Request) -> None:
    other = asyncio.ensure_future(asyncio.sleep(3600))
    other.cancel()
    await other


async def silent(request: Request) -> None:
    return


async def wrong_type(request: Request) -> None:
    await request.respond("text")  # type: ignore[arg-type]  # wrong on purpose


async def bad_header_value(request: Request) -> None:
    await request.respond(b"", {"X": "a\r\nInjected: 1"})


async def bad_header_name(request: Request) -> None:
    await request.respond(b"", {"a b": "1"})


async def too_large(request: Request) -> None:
    await request.respond(b"x" * (1024 * 1024 + 1))


async def too_large_with_headers(request: Request) -> None:
    await request.respond(b"x" * (1024 * 1024 - 10), {"X": "1"})


async def too_large_error(request: Request) -> None:
    raise ServiceError(404, "gone", data=b"x" * (1024 * 1024))


async def twice(request: Request) -> None:
    await request.respond(b"first")
    await request.respond(b"second")


async def responds_then_raises(request: Request) -> None:
    await request.respond(b"first")
    raise KeyError("secret detail")


async def responds_then_refuses(request: Request) -> None:
    await request.respond(b"first")
    raise ServiceError(409, "taken")


async def surrogate_in_description(request: Request) -> None:
    raise ServiceError(404, "no \ud800 here")


async def surrogate_in_header(request: Request) -> None:
    await request.respond(b"", {"X": "\ud800"})


async def text_as_error_data(request: Request) -> None:
    raise ServiceError(404, "gone", data="text")  # type: ignore[arg-type]  # wrong on purpose


INTERNAL = (500, "internal error")


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (raises, INTERNAL),
        (raises_exit, INTERNAL),
        (cancelled, INTERNAL),
        (silent, (500, "handler did not respond")),
        (wrong_type, INTERNAL),
        (bad_header_value, INTERNAL),
        (bad_header_name, INTERNAL),
        (too_large, INTERNAL),
        (too_large_with_headers, INTERNAL),
        (too_large_error, INTERNAL),
        (responds_then_refuses, (409, "taken")),
        (surrogate_in_description, (404, "no ? here")),
        (surrogate_in_header, INTERNAL),
        (text_as_error_data, INTERNAL),
    ],
)
async def test_failure_is_one_error_answer(
    nc: NatsClient,
    caller: NatsClient,
    caplog: pytest.LogCaptureFixture,
    handler: Any,
    error: tuple[int, str],
) -> None:
    """The same request again finds the endpoint alive."""
    client = micro.Client(caller)
    async with micro.add_service(nc, "failing", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="failing.e")
        for _ in range(2):
            with pytest.raises(ServiceError) as caught:
                await client.request("failing.e", timeout=LONG)
            assert (caught.value.code, caught.value.description) == error
            assert caught.value.data == b""
        (stats,) = service.stats().endpoints
    assert stats.num_requests == 2
    assert stats.num_errors >= 2
    assert stats.last_error == f"{error[0]}:{error[1]}"
    if error[0] == 500:
        assert "failing/e: " in caplog.text


async def passes(request: Request, next: micro.NextHandler) -> micro.Response:
    return await next(request)


@pytest.mark.parametrize("middlewares", [[], [passes]], ids=["bare", "wrapped"])
@pytest.mark.parametrize("handler", [twice, responds_then_raises])
async def test_first_answer_stands_and_the_failure_is_counted(
    nc: NatsClient,
    caller: NatsClient,
    caplog: pytest.LogCaptureFixture,
    handler: Any,
    middlewares: list[micro.Middleware],
) -> None:
    async with micro.add_service(nc, "first", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="first.e", middlewares=middlewares)
        async with micro.Client(caller).request_many(
            "first.e", until=micro.Until(max_wait=LONG, max_interval=0.2)
        ) as replies:
            answers = [(message.data, message.headers) async for message in replies]
        (stats,) = service.stats().endpoints
    assert answers == [(b"first", None)]
    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert stats.last_error == "500:internal error"
    assert "handler of 'first.e' failed" in caplog.text


@pytest.mark.parametrize("middlewares", [[], [passes]], ids=["bare", "wrapped"])
async def test_an_error_before_an_exception_is_counted_as_the_caller_was_told(
    nc: NatsClient, caller: NatsClient, middlewares: list[micro.Middleware]
) -> None:
    async def handler(request: Request) -> None:
        await request.respond_error(400, "no number")
        raise KeyError("later")

    async with micro.add_service(nc, "told", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="told.e", middlewares=middlewares)
        with pytest.raises(ServiceError) as caught:
            await micro.Client(caller).request("told.e", timeout=LONG)
        (stats,) = service.stats().endpoints
    assert caught.value.code == 400
    assert (stats.num_errors, stats.last_error) == (1, "400:no number")
    assert stats.data["micro"]["errors"] == {"400": 1}


async def forgets(request: Request, next: micro.NextHandler) -> Any:
    await next(request)


async def answers_text(request: Request, next: micro.NextHandler) -> Any:
    return "text"


async def sets_text(request: Request, next: micro.NextHandler) -> micro.Response:
    response = await next(request)
    response.set_data("text")  # type: ignore[arg-type]  # wrong on purpose
    return response


async def raises_behind(request: Request, next: micro.NextHandler) -> micro.Response:
    await next(request)
    raise KeyError("of the middleware")


@pytest.mark.parametrize("middleware", [forgets, answers_text, sets_text, raises_behind])
async def test_mistake_of_a_middleware_is_one_error_answer(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture, middleware: Any
) -> None:
    async def handler(request: Request) -> None:
        await request.respond(b"not for the caller as it is")

    async with micro.add_service(nc, "mistaken", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="mistaken.e", middlewares=[middleware])
        with pytest.raises(ServiceError) as caught:
            await micro.Client(caller).request("mistaken.e", timeout=LONG)
        (stats,) = service.stats().endpoints
    assert (caught.value.code, caught.value.description) == INTERNAL
    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert "mistaken/e: " in caplog.text


async def test_request_without_reply_is_run_and_counted(nc: NatsClient, caller: NatsClient) -> None:
    seen: list[bytes] = []

    async def handler(request: Request) -> None:
        seen.append(request.data())
        if request.data() == b"raise":
            raise ServiceError(400, "bad")
        if request.data() == b"respond":
            await request.respond(b"nobody hears")

    async with micro.add_service(nc, "one-way", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="one-way.e", max_in_flight=1)
        for data in (b"silent", b"respond", b"raise"):
            await caller.publish("one-way.e", data)
        await caller.request("one-way.e", b"silent", timeout=LONG)
        (stats,) = service.stats().endpoints
    assert seen == [b"silent", b"respond", b"raise", b"silent"]
    assert (stats.num_requests, stats.num_errors) == (4, 2)


async def test_lost_answer_is_counted_and_logged(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        entered.set()
        await release.wait()
        await request.respond(b"too late")

    service = micro.add_service(nc, "lost", "1.0.0")
    await service.start()
    await service.add_endpoint("e", handler, subject="lost.e")
    await caller.publish("lost.e", reply="nobody")
    await entered.wait()
    await nc.close()
    release.set()
    await service.stop()
    (stats,) = service.stats().endpoints
    assert (stats.num_requests, stats.num_errors) == (1, 1)
    assert stats.last_error.startswith("500:answer lost: ")
    assert "lost/e: answer to 'lost.e' is lost: " in caplog.text


async def test_headers_of_the_request_are_not_echoed(nc: NatsClient, caller: NatsClient) -> None:
    async def handler(request: Request) -> None:
        await request.respond(b"")

    async with micro.add_service(nc, "quiet-headers", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="quiet-headers.e")
        answer = await caller.request("quiet-headers.e", headers={"X-Trace": "1"})
    assert not answer.headers


async def test_stuck_handler_blocks_nobody(nc: NatsClient, caller: NatsClient) -> None:
    entered = asyncio.Event()

    async def handler(request: Request) -> None:
        if request.data() == b"stuck":
            entered.set()
            await asyncio.Event().wait()
        await request.respond(request.data())

    client = micro.Client(caller)
    async with micro.add_service(nc, "stuck", "1.0.0") as service:
        endpoint = await service.add_endpoint("e", handler, subject="stuck.e")
        stuck = asyncio.create_task(client.request("stuck.e", b"stuck", timeout=LONG))
        await entered.wait()
        answers = [await client.request("stuck.e", b"%d" % n, timeout=LONG) for n in range(20)]
        assert [answer.data for answer in answers] == [b"%d" % n for n in range(20)]
        await endpoint.stop(timeout=0)
        with pytest.raises(ServiceError, match="service stopped"):
            await stuck


async def test_handler_that_ignores_cancellation_does_not_keep_stop_from_ending(
    nc: NatsClient, caller: NatsClient, caplog: pytest.LogCaptureFixture
) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def stubborn(request: Request) -> None:
        entered.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        await request.respond(b"in the end")

    async with micro.add_service(nc, "stubborn", "1.0.0") as service:
        endpoint = await service.add_endpoint("e", stubborn, subject="stubborn.e")
        asking = asyncio.create_task(caller.request("stubborn.e", timeout=LONG))
        await entered.wait()
        await endpoint.stop(timeout=0)
        assert "stubborn/e: 1 handlers ignore cancellation" in caplog.text
        release.set()
        assert (await asking).data == b"in the end"


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_context_variables_of_a_request_do_not_reach_the_next(
    nc: NatsClient, caller: NatsClient
) -> None:
    async def handler(request: Request) -> None:
        before = variable.get()
        variable.set(request.data().decode())
        await asyncio.sleep(0)
        await request.respond(f"{before} {variable.get()}".encode())

    variable.set("of the service")
    async with micro.add_service(nc, "variables", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="variables.e", max_in_flight=2)
        answers = await asyncio.gather(
            *(caller.request("variables.e", b"%d" % n, timeout=LONG) for n in range(10))
        )
    assert [answer.data.decode() for answer in answers] == [
        f"of the service {n}" for n in range(10)
    ]


@pytest.mark.parametrize(
    "work", [lambda: asyncio.sleep(0), lambda: asyncio.sleep(0.001)], ids=["turn", "sleep"]
)
async def test_many_at_once_are_all_answered(
    nc: NatsClient, caller: NatsClient, work: Callable[[], Awaitable[None]]
) -> None:
    async def handler(request: Request) -> None:
        await work()
        await request.respond(request.data())

    async with micro.add_service(nc, "many-at-once", "1.0.0") as service:
        await service.add_endpoint("e", handler, subject="many-at-once.e")
        answers = await asyncio.gather(
            *(caller.request("many-at-once.e", b"%d" % n, timeout=LONG) for n in range(400))
        )
        await fence(nc)
        (stats,) = service.stats().endpoints
    assert [answer.data for answer in answers] == [b"%d" % n for n in range(400)]
    assert (stats.num_requests, stats.num_errors) == (400, 0)
