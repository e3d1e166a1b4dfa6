"""Ranges of any size in pages of one revision, which do not hold up the loop.

The first page is an ordinary Range and fixes the revision. The rest comes as a RangeStream where
the server has it (etcd 3.7), otherwise page by page. A broken stream is continued with pages.
"""

from collections.abc import AsyncIterator, Sequence

from micro_etcd._cluster.channel import StatusError
from micro_etcd._cluster.connection import Connection
from micro_etcd._model.options import SORT_KEYS
from micro_etcd._model.values import RangeRequestSortOrder, RangeRequestSortTarget
from micro_etcd._pb import micro_etcd_pb2 as pb

RANGE = "/etcdserverpb.KV/Range"
RANGE_STREAM = "/etcdserverpb.KV/RangeStream"
UNIMPLEMENTED = 12
FIRST_PAGE = 64  # keys; with 1.5 MB each this is still one tolerable message
MAX_PAGE = 4_000  # keys
PAGE_BYTES = 2 << 20  # target from the second page on

Chunk = Sequence[pb.KeyValue]
_DESCEND = RangeRequestSortOrder.DESCEND.value


async def pages(connection: Connection, request: pb.RangeRequest) -> AsyncIterator[Chunk]:
    """Yield a range in the requested order; a limit holds for all pages together."""
    if request.sort_target == RangeRequestSortTarget.KEY.value and request.sort_order != _DESCEND:
        async for chunk in _key_order(connection, request):
            yield chunk
    elif request.limit:  # only the server knows which keys come first
        yield (await _range(connection, request)).kvs
    else:
        unsorted = pb.RangeRequest()
        unsorted.CopyFrom(request)
        unsorted.sort_order = unsorted.sort_target = 0
        kvs = [kv async for chunk in _key_order(connection, unsorted) for kv in chunk]
        kvs.sort(
            key=SORT_KEYS[RangeRequestSortTarget(request.sort_target)],
            reverse=request.sort_order == _DESCEND,
        )
        yield kvs


async def _key_order(connection: Connection, request: pb.RangeRequest) -> AsyncIterator[Chunk]:
    rest = pb.RangeRequest()
    rest.CopyFrom(request)
    limit = FIRST_PAGE
    streamed = False
    while True:
        wanted = rest.limit
        rest.limit = min(limit, wanted) if wanted else limit
        answer = await _range(connection, rest)
        rest.limit = wanted
        yield answer.kvs
        if not answer.more or not _advance(rest, answer.kvs, wanted):
            return
        rest.revision = rest.revision if rest.revision else answer.header.revision
        if not streamed and _can_stream(connection, rest):
            streamed = True
            async for chunk in _stream(connection, rest):
                yield chunk
                if not chunk or not _advance(rest, chunk, rest.limit):
                    return
        mean = max(1, answer.ByteSize() // max(1, len(answer.kvs)))
        limit = max(1, min(MAX_PAGE, PAGE_BYTES // mean))


async def _stream(connection: Connection, rest: pb.RangeRequest) -> AsyncIterator[Chunk]:
    """Yield chunks until the stream breaks, or ends with an empty one."""
    channel = connection.channel
    try:
        stream = await connection.stream(RANGE_STREAM, rest.SerializeToString())
    except StatusError:
        return
    try:
        await stream.done_writing()
        while (body := await stream.read()) is not None:
            kvs = pb.RangeStreamResponse.FromString(body).range_response.kvs
            if kvs:
                yield kvs
        yield ()
    except StatusError as failure:
        if failure.code == UNIMPLEMENTED:
            connection.without_streams.add(channel.endpoint)
    finally:
        stream.cancel()


def _advance(rest: pb.RangeRequest, chunk: Chunk, wanted: int) -> bool:
    """Move the request behind a chunk; return False at its limit."""
    rest.key = chunk[-1].key + b"\x00"
    if not wanted:
        return True
    rest.limit = wanted - len(chunk)
    return rest.limit > 0


def _can_stream(connection: Connection, rest: pb.RangeRequest) -> bool:
    filtered = (
        rest.min_mod_revision
        or rest.max_mod_revision
        or rest.min_create_revision
        or rest.max_create_revision
    )
    return not filtered and connection.channel.endpoint not in connection.without_streams


async def _range(connection: Connection, request: pb.RangeRequest) -> pb.RangeResponse:
    body = await connection.call(
        RANGE, request.SerializeToString(), repeatable=True, leader=not request.serializable
    )
    return pb.RangeResponse.FromString(body)
