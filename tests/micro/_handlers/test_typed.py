"""Handlers declared by their annotations."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from pydantic import BaseModel, Field, SkipValidation

import micro
from micro import ConfigError, Request, ServiceError
from micro._handlers.typed import bind
from micro.testing import RequestStub, as_handler, make_request


class Pair(BaseModel):
    a: int
    b: int = Field(gt=0)


@dataclass
class Point:
    x: float
    y: float


async def call(
    handler: Any, data: bytes = b"", headers: dict[str, str] | None = None
) -> RequestStub:
    request = make_request("typed", data, headers)
    await bind(handler).call(request)
    return request


async def raw(request: Request) -> None:
    await request.respond(request.data())


async def raw_without_annotations(request):  # type: ignore[no-untyped-def]  # on purpose
    await request.respond(request.data())


async def add(pair: Pair) -> int:
    return pair.a + pair.b


async def add_with_request(pair: Pair, request: Request) -> str:
    return f"{pair.a + pair.b} {request.headers()['Unit']}"


async def add_with_optional_request(pair: Pair, request: Request = None) -> bool:  # type: ignore[assignment]  # wrong on purpose
    return request is not None


async def with_default(pair: Pair, factor: int = 3) -> int:
    return pair.a * factor


async def no_payload() -> date:
    return date(2024, 2, 29)


async def payload_bytes(data: bytes) -> bytes:
    return data[::-1]


async def shift(point: Point) -> Point:
    return Point(point.x + 1, point.y)


async def total(values: list[int]) -> dict[str, int]:
    return {"sum": sum(values)}


async def discard(pair: Pair) -> None:
    return None


async def only_request(request: Request) -> list[str]:
    return [request.subject()]


async def undeclared(pair: Pair):  # type: ignore[no-untyped-def]  # on purpose
    return {"a": pair.a}


class Adder:
    async def __call__(self, pair: Pair) -> int:
        return pair.a + pair.b

    async def method(self, pair: Pair) -> int:
        return pair.a - pair.b


PAIR = b'{"a": 1, "b": 2}'


@pytest.mark.parametrize(
    ("handler", "data", "answer"),
    [
        (raw, b"\x00\xff", b"\x00\xff"),
        (raw_without_annotations, b"x", b"x"),
        (add, PAIR, b"3"),
        (add_with_request, PAIR, b'"3 m"'),
        (add_with_optional_request, PAIR, b"true"),
        (with_default, PAIR, b"3"),
        (no_payload, b"ignored", b'"2024-02-29"'),
        (payload_bytes, b"\xff\x00", b"\x00\xff"),
        (shift, b'{"x": 1, "y": 2}', b'{"x":2.0,"y":2.0}'),
        (total, b"[1,2,3]", b'{"sum":6}'),
        (discard, PAIR, b""),
        (only_request, b"", b'["typed"]'),
        (undeclared, PAIR, b'{"a":1}'),
        (Adder(), PAIR, b"3"),
        (Adder().method, PAIR, b"-1"),
        (functools.partial(add), PAIR, b"3"),
    ],
)
async def test_forms_of_handlers(handler: Any, data: bytes, answer: bytes) -> None:
    request = await call(handler, data, {"Unit": "m"})
    assert request.response_data() == answer


async def test_result_of_a_builtin_type_is_no_raw_handler() -> None:
    async def shout(request: Request) -> str:
        return request.data().decode().upper()

    async def nothing(request: micro.Request) -> None:
        return

    assert (await call(shout, b"hey")).response_data() == b'"HEY"'
    assert bind(shout).response_schema() == {"type": "string"}
    assert bind(nothing).call is nothing


async def test_typed_handler_may_answer_by_itself() -> None:
    async def own(pair: Pair, request: Request) -> None:
        await request.respond(b"own", {"X": "1"})

    request = await call(own, PAIR)
    assert (request.response_data(), request.response_headers()) == (b"own", {"X": "1"})


async def test_answering_twice_is_an_error_in_typed_handlers_too() -> None:
    async def twice(pair: Pair, request: Request) -> int:
        await request.respond(b"first")
        return 2

    with pytest.raises(micro.AlreadyRespondedError):
        await call(twice, PAIR)


async def test_synchronous_handler_runs_in_a_thread() -> None:
    def where(pair: Pair) -> int:
        return threading.get_ident()

    request = await call(where, PAIR)
    assert int(request.response_data()) != threading.get_ident()


async def test_cheap_handler_runs_in_the_loop() -> None:
    @micro.cheap
    def where(pair: Pair) -> int:
        return threading.get_ident()

    request = await call(where, PAIR)
    assert int(request.response_data()) == threading.get_ident()


async def test_synchronous_handler_may_return_an_awaitable() -> None:
    def answer(request: Request) -> Awaitable[None]:
        return request.respond(b"later")

    assert (await call(answer)).response_data() == b"later"
    assert (await call(lambda request: request.respond(b"lambda"))).response_data() == b"lambda"


async def test_wrapped_handler_with_any_arguments_gets_the_request() -> None:
    async def inner(*arguments: Any, **keywords: Any) -> None:
        (request,) = arguments
        await request.respond(request.data())

    assert (await call(inner, b"x")).response_data() == b"x"


async def test_decorated_handler_keeps_its_types() -> None:
    @functools.wraps(add)
    async def decorated(*arguments: Any) -> Any:
        return await add(*arguments) * 10

    assert (await call(decorated, PAIR)).response_data() == b"30"


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": "secret"}', b'{"a": 1, "b": 0}', b"\xff"])
async def test_invalid_payload_is_400_with_details(data: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        await call(add, data)
    error = caught.value
    assert (error.code, error.description) == (400, "invalid request")
    assert error.headers == {"Content-Type": "application/json"}
    details = json.loads(error.data)
    assert details
    for detail in details:
        assert detail.keys() <= {"type", "loc", "msg", "ctx"}
    assert b"secret" not in error.data
    assert b"http" not in error.data


async def test_result_of_another_type_than_declared_is_an_error() -> None:
    async def wrong(pair: Pair) -> int:
        return "text"  # type: ignore[return-value]  # wrong on purpose

    with pytest.raises(ValueError, match="serializ"):
        await call(wrong, PAIR)


def test_schemas_are_those_of_pydantic() -> None:
    bound = bind(add)
    assert bound.request_schema() == Pair.model_json_schema()
    assert bound.response_schema() == {"type": "integer"}


@pytest.mark.parametrize("handler", [raw, payload_bytes, lambda request: None])
def test_untyped_handlers_have_no_schemas(handler: Any) -> None:
    bound = bind(handler)
    assert (bound.request_schema(), bound.response_schema()) == (None, None)


def test_undeclared_or_empty_results_have_no_schema() -> None:
    assert bind(undeclared).response_schema() is None
    assert bind(discard).response_schema() is None


def test_type_that_json_schema_cannot_tell_has_none() -> None:
    async def handler(value: SkipValidation[Opaque]) -> int:
        return 1

    assert bind(handler).request_schema() is None


class Opaque:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


class Unknown:
    pass


async def unknown_type(value: Unknown) -> int:
    return 1


async def unresolvable(value: NotThere) -> int:  # type: ignore[name-defined]  # noqa: F821 - wrong on purpose
    return 1


async def three(a: Pair, b: Request, c: int) -> int:
    return 1


async def wrong_order(request: Request, pair: Pair) -> int:
    return 1


async def two_requests(a: Request, b: Request) -> None:
    return


async def keyword_only(pair: Pair, *, factor: int) -> int:
    return pair.a * factor


FORMS = "expected (request), (payload) or (payload, request: Request)"


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (None, "invalid handler None: expected a function"),
        ("text", "invalid handler 'text': expected a function"),
        (
            unresolvable,
            "cannot read the annotations of handler 'unresolvable': name 'NotThere' is not defined",
        ),
        (three, f"invalid handler 'three': {FORMS}"),
        (wrong_order, f"invalid handler 'wrong_order': {FORMS}"),
        (two_requests, f"invalid handler 'two_requests': {FORMS}"),
        (keyword_only, f"invalid handler 'keyword_only': {FORMS}"),
    ],
)
def test_bad_declaration_is_told_by_name(handler: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(handler)
    assert str(caught.value) == message


def test_type_unknown_to_pydantic_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"^invalid handler type <class '.*Unknown'>: .*$"
    ) as caught:
        bind(unknown_type)
    assert "\n" not in str(caught.value)


async def test_bad_declaration_shows_when_the_endpoint_is_added(nc: NatsClient) -> None:
    async with micro.add_service(nc, "declared", "1.0.0") as service:
        with pytest.raises(ConfigError, match="invalid handler"):
            await service.add_endpoint("three", three)
        assert service.info().endpoints == []


async def test_typed_endpoint_over_nats(nc: NatsClient, caller: NatsClient) -> None:
    client = micro.Client(caller)
    async with micro.add_service(nc, "typed", "1.0.0") as service:
        await service.add_endpoint("add", add, subject="typed.add", metadata={"own": "1"})
        answer = await client.request("typed.add", PAIR)
        with pytest.raises(ServiceError) as caught:
            await client.request("typed.add", b'{"a": 1, "b": -2}')
        (endpoint,) = service.info().endpoints
        (stats,) = service.stats().endpoints
    assert answer.data == b"3"
    assert caught.value.code == 400
    assert json.loads(caught.value.data)[0]["loc"] == ["b"]
    assert endpoint.metadata["own"] == "1"
    assert json.loads(endpoint.metadata["micro.request.schema"]) == Pair.model_json_schema()
    assert endpoint.metadata["micro.response.schema"] == '{"type":"integer"}'
    assert (stats.num_errors, stats.last_error) == (1, "400:invalid request")


async def test_threads_run_side_by_side(nc: NatsClient, caller: NatsClient) -> None:
    barrier = threading.Barrier(2, timeout=20)

    def meet(request: Request) -> int:
        barrier.wait()
        return 1

    async with micro.add_service(nc, "threads", "1.0.0") as service:
        await service.add_endpoint("meet", meet, subject="threads.meet")
        client = micro.Client(caller)
        answers = await asyncio.gather(
            *(client.request("threads.meet", timeout=20) for _ in range(2))
        )
    assert [answer.data for answer in answers] == [b"1", b"1"]


def test_async_generator_is_a_handler_that_streams() -> None:
    async def rows(request: Request) -> AsyncIterator[int]:
        yield 1

    bound = bind(rows)
    assert bound.streams
    assert bound.response_schema() == {"type": "integer"}


def test_error_data_that_is_not_bytes_is_refused() -> None:
    data: Any = {"field": "name"}
    with pytest.raises(ConfigError) as caught:
        ServiceError(400, "invalid", data=data)
    assert str(caught.value) == (
        "invalid error data of type 'dict': expected bytes, encode JSON first"
    )


class Camel(BaseModel):
    first_name: str = Field(alias="firstName")


async def test_answers_have_the_aliases_of_their_schema() -> None:
    async def one() -> Camel:
        return Camel(firstName="Ada")

    async def several() -> list[Camel]:
        return [Camel(firstName="Ada")]

    for handler, answer in ((one, b'{"firstName":"Ada"}'), (several, b'[{"firstName":"Ada"}]')):
        assert (await call(handler)).response_data() == answer
        assert "firstName" in str(bind(handler).response_schema())


async def test_streaming_handler_is_tested_without_a_server() -> None:
    async def rows(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    request = make_request("rows", b"3")
    await as_handler(rows)(request)
    assert request.response_items() == [b"0", b"1", b"2"]
