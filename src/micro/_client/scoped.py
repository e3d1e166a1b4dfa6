"""The clients of the instances of one service, and of one instance."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from micro._handlers.bound_handler import UNSET
from micro._handlers.codec import Codec
from micro._protocol.subjects import check_name, control_subject
from micro._published import publish

if TYPE_CHECKING:
    from micro._client.client import Client
    from micro._protocol.models import PingInfo, ServiceInfo, ServiceStats
    from micro._streams.reading import Stream

M = TypeVar("M", bound="PingInfo")
R = TypeVar("R")

DEFAULT_MAX_WAIT = 0.5
"""Seconds to wait for answers to a question of discovery."""


class CallOptions(TypedDict, total=False):
    """The options of `Client.call` and `ServiceClient.call`, for their overloads."""

    timeout: float
    headers: dict[str, str] | None
    codec: Codec | None
    send: AsyncIterable[Any] | None


class StreamOptions(TypedDict, total=False):
    """The options of `Client.stream`, for `ServiceClient.stream`."""

    send: AsyncIterable[Any] | None
    timeout: float | None
    gap: float | None
    window: int
    lease: float
    headers: dict[str, str] | None
    codec: Codec | None


class ServiceClient:
    """The instances of one service; made by `Client.service`."""

    def __init__(self, client: Client, service: str) -> None:
        self.client = client
        self.service = check_name("service", service)

    async def ping(
        self,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> list[PingInfo]:
        """Ping all instances of the service."""
        return await self.client.ping(self.service, max_wait, max_count, max_interval)

    async def info(
        self,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> list[ServiceInfo]:
        """Get the INFO of all instances of the service."""
        return await self.client.info(self.service, max_wait, max_count, max_interval)

    async def stats(
        self,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> list[ServiceStats]:
        """Get the STATS of all instances of the service."""
        return await self.client.stats(self.service, max_wait, max_count, max_interval)

    def ping_iter(
        self,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[PingInfo]]:
        """Ping all instances of the service and yield each answer as it arrives."""
        return self.client.ping_iter(self.service, max_wait, max_count, max_interval)

    def info_iter(
        self,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[ServiceInfo]]:
        """Get the INFO of all instances of the service and yield each answer as it arrives."""
        return self.client.info_iter(self.service, max_wait, max_count, max_interval)

    def stats_iter(
        self,
        max_wait: float | None = None,
        max_count: int | None = None,
        max_interval: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[ServiceStats]]:
        """Get the STATS of all instances of the service and yield each answer as it arrives."""
        return self.client.stats_iter(self.service, max_wait, max_count, max_interval)

    @overload
    async def call(
        self, endpoint: str, payload: Any = ..., *, returns: type[R], **options: Unpack[CallOptions]
    ) -> R: ...

    @overload
    async def call(
        self,
        endpoint: str,
        payload: Any = ...,
        *,
        returns: None = ...,
        **options: Unpack[CallOptions],
    ) -> None: ...

    @overload
    async def call(
        self, endpoint: str, payload: Any = ..., *, returns: Any, **options: Unpack[CallOptions]
    ) -> Any: ...

    async def call(  # noqa: PLR0913 - options, all keyword-only
        self,
        endpoint: str,
        payload: Any = UNSET,
        *,
        returns: Any = None,
        timeout: float = 1,
        headers: dict[str, str] | None = None,
        codec: Codec | None = None,
        send: AsyncIterable[Any] | None = None,
    ) -> Any:
        """Call an endpoint of the service by its name; see `Client.call`.

        The first call asks one instance for the subject of the endpoint.

        Args:
            endpoint: The name of the endpoint. Its subject, if several endpoints have the name.
            payload: The value to send.
            returns: The type of the answer.
            timeout: Seconds to wait for the answer.
            headers: Further headers.
            codec: The form of payload and answer; JSON by default.
            send: Items for an endpoint that takes them, sent as it reads them.

        Raises:
            ConfigError: The service has no such endpoint, or several.
            nats.errors.NoRespondersError: No instance runs.
        """

        async def call(subject: str) -> Any:
            return await self.client.call(
                subject,
                payload,
                returns=returns,
                timeout=timeout,
                headers=headers,
                codec=codec,
                send=send,
            )

        if send is not None:  # items cannot be sent twice
            return await call(await self.client.__directory__.subject(self.service, endpoint))
        return await self.client.__directory__.calling(self.service, endpoint, call)

    def stream(
        self, endpoint: str, payload: Any = UNSET, *, of: type[R], **options: Unpack[StreamOptions]
    ) -> Stream[R]:
        """Read the items of a streaming endpoint, found by its name; see `Client.stream`.

        Args:
            endpoint: The name of the endpoint. Its subject, if several endpoints have the name.
            payload: The value to send.
            of: The type of the items.
            options: The options of `Client.stream`.
        """
        stream = self.client.stream(endpoint, payload, of=of, **options)
        stream.__find__ = partial(self.client.__directory__.subject, self.service, endpoint)
        return stream

    def instance(self, id: str) -> InstanceClient:
        """Return a client for one instance of the service.

        Raises:
            ConfigError: The id is not acceptable.
        """
        return self.client.instance(self.service, id)


class InstanceClient:
    """One instance of a service; made by `Client.instance`.

    Its methods raise `nats.errors.NoRespondersError` when there is no such instance,
    `nats.errors.TimeoutError` when it does not answer in time, and `pydantic.ValidationError`, a
    ValueError, when its answer cannot be read.
    """

    def __init__(self, client: Client, service: str, id: str) -> None:
        self.client = client
        self.service = check_name("service", service)
        self.id = check_name("instance", id)

    async def ping(self, timeout: float = DEFAULT_MAX_WAIT) -> PingInfo:
        """Ping the instance."""
        from micro._protocol.models import PingInfo

        return await self._ask("PING", PingInfo, timeout)

    async def info(self, timeout: float = DEFAULT_MAX_WAIT) -> ServiceInfo:
        """Get the INFO of the instance."""
        from micro._protocol.models import ServiceInfo

        return await self._ask("INFO", ServiceInfo, timeout)

    async def stats(self, timeout: float = DEFAULT_MAX_WAIT) -> ServiceStats:
        """Get the STATS of the instance."""
        from micro._protocol.models import ServiceStats

        return await self._ask("STATS", ServiceStats, timeout)

    async def _ask(self, verb: str, model: type[M], timeout: float) -> M:
        subject = control_subject(verb, self.client.api_prefix, self.service, self.id)
        answer = await self.client.request(subject, timeout=timeout)
        return model.model_validate_json(answer.data)


publish(InstanceClient, ServiceClient)
