"""What a context may be lent by a store that many processes share: live settings and leadership.

micro has no such store of its own; `micro_etcd` brings one. See `Context.use_etcd`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

Model = TypeVar("Model")
Model_co = TypeVar("Model_co", covariant=True)


class LiveSettings(Protocol[Model_co]):
    """Settings that follow a store; see `micro_etcd.LiveConfig`."""

    @property
    def value(self) -> Model_co:
        """The settings as they are now."""
        ...

    async def changed(self) -> Model_co:
        """Wait for the next valid update and return the new settings."""
        ...

    def stats(self, _endpoint: object = None) -> dict[str, Any]:
        """Return counts of updates and refusals, fit to be a ``stats_handler``."""
        ...


class Leadership(Protocol):
    """The state of being the one leader; see `micro_etcd.HeldLock`."""

    @property
    def token(self) -> int:
        """A number that grows from leader to leader."""
        ...

    @property
    def guard(self) -> Any:
        """A comparison for txns that fails once the leadership is lost."""
        ...

    @property
    def lost(self) -> bool:
        """Whether another may lead by now."""
        ...


class Coordination(Protocol):
    """A store shared by many processes, such as `micro_etcd.NatsEtcd` or `micro_etcd.EtcdCommunicator`."""

    def config(self, prefix: str, model: Any) -> AbstractAsyncContextManager[Any]:
        """Return a context manager that keeps settings up to date."""
        ...

    def leader(self, name: str) -> AbstractAsyncContextManager[Leadership]:
        """Return a context manager whose body runs in one process at a time."""
        ...
