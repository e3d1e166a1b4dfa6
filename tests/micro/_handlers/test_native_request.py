"""The accelerated request against its specification, with the same messages and calls."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micro import Request
from micro._handlers import nats_request
from micro._native import specification

native = pytest.importorskip("natsmicro_native", reason="natsmicro-native is not built")
if nats_request.NatsRequest is not native.NatsRequest:
    pytest.skip("MICRO_NATIVE is 0", allow_module_level=True)

SPECIFIED = specification["NatsRequest"]

values = st.one_of(
    st.sampled_from([b"1500", b" 20 ", b"-1", b"1_0", b"", b"9" * 12, b"9" * 13, b"\r"]),
    st.binary(max_size=8),
)
lines = st.one_of(
    st.builds(lambda value: b"Micro-Timeout-Ms:" + value, values),
    st.sampled_from([b"micro-timeout-ms: 1", b"X: y", b"Micro-Timeout-Ms 5"]),
)
blocks = st.builds(
    lambda found, end: b"NATS/1.0\r\n" + b"\r\n".join(found) + end,
    st.lists(lines, max_size=4),
    st.sampled_from([b"\r\n\r\n", b""]),
)
mappings = st.dictionaries(
    st.sampled_from(["Micro-Timeout-Ms", "X"]), st.sampled_from(["250", "", " 7", "x", "-1"])
)
texts = st.one_of(st.binary(max_size=10), st.sampled_from([b"a.b", b"", b"\xff"]))
messages = st.tuples(texts, texts, st.binary(max_size=10), st.one_of(st.none(), blocks, mappings))


def seen(request: Any) -> list[Any]:
    """Return all that handlers and the framework can see of a request."""
    before = [request.patience, request.deadline, request.remaining()]
    headers = request.headers()
    request.arrived(10.0)
    return [
        *before,
        request.deadline,
        request.subject(),
        request.reply,
        request.raw_reply,
        request.data(),
        headers,
        request.headers() is headers,
        request.given(),
        request.expired,
    ]


@given(messages)
@example((b"a", b"r", b"", b"NATS/1.0\r\nMicro-Timeout-Ms: 1500\r\n\r\n"))
def test_any_message_makes_the_same_request(message: Any) -> None:
    expected = seen(SPECIFIED(*message))
    assert seen(native.NatsRequest(*message)) == expected
    (request,) = native.requests_of([message])
    assert seen(request) == expected


answers = st.one_of(
    st.binary(max_size=6), st.builds(bytearray), st.just(memoryview(b"abc")),
    st.none(), st.just("text"), st.just([1]),
)  # fmt: skip
headers = st.one_of(st.none(), st.dictionaries(st.just("A"), st.just("b")), st.just([("C", "d")]))


@given(answers, headers)
def test_any_answer_has_the_same_outcome(answer: Any, headers: Any) -> None:
    outcomes = []
    for make in (SPECIFIED, native.NatsRequest):
        request = make(b"a'b", b"r", b"", None)
        outcome: list[Any] = []
        for _ in range(2):
            try:
                done = request.respond(answer, headers)
            except Exception as error:  # noqa: BLE001 - compared
                outcome.append((type(error), str(error)))
            else:
                outcome.append(done)
            outcome += [request.sent, type(request.sent), request.sent_headers]
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]


def test_it_is_a_request_with_the_methods_of_its_specification() -> None:
    assert issubclass(native.NatsRequest, Request)
    assert issubclass(native.NatsRequest, SPECIFIED)
    public = {name for name in dir(SPECIFIED) if not name.startswith("_")}
    assert public <= set(dir(native.NatsRequest))
    request, other = (native.NatsRequest(b"a", b"r", b"", None) for _ in range(2))
    request.state.user = "somebody"
    other.share_state(request)
    assert other.state is request.state
    assert other.state.user == "somebody"


def test_a_request_and_its_response_take_no_more_memory_than_in_python() -> None:
    def size(request: Any) -> int:
        request.respond(b"x")
        return sys.getsizeof(request) + sys.getsizeof(request.answered())

    message = (b"a", b"r", b"", None)
    specified = SPECIFIED(*message)
    specified.respond(b"x")
    response = specification["Response"](specified.sent, None)
    expected = sys.getsizeof(specified) + sys.getsizeof(response)
    assert size(native.NatsRequest(*message)) <= expected


async def test_a_cycle_through_a_request_is_collected() -> None:
    class Mark(Exception):
        request: Any

    request = native.NatsRequest(b"a", b"r", b"", None)
    request.failure = mark = Mark()
    mark.request = request
    gone = weakref.ref(mark)
    del request, mark
    gc.collect()
    assert gone() is None
