"""The lease and lock endpoints. Callers renew their leases, so the lock of a dead caller ends."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from micro import Request
from micro_etcd._direct.queue_place import QueuePlace
from micro_etcd._service.namespaces import Namespaces, View
from micro_etcd._wire.errors import EtcdLockBusyError
from micro_etcd._wire.leases import (
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
    EtcdTooManyRequestError,
)


class LeaseEndpoints:
    """Handlers of `lease.*` and `lock.*`."""

    def __init__(
        self, namespaces: Namespaces, stopping: asyncio.Event, *, max_waiting: int
    ) -> None:
        self._namespaces = namespaces
        self._stopping = stopping
        self._max_waiting = max_waiting
        self._waiting: Counter[str] = Counter()  # requests that wait for a lock, by namespace

    def all(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the handlers by operation."""
        return {
            "lease.grant": self.grant,
            "lease.keepalive": self.keepalive,
            "lease.revoke": self.revoke,
            "lease.ttl": self.ttl,
            "lock.acquire": self.acquire,
            "lock.release": self.release,
        }

    async def grant(self, body: GrantBody, request: Request) -> LeaseReply:
        """Answer `lease.grant`."""
        view = self._leasing(request)
        granted = await view.grant(body.ttl)
        return LeaseReply(lease=granted.id, ttl=granted.ttl, granted_ttl=granted.granted_ttl)

    async def keepalive(self, body: LeaseBody, request: Request) -> LeaseReply:
        """Answer `lease.keepalive`."""
        view = self._leasing(request)
        await view.check_lease(body.lease)
        ttl = await view.whole.leases.keep_alive(body.lease)
        return LeaseReply(lease=body.lease, ttl=ttl, granted_ttl=ttl)

    async def revoke(self, body: LeaseBody, request: Request) -> LeaseReply:
        """Answer `lease.revoke`."""
        view = self._leasing(request)
        await view.lease(body.lease)
        await view.whole.leases.revoke(body.lease)
        return LeaseReply(lease=body.lease, ttl=-1)

    async def ttl(self, body: LeaseBody, request: Request) -> LeaseReply:
        """Answer `lease.ttl`; -1 means that the lease is gone."""
        view = self._leasing(request)
        try:
            lease = await view.lease(body.lease)
        except EtcdLeaseNotFoundError:
            return LeaseReply(lease=body.lease, ttl=-1)
        return LeaseReply(
            lease=lease.id, ttl=lease.ttl, granted_ttl=lease.granted_ttl, keys=lease.keys
        )

    async def acquire(self, body: AcquireBody, request: Request) -> AcquireReply:
        """Answer `lock.acquire` within `wait_s`.

        Without a lease of the caller, one is granted, and revoked when the lock is not free in
        time. With one, the place in the queue is kept between requests, on any instance.
        """
        view = self._namespaces.view(request, "lock")
        if body.lease is not None:
            await view.check_lease(body.lease)
            return await self._wait(view, body, body.lease, body.ttl)
        if body.wait_s >= body.ttl:
            raise EtcdInvalidArgumentError(
                f"invalid wait_s {body.wait_s:g}: expected less than ttl unless 'lease' is given"
            )
        granted = await view.grant(body.ttl)
        try:
            reply = await self._wait(view, body, granted.id, granted.ttl)
            if reply.state == "queued":
                raise EtcdLockBusyError(f"lock {body.name!r} is held by another")
            # The time of the holder counts from now, not from the start of its wait.
            await view.whole.leases.keep_alive(granted.id)
        except BaseException:
            await view.whole.leases.revoke(granted.id)
            raise
        return reply

    async def release(self, body: ReleaseBody, request: Request) -> LeaseReply:
        """Answer `lock.release`; idempotent."""
        view = self._namespaces.view(request, "lock")
        try:
            await view.lease(body.lease)
            await view.whole.leases.revoke(body.lease)
        except EtcdLeaseNotFoundError:
            pass
        return LeaseReply(lease=body.lease, ttl=-1)

    async def _wait(self, view: View, body: AcquireBody, lease: int, ttl: int) -> AcquireReply:
        place = view.inside.queue_place(body.name, lease)
        is_first = await place.enter()
        reply = AcquireReply(
            state="granted", key=place.key, lease=lease, token=place.token, ttl=ttl
        )
        if is_first:
            return reply
        if body.wait_s == 0:
            return reply.model_copy(update={"state": "queued"})
        with self._waiter(view):
            granted = await self._is_first_within(place, body.wait_s)
        return reply if granted else reply.model_copy(update={"state": "queued"})

    async def _is_first_within(self, place: QueuePlace, seconds: float) -> bool:
        """Wait until a place is the first; return False after the time, or at a stop."""
        waiting = asyncio.ensure_future(place.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {waiting, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()
            if not waiting.done():
                waiting.cancel()
            await asyncio.wait({waiting, stopping})
        if waiting.cancelled():
            return False
        waiting.result()
        return True

    @contextmanager
    def _waiter(self, view: View) -> Iterator[None]:
        """Count a waiting request; waiting is not in flight, but has a limit too."""
        if self._waiting[view.token] >= self._max_waiting:
            raise EtcdTooManyRequestError(
                f"{self._max_waiting} requests of namespace {view.token!r} wait for locks already"
            )
        self._waiting[view.token] += 1
        try:
            yield
        finally:
            self._waiting[view.token] -= 1

    def _leasing(self, request: Request) -> View:
        view = self._namespaces.view(request)
        if not {"lease", "lock"} & view.rule.allow:
            raise EtcdPermissionDeniedError(f"namespace {view.token!r} may not lease")
        return view
