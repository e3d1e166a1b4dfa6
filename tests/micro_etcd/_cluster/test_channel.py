"""Statuses of gRPC as the client reads them."""

import grpc
import grpc.aio
import pytest

from micro_etcd._cluster import channel


@pytest.mark.parametrize(
    ("code", "text", "read", "sent"),
    [
        ("UNKNOWN", "Stream removed (Data frame with END_STREAM flag received)", 14, True),
        ("UNKNOWN", "No status received", 14, True),
        ("UNKNOWN", "context deadline exceeded", 4, True),
        ("UNKNOWN", "etcdserver: something else", 2, True),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: refused", 14, False),
        ("INVALID_ARGUMENT", "etcdserver: key is not provided", 3, True),
    ],
)
def test_a_call_that_was_cut_off_is_unavailable(
    code: str, text: str, read: int, sent: bool
) -> None:
    """So a read is repeated, and a write has an unknown outcome."""
    none = grpc.aio.Metadata()
    status = channel._status(grpc.aio.AioRpcError(grpc.StatusCode[code], none, none, details=text))

    assert (status.code, status.text, status.sent) == (read, text, sent)
