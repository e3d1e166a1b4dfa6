"""Raw handlers that return a value, which nobody would receive."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from micro import ConfigError, Request
from micro._handlers.typed import bind, cheap


async def a_dict(request):  # type: ignore[no-untyped-def]  # on purpose, as below
    return {"a": 1}


async def a_payload(request: Request):  # type: ignore[no-untyped-def]
    return request.data()


async def a_product(value):  # type: ignore[no-untyped-def]
    if not value:
        return None
    return value * 2


def a_text(request):  # type: ignore[no-untyped-def]
    return f"{request.subject()}!"


async def a_constant(request: Request) -> None:
    return b"constant"  # type: ignore[return-value]


async def one_of_two(request):  # type: ignore[no-untyped-def]
    return None if request.data() else [request.subject()]


@cheap
def at_once(request):  # type: ignore[no-untyped-def]
    return request.data() == b"x"


@pytest.mark.parametrize(
    "handler",
    [a_dict, a_payload, a_product, a_text, a_constant, one_of_two, at_once, lambda request: b""],
)
def test_returned_value_without_annotation_is_refused_with_the_way_out(handler: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(handler)
    assert str(caught.value) == (
        f"invalid handler {handler.__qualname__!r}: expected an annotation of the value that it "
        "returns, such as '-> int', or request.respond() and no value"
    )


async def awaits(request: Request):  # type: ignore[no-untyped-def]
    return await request.respond(request.data().upper())


async def decorated(request: Request):  # type: ignore[no-untyped-def]
    result = await awaits(request)
    return result  # noqa: RET504 - as many decorators do


async def returns_none(request: Request) -> None:
    with contextlib.suppress(ValueError):
        if not request.data():
            return
        int(request.data())
    await request.respond(b"{}" if request.headers() else b"")
    return


async def has_inner(request: Request) -> None:
    def key(value: bytes) -> bytes:
        return value + b"!"

    await request.respond(key(request.data()))


@pytest.mark.parametrize(
    "handler",
    [
        awaits,
        decorated,
        returns_none,
        has_inner,
        lambda request: request.respond(request.data().strip()),
        lambda request: request.respond_error(400, request.subject()),
    ],
)
def test_handlers_that_may_return_none_are_taken(handler: Any) -> None:
    bind(handler)
