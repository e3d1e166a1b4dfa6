"""Puts of one loop tick as one txn, for those who ask for it: all of them are applied, or none."""

import asyncio
from dataclasses import dataclass, field

from micro_etcd._cluster.connection import Connection
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import EtcdError, EtcdUnavailableError

TXN = "/etcdserverpb.KV/Txn"
MAX_OPERATIONS = 128  # etcd's default --max-txn-ops
MAX_BATCH_BYTES = 1 << 20  # etcd takes requests of 1.5 MiB


@dataclass(slots=True)
class Batch:
    """Puts that travel together; no key twice."""

    request: pb.TxnRequest = field(default_factory=pb.TxnRequest)
    futures: dict[bytes, "asyncio.Future[int]"] = field(default_factory=dict)
    size_bytes: int = 0

    def takes(self, key: bytes, size_bytes: int) -> bool:
        """Say whether another put still fits."""
        return (
            key not in self.futures
            and len(self.futures) < MAX_OPERATIONS
            and self.size_bytes + size_bytes <= MAX_BATCH_BYTES
        )


class PutBatcher:
    """Collects puts until the loop turns, then sends them.

    The puts of a batch share one revision, one failure and one unknown outcome. A caller that is
    cancelled may find its put applied.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._batches: list[Batch] = []
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, key: bytes, value: bytes, lease: int | None) -> "asyncio.Future[int]":
        """Return what will hold the revision of the put."""
        loop = asyncio.get_running_loop()
        if not self._batches:
            loop.call_soon(self._flush)
        size_bytes = len(key) + len(value)
        if not self._batches or not self._batches[-1].takes(key, size_bytes):
            self._batches.append(Batch())
        batch = self._batches[-1]
        operation = batch.request.success.add().request_put
        operation.key, operation.value = key, value
        if lease is not None:
            operation.lease = lease
        batch.size_bytes += size_bytes
        future = batch.futures[key] = loop.create_future()
        return future

    def _flush(self) -> None:
        batches, self._batches = self._batches, []
        task = asyncio.create_task(self._send(batches))
        self._sending.add(task)

        def sent(task: "asyncio.Task[None]") -> None:
            self._sending.discard(task)
            for batch in batches:  # whatever became of the task, nobody waits for ever
                _fail(batch, EtcdUnavailableError("the write was abandoned"))

        task.add_done_callback(sent)

    async def _send(self, batches: list[Batch]) -> None:
        for batch in batches:  # one after the other, so that two puts of a key keep their order
            try:
                body = await self._connection.call(
                    TXN, batch.request.SerializeToString(), repeatable=False
                )
            except EtcdError as error:
                _fail(batch, error)
                continue
            revision = pb.TxnResponse.FromString(body).header.revision
            for future in batch.futures.values():
                if not future.done():
                    future.set_result(revision)


def _fail(batch: Batch, error: EtcdError) -> None:
    for future in batch.futures.values():
        if not future.done():
            future.set_exception(error)
