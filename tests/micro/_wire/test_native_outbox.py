"""The accelerated outbox against its specification, with the same calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro._native import specification

native = pytest.importorskip("natsmicro_native", reason="natsmicro-native is not built")

payloads = st.one_of(
    st.binary(max_size=20),
    st.integers(0, 70_000).map(bytes),
    st.sampled_from([bytearray(b"abc"), memoryview(b"abc"), "text", None, 3, [1, 2]]),
)
replies = st.tuples(
    st.just("reply"),
    st.sampled_from([b"_INBOX.a", b"", b"$JS.ACK", b"a" * 4078, b"a" * 4079]),
    payloads,
    st.sampled_from([None, {}, {"A": "b"}]),
)
additions = st.tuples(
    st.just("add"),
    st.sampled_from([b"a", b"a _INBOX.b"]),
    st.sampled_from([b"", b"NATS/1.0\r\nA: b\r\n\r\n"]),
    payloads.filter(lambda payload: isinstance(payload, bytes)),
)
rooms = st.tuples(st.just("room"), st.sampled_from([-1, 0, 10, 100_000]))
takes = st.tuples(st.just("take"), st.lists(st.just(b"PING\r\n"), max_size=2))
clears = st.tuples(st.just("clear"))


def outcome(make: Any, calls: list[Any]) -> list[Any]:
    """Return the result of each call, and the counts behind it."""
    seen: list[Any] = []
    outbox = make(lambda *answer: seen.append(("send", answer)), lambda: seen.append("relieve"))
    for name, *arguments in calls:
        if name == "room":
            outbox.room = arguments[0]
        else:
            try:
                seen.append(getattr(outbox, name)(*arguments))
            except Exception as error:  # noqa: BLE001 - compared
                seen.append((type(error).__name__, str(error)))
        seen.append((len(outbox), outbox.payload_bytes, outbox.room))
    return seen


@given(st.lists(st.one_of(replies, replies, additions, rooms, takes, clears), max_size=20))
def test_any_calls_have_the_same_outcome(calls: list[Any]) -> None:
    assert outcome(native.Outbox, calls) == outcome(specification["Outbox"], calls)


@pytest.mark.parametrize("make", ["specified", "accelerated"])
def test_many_messages_leave_in_portions_that_lose_nothing(make: str) -> None:
    relieved: list[None] = []
    kind = specification["Outbox"] if make == "specified" else native.Outbox
    outbox = kind(lambda *_: None, lambda: relieved.append(None))
    outbox.room = 1 << 20
    frames = []
    for number in range(30):
        payload = b"%02d" % number * 100_000
        outbox.reply(b"a", payload)
        frames.append(b"PUB a %d\r\n%b\r\n" % (len(payload), payload))
    taken = []
    while outbox:
        data, count, payload_bytes = outbox.take([])
        assert len(data) <= 2 * (1 << 20) + 400_100
        assert payload_bytes <= len(data)
        assert count > 0
        taken.append(data)
    assert b"".join(taken) == b"".join(frames)
    assert outbox.payload_bytes == 0
    assert len(taken) > 2
    assert len(relieved) == 30 - (1 << 20) // 200_000
