"""Facts of the wire format that need no model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro import ServiceError
from micro._handlers.request import Response
from micro._protocol.adr32 import (
    ERROR,
    INFO_TYPE,
    PING_TYPE,
    STATS_TYPE,
    format_time,
    header_text,
    received_error,
)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T01:02:03.000000Z"),
        (datetime(2024, 2, 29, 1, 2, 3, 45, tzinfo=UTC), "2024-02-29T01:02:03.000045Z"),
        (datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03.000000Z"),  # noqa: DTZ001 - the point
        (
            datetime(2024, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            "2023-12-31T23:30:00.000000Z",
        ),
    ],
)
def test_time_is_utc_and_ends_in_z(moment: datetime, text: str) -> None:
    assert format_time(moment) == text


def test_types_are_those_of_adr_32() -> None:
    assert [f"io.nats.micro.v1.{verb}_response" for verb in ("ping", "info", "stats")] == [
        PING_TYPE,
        INFO_TYPE,
        STATS_TYPE,
    ]


@given(st.text(min_size=1), st.binary(max_size=3))
def test_the_text_of_an_error_is_a_header_by_adr_4_and_is_restored(text: str, data: bytes) -> None:
    """ADR-4 allows printable ASCII and blanks in the value of a header."""
    answer = Response.of_error(ServiceError(400, text, data=data))
    header = answer.headers()[ERROR]
    error = received_error(answer.headers(), "", answer.data())

    assert header
    assert all(" " <= character <= "~" for character in header)
    assert error is not None
    if data:
        assert answer.data() == data
    else:
        whole = " ".join(text.encode(errors="replace").decode().split()) or "error"
        assert error.description == whole
        assert answer.data() == (b"" if whole == header else whole.encode())


def test_a_payload_that_is_not_the_text_of_the_error_stays_apart() -> None:
    headers = {ERROR: "which one?"}
    for data in (b"", b"which one!", b"which one? \xff", "which öne?".encode()):
        error = received_error(headers, "", data)
        assert error is not None
        assert error.description == "which one?"
    assert header_text("größer") == "gr??er"
