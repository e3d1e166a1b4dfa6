"""What a watch makes of a server's refusals, with a scripted server at the transport's seam."""

import asyncio
from collections.abc import Callable

import pytest

from micro_etcd import (
    EtcdCredential,
    EtcdHistoryLostError,
    EtcdPermissionDeniedError,
    EtcdUnavailableError,
    EtcdUnknownError,
    EventStream,
    HostPortPair,
)
from micro_etcd._cluster.channel import ByteStream, Metadata, StatusError
from micro_etcd._cluster.connection import Connection
from micro_etcd._model.keys import WHOLE
from micro_etcd._pb import micro_etcd_pb2 as pb

Step = pb.WatchResponse | StatusError | None


def created(cluster: int = 1) -> pb.WatchResponse:
    return pb.WatchResponse(created=True, header=pb.Header(revision=5, cluster_id=cluster))


def event(revision: int) -> pb.WatchResponse:
    kv = pb.KeyValue(key=b"k", value=b"v", mod_revision=revision)
    return pb.WatchResponse(header=pb.Header(revision=revision), events=[pb.Event(kv=kv)])


def refusal(reason: str) -> pb.WatchResponse:
    return pb.WatchResponse(created=True, canceled=True, watch_id=-1, cancel_reason=reason)


class ScriptedStream:
    """Answers what the script says, then nothing."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._cancelled = asyncio.Event()

    async def write(self, body: bytes) -> None:
        """Take the request."""

    async def done_writing(self) -> None:
        """Take the end of requests."""

    async def read(self) -> bytes | None:
        if not self._steps:
            await self._cancelled.wait()
            raise StatusError(14, "connection closed", sent=True)
        step = self._steps.pop(0)
        if isinstance(step, StatusError):
            raise step
        return None if step is None else step.SerializeToString()

    def cancel(self) -> None:
        self._cancelled.set()


class ScriptedChannel:
    """A Channel whose streams follow one script after the other."""

    endpoint = "scripted"

    def __init__(self, *scripts: list[Step]) -> None:
        self.scripts = list(scripts)
        self.revision = 5  # at the first look, 50 later
        self.tokens = 0
        self.used: list[str] = []  # the token of each stream
        self.refuse_reads: Callable[[], bool] = lambda: False

    async def connect(self, timeout: float) -> None:
        """Be there already."""

    async def unary(self, method: str, body: bytes, *, timeout: float, metadata: Metadata) -> bytes:
        if method.endswith("Authenticate"):
            self.tokens += 1
            return pb.AuthenticateResponse(token=f"token-{self.tokens}").SerializeToString()
        if self.refuse_reads():
            raise StatusError(14, "no connection", sent=False)
        revision, self.revision = self.revision, 50
        return pb.RangeResponse(header=pb.Header(revision=revision)).SerializeToString()

    async def stream(self, method: str, *, timeout: float, metadata: Metadata) -> ByteStream:
        self.used.append(dict(metadata).get("token", ""))
        return ScriptedStream(self.scripts.pop(0) if self.scripts else [])

    async def close(self) -> None:
        """Have nothing to close."""


async def watching(channel: ScriptedChannel, *, login: bool = False) -> EventStream:
    credentials = EtcdCredential("app", "secret") if login else None
    connection = Connection(
        [HostPortPair("scripted", 1)],
        lambda _, max_answer_bytes=-1: channel,
        credentials=credentials,
        timeout=0.05,
    )
    await connection.open()
    return EventStream(connection, WHOLE, b"k")


async def test_denial_is_believed_only_of_a_new_token() -> None:
    """Etcd 3.4 and 3.5 say "permission denied" when a watch comes with an expired token."""
    denied = "etcdserver: permission denied"
    channel = ScriptedChannel([refusal(denied)], [created(), event(6)])
    batch = await anext(await watching(channel, login=True))

    assert batch.revision == 6
    assert channel.used == ["token-1", "token-2"]

    channel = ScriptedChannel([refusal(denied)], [refusal(denied)])
    with pytest.raises(EtcdPermissionDeniedError):
        await anext(await watching(channel, login=True))
    assert channel.used == ["token-1", "token-2"]


async def test_token_refused_by_status_is_renewed() -> None:
    refused = StatusError(16, "etcdserver: invalid auth token", sent=True)
    channel = ScriptedChannel([refused], [created(), event(6)])

    assert (await anext(await watching(channel, login=True))).revision == 6


async def test_denial_without_credentials_is_final() -> None:
    channel = ScriptedChannel([refusal("etcdserver: permission denied")])

    with pytest.raises(EtcdPermissionDeniedError):
        await anext(await watching(channel))


@pytest.mark.parametrize(
    "cut",
    [
        refusal("etcdserver: no leader"),
        StatusError(14, "etcdserver: server stopped", sent=True),
        StatusError(13, "Received RST_STREAM", sent=True),
        None,
    ],
)
async def test_transient_trouble_is_mended(cut: Step) -> None:
    channel = ScriptedChannel([cut], [created(), event(6), cut], [cut], [created(), event(7)])
    stream = await watching(channel)

    assert [(await anext(stream)).revision for _ in range(2)] == [6, 7]
    assert stream.next_revision == 8


async def test_unknown_reason_is_told() -> None:
    channel = ScriptedChannel([created(), refusal("something new")])

    with pytest.raises(EtcdUnknownError, match="something new"):
        await anext(await watching(channel))


async def test_another_cluster_at_the_same_address_is_an_error() -> None:
    channel = ScriptedChannel([created(1), None], [created(2), event(6)])

    with pytest.raises(EtcdHistoryLostError, match="cluster 1 was replaced by 2"):
        await anext(await watching(channel))


async def test_long_outage_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Longer than a call may take; logged once when it begins and once when it ends."""
    channel = ScriptedChannel([created(), event(6), None], [created(), event(7)])
    refusals = iter([False] + [True] * 12)
    channel.refuse_reads = lambda: next(refusals, False)
    stream = await watching(channel)
    with caplog.at_level("INFO", "micro.etcd.watch"):
        assert [(await anext(stream)).revision for _ in range(2)] == [6, 7]

    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]


async def test_closed_connection_ends_a_watch_with_an_error() -> None:
    channel = ScriptedChannel([created(), None])
    connection = Connection(
        [HostPortPair("scripted", 1)], lambda _, max_answer_bytes=-1: channel, timeout=0.05
    )
    stream = EventStream(connection, WHOLE, b"k")
    await stream.start()
    await connection.close()

    with pytest.raises(EtcdUnavailableError, match="connection closed"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
