"""Middlewares around a handler: order, changes, errors, short circuits."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

import micro
from micro import Middleware, NextHandler, NoResponseError, Request, Response, ServiceError
from micro.testing import as_handler, make_request


async def echo(request: Request) -> None:
    await request.respond(request.data(), request.headers())


async def silent(request: Request) -> None:
    return


def marker(name: str) -> Middleware:
    async def mark(request: Request, next: NextHandler) -> Response:
        response = await next(request)
        response.set_data(f"{name}({response.data().decode()})".encode())
        return response

    return mark


async def answered(handler: micro.Handler, *middlewares: Middleware) -> Response:
    request = make_request("a", b"x", {"A": "1"})
    await as_handler(handler, middlewares)(request)
    return Response(request.response_data(), request.response_headers())


async def test_first_middleware_is_outermost() -> None:
    response = await answered(echo, marker("one"), marker("two"))
    assert response.data() == b"one(two(x))"


async def test_service_is_around_group_around_endpoint(nc: NatsClient, caller: NatsClient) -> None:
    async with micro.add_service(nc, "order", "1.0.0", middlewares=[marker("service")]) as service:
        group = service.add_group("order", middlewares=[marker("group")])
        inner = group.add_group("inner", middlewares=[marker("inner")])
        await inner.add_endpoint("e", echo, middlewares=[marker("endpoint")])
        await service.add_endpoint("plain", echo, subject="order.plain")
        client = micro.Client(caller)
        nested = await client.request("order.inner.e", b"x")
        plain = await client.request("order.plain", b"x")
    assert nested.data == b"service(group(inner(endpoint(x))))"
    assert plain.data == b"service(x)"


async def test_middleware_changes_data_and_headers(nc: NatsClient, caller: NatsClient) -> None:
    async def sign(request: Request, next: NextHandler) -> Response:
        response = await next(request)
        response.add_header("Signed", str(len(response.data())))
        response.remove_header("A")
        response.set_data(response.data() * 2)
        return response

    async with micro.add_service(nc, "change", "1.0.0") as service:
        await service.add_endpoint("change", echo, middlewares=[sign])
        answer = await micro.Client(caller).request("change", b"abc", {"A": "1", "B": "2"})
    assert answer.data == b"abcabc"
    assert answer.headers == {"B": "2", "Signed": "3"}


async def test_raised_error_is_seen_as_exception() -> None:
    async def refuse(request: Request) -> None:
        raise ServiceError(403, "not you")

    async def translate(request: Request, next: NextHandler) -> Response:
        try:
            return await next(request)
        except ServiceError as error:
            return Response(f"{error.code} {error.description}".encode())

    assert (await answered(refuse, translate)).data() == b"403 not you"


async def test_answered_error_is_seen_as_exception() -> None:
    async def refuse(request: Request) -> None:
        await request.respond_error(403, "not you", b"why", {"X": "1"})

    seen: list[ServiceError] = []

    async def watch(request: Request, next: NextHandler) -> Response:
        try:
            return await next(request)
        except ServiceError as error:
            seen.append(error)
            raise

    answer = await answered(refuse, watch)
    assert answer.headers()["Nats-Service-Error-Code"] == "403"
    (error,) = seen
    assert (error.code, error.description, error.data) == (403, "not you", b"why")
    assert error.headers == {"X": "1"}


async def test_error_answer_is_the_same_with_and_without_middlewares(
    nc: NatsClient, caller: NatsClient
) -> None:
    async def refuse(request: Request) -> None:
        await request.respond_error(403, "not you", b"why", {"X": "1"})

    async def watch(request: Request, next: NextHandler) -> Response:
        return await next(request)

    async with micro.add_service(nc, "same", "1.0.0") as service:
        await service.add_endpoint("bare", refuse, subject="same.bare")
        await service.add_endpoint("wrapped", refuse, subject="same.wrapped", middlewares=[watch])
        bare = await caller.request("same.bare")
        wrapped = await caller.request("same.wrapped")
        stats = [(e.num_errors, e.last_error) for e in service.stats().endpoints]
    assert (bare.data, bare.headers) == (wrapped.data, wrapped.headers)
    assert stats == [(1, "403:not you"), (1, "403:not you")]


async def test_middleware_may_answer_without_the_handler() -> None:
    called = []

    async def never(request: Request) -> None:
        called.append(request)

    async def cached(request: Request, next: NextHandler) -> Response:
        return Response(b"from cache")

    assert (await answered(never, cached)).data() == b"from cache"
    assert called == []


async def test_middleware_may_hand_on_a_request_of_its_own() -> None:
    async def replace(request: Request, next: NextHandler) -> Response:
        return await next(Foreign(request))

    response = await answered(echo, replace)
    assert response.data() == b"foreign x"
    assert response.headers() == {"A": "1", "Foreign": "1"}


class Foreign(Request):
    def __init__(self, origin: Request) -> None:
        self.origin = origin

    def subject(self) -> str:
        return self.origin.subject()

    def headers(self) -> dict[str, str]:
        return {**self.origin.headers(), "Foreign": "1"}

    def data(self) -> bytes:
        return b"foreign " + self.origin.data()

    async def respond(self, data: bytes, headers: dict[str, str] | None = None) -> None:
        raise AssertionError("the framework keeps the answer")


async def test_silent_handler_is_an_exception_for_middlewares() -> None:
    seen: list[BaseException] = []

    async def watch(request: Request, next: NextHandler) -> Response:
        try:
            return await next(request)
        except NoResponseError as error:
            seen.append(error)
            raise

    with pytest.raises(NoResponseError) as caught:
        await answered(silent, watch)
    assert str(caught.value) == "handler did not respond"
    assert seen == [caught.value]


@pytest.mark.parametrize("middlewares", [[], [marker("m")]])
async def test_silence_is_no_error_when_nobody_waits(
    nc: NatsClient, caller: NatsClient, middlewares: list[Middleware]
) -> None:
    async with micro.add_service(nc, "silent", "1.0.0", middlewares=middlewares) as service:
        await service.add_endpoint("silent", silent)
        await caller.publish("silent", b"x")
        with pytest.raises(ServiceError, match="handler did not respond"):
            await micro.Client(caller).request("silent")
        (stats,) = service.stats().endpoints
    assert (stats.num_requests, stats.num_errors) == (2, 1)


async def test_silence_is_an_error_when_somebody_waits() -> None:
    with pytest.raises(NoResponseError, match="handler did not respond"):
        await answered(silent)


class Answer:
    """An awaitable that is no coroutine."""

    def __init__(self, response: object) -> None:
        self._response = response

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self._response


class Loud(Response):
    """A response of a class of the user."""


async def late(request: Request, next: NextHandler) -> Response:
    response = await next(request)
    await asyncio.sleep(0.001)
    response.set_data(b"late")
    return response


def waiting(request: Request, next: NextHandler) -> Any:
    return Answer(Response(b"waited", {"B": "2"}))


async def loud(request: Request, next: NextHandler) -> Response:
    return Loud(b"loud")


async def mute(request: Request, next: NextHandler) -> Any:
    await asyncio.sleep(0)
    return "text"


def synchronous(request: Request, next: NextHandler) -> Any:
    return Response(b"no awaitable")


@pytest.mark.parametrize(
    ("outermost", "expected"),
    [(late, b"late"), (waiting, b"waited"), (loud, b"loud"), (mute, None), (synchronous, None)],
)
async def test_outermost_middleware_of_any_form_gives_the_answer(
    nc: NatsClient, caller: NatsClient, outermost: Any, expected: bytes | None
) -> None:
    async with micro.add_service(nc, "forms", "1.0.0") as service:
        await service.add_endpoint("forms", echo, middlewares=[outermost, marker("in")])
        asked = [micro.Client(caller).request("forms", b"x", timeout=5) for _ in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        errors = service.stats().endpoints[0].num_errors
    if expected is None:
        assert [error.code for error in answers if isinstance(error, ServiceError)] == [500] * 3
        assert errors == 3
    else:
        assert [answer.data for answer in answers if isinstance(answer, Msg)] == [expected] * 3
