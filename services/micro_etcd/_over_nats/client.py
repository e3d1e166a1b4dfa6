"""The client over NATS, with the methods of `EtcdCommunicator`."""

import asyncio
import random
from typing import overload

from nats.aio.client import Client as NatsClient

from micro import Context
from micro_etcd._backoff import backoff
from micro_etcd._keyspace.keyspace import KeySpace
from micro_etcd._model.codec import Codec
from micro_etcd._model.keys import WHOLE
from micro_etcd._model.txn import Place
from micro_etcd._model.values import T
from micro_etcd._over_nats.caller import Caller
from micro_etcd._over_nats.kv import NatsKV
from micro_etcd._over_nats.leases import NatsLeases
from micro_etcd._wire.leases import AcquireBody, AcquireReply
from micro_etcd.errors import EtcdTooManyRequestError

LOCK_POLL = 5.0  # seconds of one request for a lock; the place in the queue is kept between them


class NatsEtcd(KeySpace[T]):
    """One namespace of the etcd service. Keys and values are str, or bytes with `encoding=None`.

    The client needs no connection to etcd and no closing. Every method raises the EtcdError that
    fits; a write without an answer raises EtcdOutcomeUnknownError. A watch continues on another
    instance when its instance is gone. This process renews its locks and detects their loss by its
    own clock.

    Args:
        nc: The connection to NATS, or a context.
        namespace: The token of the namespace in subjects.
        encoding: Encoding of keys and values; None for bytes.
        group: First part of the service's subjects.
        timeout: Seconds for one call, repetitions included.
        heartbeat: Seconds between two heartbeats of a watch. After two and a half without one, the
            watch starts again on any instance.
        window: Messages that a watch may be ahead of its reader.

    Attributes:
        kv: The same keys at the level of bytes, with revisions, versions and leases.
        leases: Leases in full.
    """

    kv: NatsKV
    leases: NatsLeases

    @overload
    def __init__(
        self: "NatsEtcd[str]",
        nc: NatsClient | Context,
        namespace: str,
        encoding: str = "utf-8",
        *,
        group: str = "etcd",
        timeout: float = 10.0,
        heartbeat: float = 10.0,
        window: int = 256,
    ) -> None: ...

    @overload
    def __init__(
        self: "NatsEtcd[bytes]",
        nc: NatsClient | Context,
        namespace: str,
        encoding: None,
        *,
        group: str = "etcd",
        timeout: float = 10.0,
        heartbeat: float = 10.0,
        window: int = 256,
    ) -> None: ...

    def __init__(  # noqa: PLR0913 - options of a client, all with defaults
        self,
        nc: NatsClient | Context,
        namespace: str,
        encoding: str | None = "utf-8",
        *,
        group: str = "etcd",
        timeout: float = 10.0,
        heartbeat: float = 10.0,
        window: int = 256,
    ) -> None:
        self._caller = Caller(nc, namespace, group=group, timeout=timeout)
        kv = NatsKV(self._caller, heartbeat=heartbeat, window=window)
        super().__init__(Codec(encoding), WHOLE, kv, NatsLeases(self._caller))

    async def _enter_queue(self, name: bytes, lease: int) -> Place:
        # The place belongs to the caller's lease, so any instance finds it again.
        refusals = 0
        while True:
            # Callers that began together must not ask again together.
            wait = LOCK_POLL * random.uniform(0.6, 1.4)  # noqa: S311 - spreads load, no secret
            body = AcquireBody(name=name, lease=lease, wait_s=wait)
            try:
                reply = await self._caller.call("lock.acquire", body, AcquireReply, patience=wait)
            except EtcdTooManyRequestError:  # the time-out of the caller is the limit
                await asyncio.sleep(backoff(refusals))
                refusals += 1
                continue
            if reply.state == "granted":
                return Place(reply.key, reply.token)
            refusals = 0
