"""Where the id of a schema goes in a message, and that it is found again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_schema_registry import CachedSchema, DeserializationError, SerializationError
from micro_schema_registry.serialization import (
    MessageField,
    SerializationContext,
    SerializedMessage,
    UseId,
    WireFormat,
    frame,
    nats_headers,
    read_frame,
    unframe,
)

VALUE = SerializationContext("orders", MessageField.VALUE)
KEY = SerializationContext("orders", MessageField.KEY)


def schema(global_id: int, content_id: int = 9) -> CachedSchema:
    return CachedSchema({}, global_id, content_id)


def test_confluent_framing_is_a_zero_and_four_bytes() -> None:
    message = frame(b"abc", schema(258), VALUE, wire_format=WireFormat.CONFLUENT_PAYLOAD)

    assert message == SerializedMessage(b"\x00\x00\x00\x01\x02abc", {})


def test_kafka_headers_name_field_and_kind_of_id() -> None:
    kafka = WireFormat.KAFKA_HEADERS

    assert frame(b"abc", schema(258), VALUE, wire_format=kafka) == SerializedMessage(
        b"abc", {"apicurio.value.globalId": b"\0\0\0\0\0\0\x01\x02"}
    )
    assert frame(b"abc", schema(258), KEY, wire_format=kafka, use_id="contentId").headers == {
        "apicurio.key.contentId": b"\0\0\0\0\0\0\0\x09"
    }


def test_nats_headers_are_decimal_text() -> None:
    """The bytes of 3338 would be a line break."""
    message = frame(b"abc", schema(3338), VALUE, wire_format=WireFormat.NATS_HEADERS)

    assert message.payload == b"abc"
    assert message.headers == nats_headers(schema(3338), "application/avro")
    assert message.headers == {
        "Schema-Global-Id": "3338",
        "Schema-Content-Id": "9",
        "Content-Type": "application/avro",
    }


def test_four_bytes_hold_no_larger_id() -> None:
    confluent = WireFormat.CONFLUENT_PAYLOAD
    assert (
        frame(b"", schema(2**32 - 1), VALUE, wire_format=confluent).payload == b"\0" + b"\xff" * 4
    )

    with pytest.raises(SerializationError, match=f"globalId {2**32} does not fit"):
        frame(b"", schema(2**32), VALUE, wire_format=confluent)


def test_eight_bytes_hold_every_id() -> None:
    confluent = WireFormat.CONFLUENT_PAYLOAD
    message = frame(b"abc", schema(2**62 + 1), VALUE, wire_format=confluent, id_bytes=8)

    assert message == SerializedMessage(b"\0\x40\0\0\0\0\0\0\x01abc", {})
    assert read_frame(message.payload, VALUE, id_bytes=8) == ("globalId", 2**62 + 1, b"abc")
    with pytest.raises(DeserializationError, match="too short: expected at least 9"):
        read_frame(b"\0" * 8, VALUE, id_bytes=8)


@pytest.mark.parametrize(
    ("headers", "use_id", "expected"),
    [
        ({"apicurio.value.contentId": b"\0" * 7 + b"\x07"}, "globalId", ("contentId", 7)),
        ({"apicurio.value.globalId": b"\0" * 7 + b"\x07"}, "contentId", ("globalId", 7)),
        ({"Schema-Content-Id": "7"}, "globalId", ("contentId", 7)),
        ({"Schema-Content-Id": "7", "Schema-Global-Id": "8"}, "globalId", ("globalId", 8)),
        ({"Schema-Content-Id": "7", "Schema-Global-Id": "8"}, "contentId", ("contentId", 7)),
        ({"apicurio.value.contentHash": b"0" * 64}, "globalId", ("contentHash", "0" * 64)),
        ({"apicurio.key.contentId": b"\0" * 8}, "globalId", ("globalId", 9)),
    ],
    ids=str,
)
def test_headers_name_the_kind_of_their_id(headers: Any, use_id: UseId, expected: Any) -> None:
    data = b"\0\0\0\0\x09abc"

    frame = read_frame(data, VALUE, headers=headers, use_id=use_id)

    assert frame[:2] == expected
    assert frame.payload == (b"abc" if "apicurio.key.contentId" in headers else data)


def test_an_id_of_another_kind_is_no_answer() -> None:
    headers = {"apicurio.value.contentId": b"\0" * 8}

    with pytest.raises(DeserializationError, match="message has a contentId: expected a globalId"):
        unframe(b"", VALUE, headers=headers)


@given(
    payload=st.binary(max_size=50),
    ids=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    wire_format=st.sampled_from(WireFormat),
    use_id=st.sampled_from(["globalId", "contentId"]),
    ctx=st.sampled_from([KEY, VALUE]),
    pairs=st.booleans(),
)
def test_every_framing_is_read_back(
    payload: bytes,
    ids: tuple[int, int],
    wire_format: WireFormat,
    use_id: UseId,
    ctx: SerializationContext,
    pairs: bool,
) -> None:
    message = frame(payload, schema(*ids), ctx, wire_format=wire_format, use_id=use_id)
    headers = list(message.headers.items()) if pairs else message.headers

    found = unframe(message.payload, ctx, headers=headers, use_id=use_id)

    assert found == (ids[0] if use_id == "globalId" else ids[1], payload)


@pytest.mark.parametrize(
    ("data", "headers", "message"),
    [
        (b"", None, "message of 0 bytes is too short: expected at least 5"),
        (b"\0\0\0\1", {}, "message of 4 bytes is too short: expected at least 5"),
        (b"\1\0\0\0\1", None, "invalid magic byte 0x01: expected 0x00"),
        (b"", {"Schema-Global-Id": "-1"}, "'-1' in a header: expected a decimal number"),
        (b"", {"Schema-Global-Id": "1e3"}, "'1e3' in a header: expected a decimal number"),
        (b"", {"Schema-Global-Id": "٣"}, "'٣' in a header: expected a decimal number"),
        (b"", {"Schema-Global-Id": "9" * 20}, "in a header: expected a decimal number"),
        (b"", {"apicurio.value.globalId": b"123"}, "b'123' in a header: expected 8 bytes"),
        (b"", {"apicurio.value.globalId": "12345678"}, "'12345678' in a header: expected 8 bytes"),
        (b"", {"apicurio.value.contentHash": b"x"}, "b'x' in a header: expected a SHA-256"),
    ],
)
def test_what_has_no_readable_id_is_refused(data: bytes, headers: Any, message: str) -> None:
    with pytest.raises(DeserializationError) as caught:
        unframe(data, VALUE, headers=headers)

    assert message in str(caught.value)
