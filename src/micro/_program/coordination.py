"""Interfaces of a store that many processes share: live settings and leadership.

`micro` has no such store; a package that has one passes it to `Context.use_store`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

Model = TypeVar("Model")
Model_co = TypeVar("Model_co", covariant=True)


class LiveSettings(Protocol[Model_co]):
    """Settings that follow the keys of a store."""

    @property
    def value(self) -> Model_co:
        """The current settings."""

    async def changed(self) -> Model_co:
        """Wait for the next valid update and return the new settings."""

    def stats(self, _endpoint: object = None) -> dict[str, Any]:
        """Return counts of accepted and rejected updates; usable as a `stats_handler`."""


class Leadership(Protocol):
    """The state of being the only leader."""

    @property
    def token(self) -> int:
        """A number that grows from leader to leader."""

    @property
    def guard(self) -> Any:
        """A comparison that makes a transaction fail after the leadership is lost."""

    @property
    def lost(self) -> bool:
        """Whether another process may be the leader by now."""


class SharedStore(Protocol):
    """A store that many processes share."""

    def config(self, prefix: str, model: type[Model]) -> AbstractAsyncContextManager[Any]:
        """Return a context manager that keeps settings up to date."""

    def leader(self, name: str) -> AbstractAsyncContextManager[Leadership]:
        """Return a context manager whose body runs in one process at a time."""
