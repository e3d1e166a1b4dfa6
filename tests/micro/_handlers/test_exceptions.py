"""Exceptions that stand for answers, and the namespace of a request."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import ConfigError, RemoteServiceError, Request, Response, ServiceError
from micro._handlers.middleware import NextHandler
from micro.testing import as_handler, make_request


class NotFound(Exception):
    pass


class ItemNotFound(NotFound):
    pass


async def answered(
    client: micro.Client, subject: str, data: bytes = b""
) -> tuple[int, str] | bytes:
    try:
        return (await client.request(subject, data)).data
    except ServiceError as error:
        return error.code, error.description


ERRORS: dict[str, Exception] = {
    "found": NotFound("no item 7"),
    "item": ItemNotFound("no such item"),
    "empty": NotFound(),
    "broken": OSError("password=secret"),
    "odd": LookupError("odd"),
    "value": ValueError("bad"),
    "service": ServiceError(409, "taken"),
    "remote": RemoteServiceError(409, "taken"),
}


async def fail(request: Request) -> None:
    raise ERRORS[request.data().decode()]


def conflict(error: ValueError) -> ServiceError:
    return ServiceError(422, f"invalid: {error}", data=b"[]")


ANSWERS: list[tuple[str, tuple[int, str]]] = [
    ("found", (404, "no item 7")),
    ("item", (410, "no such item")),
    ("empty", (404, "not found")),
    ("broken", (503, "service unavailable")),
    ("odd", (799, "error")),
    ("value", (422, "invalid: bad")),
    ("service", (409, "taken")),
    ("remote", (502, "dependency failed")),
]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_exceptions_stand_for_answers_at_every_level(nc: NatsClient, wrapped: bool) -> None:
    seen: list[int] = []

    async def look(request: Request, next: NextHandler) -> Response:
        try:
            return await next(request)
        except ServiceError as error:
            seen.append(error.code)
            raise

    async with micro.Context(nc, exception_handlers={NotFound: 404, OSError: 500}) as ctx:
        await ctx.connect()
        ctx.add_exception_handler(LookupError, 799)
        service = await ctx.add_service(
            "failing",
            "1.0.0",
            exception_handlers={OSError: 503},
            middlewares=[look] if wrapped else None,
        )
        group = service.add_group("failing", exception_handlers={ValueError: conflict})
        await group.add_endpoint("e", fail, exception_handlers={ItemNotFound: 410})
        client = micro.Client(nc)
        found = [(name, await answered(client, "failing.e", name.encode())) for name, _ in ANSWERS]
        (stats,) = service.stats().endpoints

    assert found == ANSWERS
    assert stats.num_errors == len(ANSWERS)
    assert seen == ([code for _, (code, _) in ANSWERS[:-1]] + [409] if wrapped else [])


async def test_exception_of_a_middleware_stands_for_an_answer(nc: NatsClient) -> None:
    async def refuse(request: Request, next: NextHandler) -> Response:
        raise NotFound("nobody")

    async with micro.add_service(
        nc, "guarded", "1.0.0", exception_handlers={NotFound: 404}, middlewares=[refuse]
    ) as service:
        await service.add_endpoint("e", fail, subject="guarded.e")
        assert await answered(micro.Client(nc), "guarded.e") == (404, "nobody")


@pytest.mark.parametrize("answer", [lambda error: None, lambda error: 1 / 0])
async def test_function_that_gives_no_answer_leaves_an_internal_error(
    nc: NatsClient, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with micro.add_service(
        nc, "helpless", "1.0.0", exception_handlers={NotFound: answer}
    ) as service:
        await service.add_endpoint("e", fail, subject="helpless.e")
        assert await answered(micro.Client(nc), "helpless.e", b"found") == (500, "internal error")
    assert "the handler of NotFound" in caplog.text


async def test_late_timeout_is_no_answer_of_an_exception_handler(nc: NatsClient) -> None:
    async def late(request: Request) -> None:
        left = request.remaining()
        while left is not None and left > 0:
            left = request.remaining()
        raise TimeoutError

    async with micro.add_service(
        nc, "late", "1.0.0", exception_handlers={Exception: 418}
    ) as service:
        await service.add_endpoint("e", late, subject="late.e")
        with pytest.raises((TimeoutError, ServiceError)):
            await micro.Client(nc).request("late.e", timeout=0.05)
        (stats,) = service.stats().endpoints
    assert stats.last_error.startswith("504")


@pytest.mark.parametrize(
    "given",
    [
        {int: 404},
        {"NotFound": 404},
        {BaseException: 404},
        {NotFound: "404"},
        {NotFound: 0},
        {NotFound: True},
        [NotFound],
    ],
)
def test_mistakes_are_refused_where_they_are_declared(given: Any) -> None:
    with pytest.raises(ConfigError, match="expected"):
        micro.Context(exception_handlers=given)
    with pytest.raises(ConfigError, match="expected"):
        as_handler(fail, exception_handlers=given)


async def test_handler_with_exception_handlers_is_tested_without_a_server() -> None:
    request = make_request("e", b"found")
    await as_handler(fail, exception_handlers={NotFound: 404})(request)
    assert request.response_headers()["Nats-Service-Error"] == "no item 7"


async def test_middlewares_and_typed_handlers_share_the_state_of_a_request(nc: NatsClient) -> None:
    async def user(request: Request, next: NextHandler) -> Response:
        request.state.user = request.headers()["User"]
        response = await next(request)
        response.add_header("Seen", request.state.seen)
        return response

    async def hello(greeting: str, request: Request) -> str:
        request.state.seen = "yes"
        return f"{greeting} {request.state.user}"

    async with micro.add_service(nc, "stateful", "1.0.0", middlewares=[user]) as service:
        await service.add_endpoint("e", hello, subject="stateful.e")
        answer = await micro.Client(nc).request("stateful.e", b'"hi"', {"User": "ada"})

    assert (answer.data, (answer.headers or {})["Seen"]) == (b'"hi ada"', "yes")


async def test_state_follows_a_request_that_a_middleware_passes_on() -> None:
    class Quiet(Request):
        def __init__(self, inner: Request) -> None:
            self.inner = inner

        def subject(self) -> str:
            return self.inner.subject()

        def headers(self) -> dict[str, str]:
            return {}

        def data(self) -> bytes:
            return b""

        def respond(self, data: bytes, headers: dict[str, str] | None = None) -> Any:
            return self.inner.respond(data, headers)

    async def quieten(request: Request, next: NextHandler) -> Response:
        quiet = Quiet(request)
        quiet.state.level = 1
        return await next(quiet)

    async def level(request: Request) -> None:
        await request.respond(str(request.state.level).encode())

    request = make_request("e")
    await as_handler(level, [quieten])(request)
    assert request.response_data() == b"1"


async def test_each_request_has_a_state_of_its_own() -> None:
    one, two = make_request("e"), make_request("e")
    one.state.x = 1
    assert vars(two.state) == {}
    assert one.state is one.state
