"""Discovery (ADR-32): the questions to the instances of services, and their answers."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from micro._client.replies import Replies, Until
from micro._protocol.subjects import check_name, check_prefix, control_subject

if TYPE_CHECKING:
    from micro._protocol.models import PingInfo, ServiceInfo, ServiceStats

logger = logging.getLogger("micro.client")

M = TypeVar("M", bound="PingInfo")


class Discovering(ABC):
    """Base class of clients: discovers services.

    Args:
        default_max_wait: Seconds to wait when `max_wait` is not given.
        api_prefix: Prefix of the discovery subjects.

    Raises:
        ConfigError: The prefix is not a subject.
    """

    def __init__(self, default_max_wait: float, api_prefix: str) -> None:
        self.default_max_wait = default_max_wait
        self.api_prefix = check_prefix("API prefix", api_prefix)

    @abstractmethod
    def request_many(
        self,
        subject: str,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        until: Until | None = None,
    ) -> Replies:
        """Send a request and yield its answers."""

    async def ping(
        self,
        service: str | None = None,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> list[PingInfo]:
        """Ping all instances of one service, or of all services.

        Raises:
            ConfigError: The service name is not acceptable.
        """
        async with self.ping_iter(service, max_wait, max_count, max_interval) as answers:
            return [answer async for answer in answers]

    async def info(
        self,
        service: str | None = None,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> list[ServiceInfo]:
        """Get the INFO of all instances of one service, or of all services.

        Raises:
            ConfigError: The service name is not acceptable.
        """
        async with self.info_iter(service, max_wait, max_count, max_interval) as answers:
            return [answer async for answer in answers]

    async def stats(
        self,
        service: str | None = None,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> list[ServiceStats]:
        """Get the STATS of all instances of one service, or of all services.

        Raises:
            ConfigError: The service name is not acceptable.
        """
        async with self.stats_iter(service, max_wait, max_count, max_interval) as answers:
            return [answer async for answer in answers]

    def ping_iter(
        self,
        service: str | None = None,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[PingInfo]]:
        """Ping instances and yield each answer as it arrives."""
        from micro._protocol.models import PingInfo  # takes longer to import than all the rest

        replies = self._ask("PING", service, max_wait, max_count, max_interval)
        return _read(replies, PingInfo)

    def info_iter(
        self,
        service: str | None = None,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[ServiceInfo]]:
        """Get the INFO of instances and yield each answer as it arrives."""
        from micro._protocol.models import ServiceInfo

        replies = self._ask("INFO", service, max_wait, max_count, max_interval)
        return _read(replies, ServiceInfo)

    def stats_iter(
        self,
        service: str | None = None,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[ServiceStats]]:
        """Get the STATS of instances and yield each answer as it arrives."""
        from micro._protocol.models import ServiceStats

        replies = self._ask("STATS", service, max_wait, max_count, max_interval)
        return _read(replies, ServiceStats)

    def _ask(
        self,
        verb: str,
        service: str | None,
        max_wait: float | None,
        max_count: int | None,
        max_interval: float | None,
    ) -> Replies:
        name = None if service is None else check_name("service", service)
        until = Until(
            max_wait=self.default_max_wait if max_wait is None else max_wait,
            max_count=max_count,
            max_interval=max_interval,
        )
        return self.request_many(control_subject(verb, self.api_prefix, name), until=until)


@asynccontextmanager
async def _read(replies: Replies, model: type[M]) -> AsyncIterator[AsyncIterator[M]]:
    validate: Callable[[bytes], M] = model.__pydantic_validator__.validate_json

    async def answers() -> AsyncIterator[M]:
        async for message in replies:
            try:
                answer = validate(message.data)
            except ValueError as error:
                reason = str(error).partition("\n")[0]
                logger.warning("unreadable %s: %s", model.__name__, reason)
            else:
                yield answer

    async with replies:
        yield answers()
