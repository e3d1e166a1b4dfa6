"""Ranges of any size in pieces, all from one revision, so that the loop is never held up for long."""

from collections.abc import AsyncIterator, Sequence

from micro_etcd._connection import Connection
from micro_etcd._keys import EVERYTHING
from micro_etcd._pb import micro_etcd_pb2 as pb

RANGE = "/etcdserverpb.KV/Range"
FIRST_PAGE = 256  # keys
MAX_PAGE = 4_000  # keys
PAGE_BYTES = 2 << 20  # aimed at from the second page on


async def pages(
    connection: Connection, request: pb.RangeRequest
) -> AsyncIterator[Sequence[pb.KeyValue]]:
    """Yield the keys of a range in key order, page by page; a limit in the request holds for all pages together."""
    page = pb.RangeRequest()
    page.CopyFrom(request)
    left = request.limit
    page.limit = min(FIRST_PAGE, left) if left else FIRST_PAGE
    while True:
        body = await connection.call(
            RANGE, page.SerializeToString(), repeatable=True, leader=not page.serializable
        )
        answer = pb.RangeResponse.FromString(body)
        yield answer.kvs
        left -= len(answer.kvs)
        if not answer.more or left == 0:
            return
        page.revision = page.revision if page.revision else answer.header.revision
        page.key = answer.kvs[-1].key + EVERYTHING
        mean = max(1, len(body) // len(answer.kvs))
        page.limit = max(1, min(MAX_PAGE, PAGE_BYTES // mean))
        if left > 0:
            page.limit = min(page.limit, left)
