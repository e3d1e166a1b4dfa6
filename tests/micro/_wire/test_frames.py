"""The frame splitter against nats-py's own parser, on the same bytes in random pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.protocol.parser import Parser

from micro._wire.frames import FrameSplitter

Message = tuple[bytes, bytes, bytes, bytes | None]

OURS = {b"1", b"22"}


class Recorder:
    """What nats-py's parser calls of a client."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.events.append((b"%d" % sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.events.append("PING")

    async def _process_pong(self) -> None:
        self.events.append("PONG")

    async def _process_err(self, error: str) -> None:
        self.events.append(error)

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.events.append(info)


def parse(pieces: Iterable[bytes]) -> list[Any]:
    recorder = Recorder()

    async def run() -> None:
        parser = Parser(recorder)
        for piece in pieces:
            await parser.parse(piece)

    asyncio.run(run())
    return recorder.events


class Split:
    """A splitter, and what became of the bytes it was fed."""

    def __init__(self, sids: Iterable[bytes] = OURS) -> None:
        self.messages: list[tuple[bytes, bytes, bytes, bytes, bytes | None]] = []
        self.splitter = FrameSplitter({sid: self._sink(sid) for sid in sids})

    def _sink(self, sid: bytes) -> Any:
        def take(messages: list[Message]) -> None:
            self.messages += [(sid, *message) for message in messages]

        return take

    def feed(self, *pieces: bytes) -> Split:
        for piece in pieces:
            self.splitter.feed(piece)
        return self

    @property
    def others(self) -> bytes:
        return b"".join(self.splitter.others)


tokens = st.text(alphabet="abcXYZ019_-$.", min_size=1, max_size=12).map(str.encode)
payloads = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"", b"\r\n", b"PING\r\n", b"MSG a 1 5\r\nhello\r\n", b"\r", b"\n\r\n"]),
)
header_blocks = st.lists(st.tuples(tokens, tokens), max_size=3).map(
    lambda found: b"NATS/1.0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in found) + b"\r\n"
)
sids = st.sampled_from([b"1", b"2", b"22", b"7"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    data = draw(payloads)
    words = [draw(tokens), draw(sids), *draw(st.lists(tokens, max_size=1))]
    gap = draw(st.sampled_from([b" ", b"  ", b"\t"]))
    if draw(st.booleans()):
        headers = draw(header_blocks)
        words += [b"%d" % len(headers), b"%d" % (len(headers) + len(data))]
        return gap.join([b"HMSG", *words]) + b"\r\n" + headers + data + b"\r\n"
    return gap.join([b"MSG", *words, b"%d" % len(data)]) + b"\r\n" + data + b"\r\n"


others = st.sampled_from(
    [
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'Permissions Violation'\r\n",
        b'INFO {"server_id":"x","max_payload":1048576}\r\n',
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Cut a valid stream anywhere."""
    stream = b"".join(draw(st.lists(st.one_of(messages(), others), max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(streams())
def test_stream_in_any_pieces_gives_what_the_parser_of_nats_py_finds(pieces: list[bytes]) -> None:
    split = Split().feed(*pieces)
    expected = parse([b"".join(pieces)])

    ours = [event for event in expected if isinstance(event, tuple) and event[0] in OURS]
    assert split.messages == ours
    assert parse([split.others]) == [event for event in expected if event not in ours]
    assert split.splitter.messages == len(ours)
    assert split.splitter.payload_bytes == sum(len(event[3]) for event in ours)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_make_it_fail_or_lose_any(pieces: list[bytes]) -> None:
    """With no route of its own it is transparent, but for a frame that is not complete yet."""
    split = Split(sids=()).feed(*pieces)
    stream = b"".join(pieces)

    assert split.messages == []
    assert stream.startswith(split.others)


def test_frame_cut_at_every_byte_arrives() -> None:
    frame = b"HMSG a.b 1 _INBOX.x 22 29\r\nNATS/1.0\r\nA: b\r\nC:\r\n\r\nMSG\r\n\r\n\r\n"
    whole = Split().feed(frame)
    assert len(whole.messages) == 1
    for cut in range(1, len(frame)):
        assert Split().feed(frame[:cut], frame[cut:]).messages == whole.messages
    assert Split().feed(*(frame[i : i + 1] for i in range(len(frame)))).messages == whole.messages


def test_large_payload_is_put_together_once() -> None:
    data = bytes(range(256)) * 4096
    frame = b"MSG big 1 r %d\r\n%b\r\nPING\r\n" % (len(data), data)
    split = Split().feed(*(frame[i : i + 4000] for i in range(0, len(frame), 4000)))

    assert split.messages == [(b"1", b"big", b"r", data, None)]
    assert split.others == b"PING\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a 1 x\r\n",
        b"MSG a 1 -5\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 b c 5\r\n",
        b"MSG\r\n",
        b"HMSG a 1 12 5\r\n",
        b"HMSG a 1 -1 5\r\n",
        b"HMSG a 1 5\r\n",
        b"HELLO\r\n",
    ],
)
def test_senseless_line_leaves_everything_to_nats_py(line: bytes) -> None:
    following = b"MSG a 1 2\r\nhi\r\n"
    split = Split().feed(line + following, following)

    assert split.messages == []
    assert split.others == line + following + following


def test_route_may_come_and_go_between_frames() -> None:
    received: list[bytes] = []
    routes: dict[bytes, Any] = {}
    splitter = FrameSplitter(routes)
    frame = b"MSG a 9 2\r\nhi\r\n"
    splitter.feed(frame)
    routes[b"9"] = lambda messages: received.extend(data for _, _, data, _ in messages)
    splitter.feed(frame)
    del routes[b"9"]
    splitter.feed(frame)

    assert received == [b"hi"]
    assert splitter.others == [frame, frame]
