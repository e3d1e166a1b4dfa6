"""Leases over NATS, with the methods they have on a direct connection."""

from collections.abc import Callable

from micro_etcd._keyspace.lease_keeper import LeaseKeeper
from micro_etcd._model.values import LeaseInfo
from micro_etcd._over_nats.caller import Caller
from micro_etcd._wire.leases import GrantBody, LeaseBody, LeaseReply
from micro_etcd.errors import EtcdInvalidArgumentError


class NatsLeases:
    """Leases of the service, with the errors of `Leases`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def grant(self, ttl: int, id: int | None = None) -> LeaseInfo:
        """Create a lease that ends `ttl` seconds after its last renewal.

        Raises:
            EtcdInvalidArgumentError: An id was given: over NATS the service chooses it.
        """
        if id is not None:
            raise EtcdInvalidArgumentError(f"invalid id {id}: over NATS the service chooses it")
        # A grant without an answer leaves a lease that ends by itself, so it is repeated.
        reply = await self._caller.call("lease.grant", GrantBody(ttl=ttl), LeaseReply)
        return LeaseInfo(reply.lease, reply.ttl, reply.granted_ttl, [])

    async def revoke(self, id: int, *, timeout: float | None = None) -> None:
        """End a lease and delete its keys."""
        body = LeaseBody(lease=id)
        await self._caller.call("lease.revoke", body, LeaseReply, timeout=timeout)

    async def keep_alive(self, id: int, *, timeout: float | None = None) -> int:
        """Renew a lease once and return its ttl."""
        body = LeaseBody(lease=id)
        reply = await self._caller.call("lease.keepalive", body, LeaseReply, timeout=timeout)
        return reply.ttl

    async def time_to_live(self, id: int, *, keys: bool = False) -> LeaseInfo | None:
        """Return the state of a lease, None when it is gone; `keys` also lists its keys."""
        reply = await self._caller.call("lease.ttl", LeaseBody(lease=id), LeaseReply)
        if reply.ttl < 0:
            return None
        return LeaseInfo(reply.lease, reply.ttl, reply.granted_ttl, reply.keys if keys else [])

    async def keep(self, ttl: int, *, on_lost: Callable[[], object] | None = None) -> LeaseKeeper:
        """Grant a lease and renew it until `LeaseKeeper.stop`."""
        return await LeaseKeeper.start(self, ttl, on_lost=on_lost)
