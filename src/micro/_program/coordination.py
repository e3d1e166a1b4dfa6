"""Live settings and leadership by a store that many processes share: its interfaces, and its use.

`micro` has no such store; a package that has one passes it to `Context.use_store`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from micro._errors import ConfigError

T = TypeVar("T")
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


class Coordinating(ABC):
    """Base class of contexts: gives out the live settings and the leadership of a shared store."""

    _store: SharedStore | None = None

    @abstractmethod
    async def enter(self, async_context: AbstractAsyncContextManager[T]) -> T:
        """Enter an async context manager that is left when the context ends."""

    def use_store(self, store: SharedStore) -> None:
        """Use a store that many processes share for `config` and `leader`."""
        self._store = store

    async def config(self, prefix: str, model: type[Model]) -> LiveSettings[Model]:
        """Read settings and keep them up to date until the context ends.

        Args:
            prefix: The prefix of the keys: `<prefix><field>`, `<prefix><field>/<field>`.
            model: The pydantic model of the settings.

        Raises:
            ConfigError: `use_store` was not called.
            pydantic.ValidationError: The settings are not valid. Later invalid settings only
                count as rejected.
        """
        return await self.enter(self._shared_store().config(prefix, model))

    def leader(self, name: str) -> AbstractAsyncContextManager[Leadership]:
        """Return a context manager whose body runs in one process at a time.

        Entering waits for the leadership. Its loss cancels the body, and leaving then raises the
        error of the store.

        Raises:
            ConfigError: `use_store` was not called.
        """
        return self._shared_store().leader(name)

    def _shared_store(self) -> SharedStore:
        if self._store is None:
            raise ConfigError("the context has no shared store: call use_store first")
        return self._store
