"""Leases of a cluster: grant, renew, revoke, inspect."""

import secrets
from collections.abc import Callable

from micro_etcd._cluster.connection import Connection
from micro_etcd._keyspace.lease_keeper import LeaseKeeper
from micro_etcd._model.values import LeaseInfo
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.errors import EtcdLeaseExistsError, EtcdLeaseNotFoundError

_GRANT = "/etcdserverpb.Lease/LeaseGrant"
_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"
_LEASES = "/etcdserverpb.Lease/LeaseLeases"


class Leases:
    """Leases of a cluster; ids are ints, times seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def grant(self, ttl: int, id: int | None = None) -> LeaseInfo:
        """Create a lease that ends `ttl` seconds after its last renewal, at least about 2.

        Raises:
            EtcdLeaseExistsError: A lease with the given id exists.
            EtcdOutOfRangeError: The ttl is too large.
            EtcdOutcomeUnknownError: No answer came; only with a given id.
        """
        # A random id cannot collide, so the request may be repeated: an existing lease is ours.
        chosen = secrets.randbits(62) + 1 if id is None else id
        request = pb.LeaseGrantRequest(ttl=ttl, id=chosen)
        try:
            body = await self._connection.call(
                _GRANT, request.SerializeToString(), repeatable=id is None
            )
        except EtcdLeaseExistsError:
            if id is not None:
                raise
            granted = await self.time_to_live(chosen)
            if granted is None:
                raise
            return granted
        answer = pb.LeaseGrantResponse.FromString(body)
        return LeaseInfo(answer.id, answer.ttl, answer.ttl, [])

    async def revoke(self, id: int, *, timeout: float | None = None) -> None:
        """End a lease and delete its keys.

        Raises:
            EtcdLeaseNotFoundError: The lease does not exist (any more).
        """
        request = pb.LeaseRevokeRequest(id=id)
        await self._connection.call(
            _REVOKE, request.SerializeToString(), repeatable=True, timeout=timeout
        )

    async def keep_alive(self, id: int, *, timeout: float | None = None) -> int:
        """Renew a lease once and return its ttl.

        Raises:
            EtcdLeaseNotFoundError: The lease is gone.
        """
        request = pb.LeaseKeepAliveRequest(id=id)
        # The RPC is a stream; one message and its answer are a unary call on the wire.
        body = await self._connection.call(
            _KEEP_ALIVE, request.SerializeToString(), repeatable=True, timeout=timeout
        )
        ttl = pb.LeaseKeepAliveResponse.FromString(body).ttl
        if ttl <= 0:
            raise EtcdLeaseNotFoundError(f"lease {id:x} has expired or was revoked")
        return ttl

    async def time_to_live(self, id: int, *, keys: bool = False) -> LeaseInfo | None:
        """Return the state of a lease, None when it is gone; `keys` also lists its keys."""
        request = pb.LeaseTimeToLiveRequest(id=id, keys=keys)
        body = await self._connection.call(
            _TIME_TO_LIVE, request.SerializeToString(), repeatable=True
        )
        answer = pb.LeaseTimeToLiveResponse.FromString(body)
        if answer.ttl < 0:
            return None
        return LeaseInfo(answer.id, answer.ttl, answer.granted_ttl, list(answer.keys))

    async def ids(self) -> list[int]:
        """Return the ids of all leases."""
        request = pb.LeaseLeasesRequest()
        body = await self._connection.call(_LEASES, request.SerializeToString(), repeatable=True)
        return [lease.id for lease in pb.LeaseLeasesResponse.FromString(body).leases]

    async def keep(self, ttl: int, *, on_lost: Callable[[], object] | None = None) -> LeaseKeeper:
        """Grant a lease and renew it until `LeaseKeeper.stop`."""
        return await LeaseKeeper.start(self, ttl, on_lost=on_lost)
