"""Requests, answers and the headers with a meaning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro import (
    AlreadyRespondedError,
    ConfigError,
    RemoteServiceError,
    Request,
    Response,
    ServiceError,
)
from micro._handlers.nats_request import NatsRequest
from micro._protocol.adr32 import received_error
from micro._protocol.headers import check_headers
from micro.testing import make_request


class Minimal(Request):
    """What a user's own Request has to implement, and no more."""

    def __init__(self) -> None:
        self.answer: tuple[bytes, dict[str, str] | None] | None = None

    def subject(self) -> str:
        return "a"

    def headers(self) -> dict[str, str]:
        return {}

    def data(self) -> bytes:
        return b""

    async def respond(self, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.answer = data, headers


def test_request_is_abstract_in_four_methods() -> None:
    assert Request.__abstractmethods__ == {"subject", "headers", "data", "respond"}


async def test_own_request_inherits_the_other_ways_to_answer() -> None:
    request = Minimal()
    await request.respond_success(201, b"made", {"X": "1"})
    assert request.answer == (b"made", {"X": "1", "Nats-Service-Success-Code": "201"})
    await request.respond_error(404, "gone", b"why", {"X": "1"})
    assert request.answer == (
        b"why",
        {"X": "1", "Nats-Service-Error": "gone", "Nats-Service-Error-Code": "404"},
    )


def test_request_reads_what_arrived() -> None:
    request = NatsRequest(b"a.b", b"reply", b"data", {"X-Case": "1"})
    assert (request.subject(), request.reply, request.data()) == ("a.b", "reply", b"data")
    assert request.headers() == {"X-Case": "1"}
    assert NatsRequest(b"a", b"", b"", None).headers() == {}
    assert request.response is None


async def test_first_answer_stands() -> None:
    request = NatsRequest(b"a", b"reply", b"", None)
    await request.respond(b"first")
    with pytest.raises(AlreadyRespondedError) as caught:
        await request.respond(b"second")
    assert str(caught.value) == "the request to 'a' has been answered"
    given = request.given()
    assert given is not None
    assert given.data() == b"first"


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
async def test_answer_may_be_anything_like_bytes(data: Any) -> None:
    request = make_request("a")
    await request.respond(data)
    assert request.response_data() == b"x"
    assert type(request.response_data()) is bytes


@pytest.mark.parametrize("data", ["text", None, 7])
def test_answer_of_another_type_is_refused(data: Any) -> None:
    request = make_request("a")
    with pytest.raises(TypeError) as caught:
        request.respond(data)
    assert str(caught.value) == f"answer must be bytes, not {type(data).__name__}"
    assert request.response is None


async def test_success_code_travels_in_a_header() -> None:
    request = make_request("a")
    await request.respond_success(204)
    assert request.response_data() == b""
    assert request.response_headers() == {"Nats-Service-Success-Code": "204"}


async def test_error_travels_in_two_headers_on_one_line() -> None:
    request = make_request("a")
    await request.respond_error(400, "two\r\nlines ")
    assert request.response_headers() == {
        "Nats-Service-Error": "two lines",
        "Nats-Service-Error-Code": "400",
    }
    assert request.response_data() == b""


async def test_error_without_a_visible_text_still_has_one() -> None:
    request = make_request("a")
    await request.respond_error(400, "\n")
    assert request.response_headers()["Nats-Service-Error"] == "error"


async def test_error_headers_of_the_caller_do_not_replace_the_code() -> None:
    request = make_request("a")
    await request.respond_error(400, "bad", headers={"Nats-Service-Error-Code": "7"})
    assert request.response_headers()["Nats-Service-Error-Code"] == "400"


def test_response_can_be_read_and_changed() -> None:
    given_headers = {"A": "1"}
    response = Response(b"one", given_headers)
    response.add_header("B", "2")
    response.update_headers({"C": "3"})
    response.remove_header("A")
    response.remove_header("never there")
    response.headers()["D"] = "4"
    assert response.headers() == {"B": "2", "C": "3", "D": "4"}
    assert given_headers == {"A": "1"}
    response.clear_headers()
    assert response.headers() == {}
    response.set_data(b"two")
    assert response.data() == b"two"
    response.clear_data()
    assert response.data() == b""
    assert response.error() is None
    assert Response().error() is None


def test_response_knows_the_error_it_carries() -> None:
    origin = ServiceError(409, "taken", data=b"why", headers={"X": "1"})
    error = Response.of_error(origin).error()
    assert error is not None
    assert (error.code, error.description, error.data) == (409, "taken", b"why")
    assert error.headers == {"X": "1"}


@pytest.mark.parametrize(
    ("headers", "code", "description"),
    [
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "404"}, 404, "gone"),
        ({"Nats-Service-Error": "gone"}, 500, "gone"),
        ({"Nats-Service-Error-Code": "404"}, 404, "service error"),
        ({"Nats-Service-Error": "", "Nats-Service-Error-Code": ""}, 500, "service error"),
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "x"}, 500, "gone"),
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "-1"}, 500, "gone"),
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "4.5"}, 500, "gone"),
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "٤٠٤"}, 500, "gone"),
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "9" * 5000}, 500, "gone"),
        ({"Nats-Service-Error": "gone", "Nats-Service-Error-Code": "0"}, 0, "gone"),
    ],
)
def test_either_header_makes_an_error(headers: dict[str, str], code: int, description: str) -> None:
    error = received_error({**headers, "X": "1"}, "a.b", b"why", RemoteServiceError)
    assert error is not None
    assert (error.code, error.description) == (code, description)
    assert (error.subject, error.data, error.headers) == ("a.b", b"why", {"X": "1"})


def test_other_headers_make_no_error() -> None:
    assert received_error({"Status": "503", "nats-service-error": "x"}, "a", b"") is None


@given(
    st.dictionaries(st.sampled_from(["Nats-Service-Error", "Nats-Service-Error-Code"]), st.text())
)
def test_no_pair_of_error_headers_breaks_the_reader(headers: dict[str, str]) -> None:
    error = received_error(headers, "", b"")
    assert (error is not None) is bool(headers)


def test_size_of_headers_is_that_on_the_wire() -> None:
    headers = {"A": "1", "Bc": "é"}
    assert check_headers(headers) == len("NATS/1.0\r\nA: 1\r\nBc: é\r\n\r\n".encode())


NAME = "expected printable ASCII without ':'"
VALUE = "expected one line of text"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"": "a"}, f"invalid header name '': {NAME}"),
        ({"a:b": "a"}, f"invalid header name 'a:b': {NAME}"),
        ({"a b": "a"}, f"invalid header name 'a b': {NAME}"),
        ({"a\n": "a"}, f"invalid header name 'a\\n': {NAME}"),
        ({"é": "a"}, f"invalid header name 'é': {NAME}"),
        ({1: "a"}, f"invalid header name 1: {NAME}"),
        ({"A": "a\nb"}, f"invalid value of header 'A': {VALUE}"),
        ({"A": "a\r"}, f"invalid value of header 'A': {VALUE}"),
        ({"A": ["a"]}, f"invalid value of header 'A': {VALUE}"),
        ({"A": None}, f"invalid value of header 'A': {VALUE}"),
        ({"A": "\ud800"}, f"invalid value of header 'A': {VALUE}"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_headers(headers)
    assert str(caught.value) == message
