"""The accelerated reading of headers against its specification, on the same blocks."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micro._native import specification
from micro._protocol import headers

native = pytest.importorskip("natsmicro_native", reason="natsmicro-native is not built")

parts = st.one_of(
    st.sampled_from(
        [b"NATS/1.0", b" 503", b"No Responders", b"\r\n", b": ", b":", b"Name", b"a b", b" ", b"\t"]
    ),
    st.sampled_from(["Ä".encode(), b"\xff", b"\xed\xa0\x80", b"\xf0\x9f", b"\x00", b"\x0b", b"\r"]),
    st.binary(max_size=6),
)
blocks = st.lists(parts, max_size=14).map(b"".join)


@given(blocks)
@example(b"NATS/1.0 503 No Responders\r\n\r\n")
@example(b"NATS/1.0\r\nA: 1\r\na: 2\r\nA: 3\r\n\r\n")
def test_any_block_has_the_same_headers_in_the_same_order(block: bytes) -> None:
    headers.decode_headers(block)
    expected = specification["decode_headers"](block)
    assert list(native.decode_headers(block).items()) == list(expected.items())
