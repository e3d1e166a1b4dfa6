"""The lease and lock endpoints. Callers keep their own leases alive: a dead caller's lock ends by itself."""

import asyncio

from micro import Request
from micro_etcd._service.kv import KeyEndpoints
from micro_etcd._service.namespaces import View, parse
from micro_etcd._wire.errors import EtcdLockBusyError
from micro_etcd._wire.models import (
    AcquireBody,
    AcquireReply,
    GrantBody,
    LeaseBody,
    LeaseReply,
    ReleaseBody,
)
from micro_etcd.errors import (
    EtcdInvalidArgumentError,
    EtcdLeaseNotFoundError,
    EtcdPermissionDeniedError,
)


class LeaseEndpoints:
    """Handlers of `lease.*` and `lock.*`.

    Lease ids are long random numbers nobody else learns, which is what guards them between namespaces;
    revoking one, which deletes keys, is checked besides.
    """

    def __init__(self, keys: KeyEndpoints, stopping: asyncio.Event) -> None:
        self._keys = keys
        self._stopping = stopping

    async def grant(self, request: Request, view: View) -> None:
        """Answer `lease.grant`."""
        _need_leases(view)
        body = parse(GrantBody, request.data())
        granted = await view.whole.leases.grant(body.ttl)
        await self._keys.answer(
            request,
            LeaseReply(lease=granted.id, ttl=granted.ttl, granted_ttl=granted.granted_ttl),
        )

    async def keepalive(self, request: Request, view: View) -> None:
        """Answer `lease.keepalive`."""
        _need_leases(view)
        body = parse(LeaseBody, request.data())
        ttl = await view.whole.leases.keep_alive(body.lease)
        await self._keys.answer(request, LeaseReply(lease=body.lease, ttl=ttl, granted_ttl=ttl))

    async def revoke(self, request: Request, view: View) -> None:
        """Answer `lease.revoke`."""
        _need_leases(view)
        body = parse(LeaseBody, request.data())
        await view.own_lease(body.lease)
        await view.whole.leases.revoke(body.lease)
        await self._keys.answer(request, LeaseReply(lease=body.lease, ttl=-1))

    async def ttl(self, request: Request, view: View) -> None:
        """Answer `lease.ttl`; a lease that is gone has the ttl -1."""
        _need_leases(view)
        body = parse(LeaseBody, request.data())
        try:
            found = await view.own_lease(body.lease)
        except EtcdLeaseNotFoundError:
            reply = LeaseReply(lease=body.lease, ttl=-1)
        else:
            reply = LeaseReply(
                lease=found.id, ttl=found.ttl, granted_ttl=found.granted_ttl, keys=found.keys
            )
        await self._keys.answer(request, reply)

    async def acquire(self, request: Request, view: View) -> None:
        """Answer `lock.acquire` within `wait_s`.

        Without a lease of the caller's, one is granted, and taken back when the lock is not had. With
        one, the place in the queue is kept: asking again, of any instance, goes on waiting in it.
        """
        view.need("lock")
        body = parse(AcquireBody, request.data())
        if body.lease is not None:
            await self._keys.answer(request, await self._wait(view, body, body.lease, body.ttl))
            return
        if body.wait_s >= body.ttl:
            raise EtcdInvalidArgumentError(
                f"invalid wait_s {body.wait_s:g}: expected less than ttl unless 'lease' is given"
            )
        granted = await view.whole.leases.grant(body.ttl)
        try:
            reply = await self._wait(view, body, granted.id, granted.ttl)
            if reply.state == "queued":
                raise EtcdLockBusyError(f"lock {body.name!r} is held by another")
            # The holder's time counts from now, not from when it began to wait.
            await view.whole.leases.keep_alive(granted.id)
            await self._keys.answer(request, reply)
        except BaseException:
            await view.whole.leases.revoke(granted.id)
            raise

    async def release(self, request: Request, view: View) -> None:
        """Answer `lock.release`; releasing twice is as good as once."""
        view.need("lock")
        body = parse(ReleaseBody, request.data())
        try:
            await view.own_lease(body.lease)
            await view.whole.leases.revoke(body.lease)
        except EtcdLeaseNotFoundError:
            pass
        await self._keys.answer(request, LeaseReply(lease=body.lease, ttl=-1))

    async def _wait(self, view: View, body: AcquireBody, lease: int, ttl: int) -> AcquireReply:
        place = view.inside.queue_place(body.name, lease)
        await place.enter()
        reply = AcquireReply(
            state="granted", key=place.key, lease=lease, token=place.token, ttl=ttl
        )
        first = await place.first()
        if first is not None and (first.key, first.create_revision) == (place.key, place.token):
            return reply
        if body.wait_s == 0:
            return reply.model_copy(update={"state": "queued"})
        waiting = asyncio.ensure_future(place.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {waiting, stopping},
                timeout=body.wait_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopping.cancel()
            if not waiting.done():
                waiting.cancel()
            await asyncio.wait({waiting, stopping})
        if waiting.cancelled():
            return reply.model_copy(update={"state": "queued"})
        waiting.result()
        return reply


def _need_leases(view: View) -> None:
    if not {"lease", "lock"} & view.rule.allow:
        raise EtcdPermissionDeniedError(f"namespace {view.token!r} may not lease")
