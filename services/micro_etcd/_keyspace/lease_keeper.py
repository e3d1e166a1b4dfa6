"""Renewal of a lease, and the decision by the holder's own clock that it is lost."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Self

from micro import unbound_context
from micro_etcd._model.protocols import LeaseStore
from micro_etcd._model.values import LeaseInfo
from micro_etcd.errors import EtcdError, EtcdLeaseNotFoundError

logger = logging.getLogger("micro.etcd.lease")


def now() -> float:
    """Return seconds on a clock that also runs while the machine sleeps, where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class LeaseKeeper:
    """Renews a lease at a third of its ttl until stopped, and knows when it is lost.

    A lease counts as lost when its ttl has passed since the last *answered* renewal was sent: the
    server may have ended it by then. So a partition, a stopped process or a blocked loop is noticed
    without a word from the server.
    """

    def __init__(
        self,
        leases: LeaseStore,
        granted: LeaseInfo,
        deadline: float,
        *,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        self.id = granted.id
        self._leases = leases
        self._ttl = granted.granted_ttl
        self._deadline = deadline
        self._on_lost = on_lost
        self._capped = False
        self._ended = False
        self._lost = asyncio.Event()
        self._task = asyncio.create_task(self._renew(), context=unbound_context())

    @classmethod
    async def start(
        cls, leases: LeaseStore, ttl: int, *, on_lost: Callable[[], object] | None = None
    ) -> Self:
        """Grant a lease and renew it until `stop`."""
        sent = now()
        granted = await leases.grant(ttl)
        return cls(leases, granted, sent + granted.ttl, on_lost=on_lost)

    @property
    def lost(self) -> bool:
        """True once the lease may have ended before `stop`."""
        if not self._ended and not self._lost.is_set() and now() >= self._deadline:
            self._lose()
        return self._lost.is_set()

    @property
    def remaining(self) -> float:
        """Seconds for which the lease is safely held, if it is not renewed."""
        return max(0.0, self._deadline - now())

    async def wait_lost(self) -> None:
        """Return when the lease is lost."""
        await self._lost.wait()

    async def cap(self, ttl: float) -> None:
        """Renew for the last time: the lease ends `ttl` seconds from now.

        Raises:
            EtcdLeaseNotFoundError: The lease had ended before.
        """
        sent = now()
        await self._leases.keep_alive(self.id)
        self._deadline = sent + ttl
        self._capped = True
        await self._stop_task()
        self._task = asyncio.create_task(self._renew(), context=unbound_context())

    async def stop(self) -> None:
        """Stop renewing and revoke the lease, with its keys; idempotent.

        If the server cannot be reached, the lease ends by its ttl.
        """
        if self._ended:
            return
        self._ended = True
        await self._stop_task()
        await self._revoke()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def _renew(self) -> None:
        pause = self._ttl / 3
        while not self.lost:
            left = self._deadline - now()
            if self._capped:
                await asyncio.sleep(max(left, 0))
                continue
            await asyncio.sleep(min(pause, max(left, 0)))
            sent = now()
            try:
                ttl = await self._leases.keep_alive(
                    self.id, timeout=max(self._deadline - sent, 0.001)
                )
            except EtcdLeaseNotFoundError:
                self._lose()
            except EtcdError as error:
                logger.warning("lease %x was not renewed: %s", self.id, error)
                pause = min(0.2, self._ttl / 10)
            else:
                self._deadline = sent + ttl
                pause = ttl / 3
        await self._revoke()  # no key may outlive the belief of the holder

    async def _revoke(self) -> None:
        try:
            await self._leases.revoke(self.id, timeout=3.0)
        except EtcdLeaseNotFoundError:
            pass
        except EtcdError as error:
            logger.warning("lease %x was not revoked and ends by its ttl: %s", self.id, error)

    async def _stop_task(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _lose(self) -> None:
        self._lost.set()
        callback, self._on_lost = self._on_lost, None
        if callback is not None:
            asyncio.get_running_loop().call_soon(callback)
