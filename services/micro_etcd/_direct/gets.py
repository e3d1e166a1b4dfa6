"""Single keys read from etcd, one alone or several in one txn."""

from collections.abc import Iterable

from micro_etcd._cluster.connection import Connection
from micro_etcd._pb import micro_etcd_pb2 as pb

RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"


class EtcdGets:
    """Reads keys from etcd."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def one(self, key: bytes) -> pb.KeyValue | None:
        """Read one key with a Range."""
        request = pb.RangeRequest(key=key)
        body = await self._connection.call(RANGE, request.SerializeToString(), repeatable=True)
        kvs = pb.RangeResponse.FromString(body).kvs
        return kvs[0] if kvs else None

    async def many(self, keys: Iterable[bytes]) -> list[pb.KeyValue | None]:
        """Read several keys with a Txn."""
        request = pb.TxnRequest()
        add = request.success.add
        for key in keys:
            add().request_range.key = key
        body = await self._connection.call(TXN, request.SerializeToString(), repeatable=True)
        answers = [
            answer.response_range.kvs for answer in pb.TxnResponse.FromString(body).responses
        ]
        return [kvs[0] if kvs else None for kvs in answers]
