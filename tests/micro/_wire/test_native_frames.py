"""The accelerated splitter against its specification, on the same bytes in the same pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro._native import specification

native = pytest.importorskip("natsmicro_native", reason="natsmicro-native is not built")

OURS = (b"1", b"22")

words = st.one_of(
    st.sampled_from([b"a", b"a.b", b"_INBOX.x", b"1", b"2", b"22", b"\xff\x00", b"\r", b"\n", b""]),
    st.sampled_from([b"0", b"3", b"12", b"-1", b"+3", b"1_2", b"_1", b"1__2", b"007", b"9" * 30]),
)
blanks = st.sampled_from([b" ", b"  ", b"\t", b"\x0b", b"\x0c"])
lines = st.builds(
    lambda kind, blank, parts: blank.join([kind, *parts]) + b"\r\n",
    st.sampled_from(
        [b"MSG", b"HMSG", b"M", b"HX", b"msg", b"PING", b"+OK", b"-ERR 'x'", b"INFO {}"]
    ),
    blanks,
    st.lists(words, max_size=6),
)
payloads = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"\r\n", b"MSG a 1 0\r\n\r\n"]))
blocks = st.sampled_from([b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n", b"", b"\r\n"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    data, sid, blank = draw(payloads), draw(st.sampled_from([b"1", b"2", b"22"])), draw(blanks)
    parts = [draw(st.sampled_from([b"a", b"a.b", b"b"])), sid]
    if draw(st.booleans()):
        parts.append(b"_INBOX.x")
    if draw(st.booleans()):
        block = draw(blocks)
        line = [b"HMSG", *parts, b"%d" % len(block), b"%d" % (len(block) + len(data))]
        return blank.join(line) + b"\r\n" + block + data + b"\r\n"
    return blank.join([b"MSG", *parts, b"%d" % len(data)]) + b"\r\n" + data + b"\r\n"


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Cut a stream of good and odd frames anywhere."""
    odd = st.one_of(lines, st.binary(max_size=12))
    frames = st.one_of(messages(), messages(), messages(), odd)
    stream = b"".join(draw(st.lists(frames, max_size=14)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def outcome(splitter: Any, routes: dict[bytes, Any], stream: list[bytes]) -> list[Any]:
    """Return each call of a sink, and the counters and other frames after each piece.

    The second subscription ends with its first run of messages.
    """
    seen: list[Any] = []
    routes[OURS[0]] = lambda run: seen.append((OURS[0], run))

    def once(run: list[Any]) -> None:
        seen.append((OURS[1], run))
        del routes[OURS[1]]

    routes[OURS[1]] = once
    buffer = memoryview(bytearray(1000))
    for number, piece in enumerate(stream):
        if number % 2 and len(piece) <= len(buffer):
            buffer[: len(piece)] = piece
            splitter.feed_from(buffer, len(piece))
            buffer[: len(piece)] = bytes(len(piece))
        else:
            splitter.feed(piece)
        seen.append((splitter.messages, splitter.payload_bytes, list(splitter.others)))
        splitter.others.clear()
        splitter.messages = splitter.payload_bytes = 0
    return seen


@given(pieces())
def test_any_pieces_of_any_stream_have_the_same_outcome(stream: list[bytes]) -> None:
    outcomes = []
    for make in (specification["FrameSplitter"], native.FrameSplitter):
        routes: dict[bytes, Any] = {}
        outcomes.append(outcome(make(routes), routes, stream))
    assert outcomes[0] == outcomes[1]


def test_a_size_beyond_the_buffer_is_an_error() -> None:
    splitter = native.FrameSplitter({})
    with pytest.raises(ValueError, match="beyond the end"):
        splitter.feed_from(memoryview(bytes(3)), 4)
