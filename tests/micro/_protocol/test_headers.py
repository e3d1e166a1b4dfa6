"""Header blocks, read as nats-py reads them and written as ADR-4 wants them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as NatsClient

from micro._protocol.headers import decode_headers, encode_headers

names = st.text(alphabet="ABCxyz019-_", min_size=1, max_size=10)
values = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=20)


@given(st.dictionaries(names, values, max_size=5))
def test_what_is_written_is_read(headers: dict[str, str]) -> None:
    expected = {name: value.strip(" ") for name, value in headers.items()}
    assert decode_headers(encode_headers(headers)) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"NATS/1.0\r\n\r\n", {}),
        (b"NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", {"A": "2"}),
        (b"NATS/1.0\r\nA:1\r\nB:\t2 \r\nC:\r\n\r\n", {"A": "1", "B": "2", "C": ""}),
        (b"NATS/1.0\r\nA: b: c\r\nB:\r\n\r\n", {"A": "b: c", "B": ""}),
        (
            b"NATS/1.0 503 No Responders\r\n\r\n",
            {"Status": "503", "Description": "No Responders"},
        ),
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 Gone\r\nA: b\r\n\r\n", {"Status": "404", "Description": "Gone", "A": "b"}),
    ],
)
async def test_block_is_read_as_nats_py_reads_it(block: bytes, expected: dict[str, str]) -> None:
    assert decode_headers(block) == expected
    assert (await NatsClient()._process_headers(block) or {}) == expected


def test_a_status_never_swallows_a_header() -> None:
    assert decode_headers(b"NATS/1.0 503\r\nA: b\r\n\r\n") == {"Status": "503", "A": "b"}


@given(st.binary(max_size=60))
def test_no_bytes_make_reading_fail(block: bytes) -> None:
    assert all(isinstance(value, str) for value in decode_headers(block).values())
