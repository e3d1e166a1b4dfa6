"""One instance of a service: how it starts, what it says of itself, how it stops (ADR-32)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, Unpack
from weakref import WeakSet

from nats.aio.client import Client as NatsClient
from nats.nuid import NUID

from micro._endpoint.endpoint import Endpoint, EndpointConfig, Home
from micro._endpoint.options import EndpointDefaults, EndpointOptions
from micro._endpoint.task_pool import TaskPool
from micro._errors import ConfigError, StoppedError
from micro._handlers.middleware import Middleware
from micro._handlers.typed import AnyHandler, bind
from micro._protocol import subjects
from micro._service.descriptions import Answers, Identity
from micro._service.discovery import Discovery
from micro._service.groups import EndpointOwner, Scope
from micro._service.notices import Notices
from micro._wire import permissions
from micro._wire.fence import fence, settle
from micro._wire.paths import Path, path_of

if TYPE_CHECKING:
    from micro._protocol.models import ServiceInfo, ServiceStats
    from micro._service.contracts import ContractRegistry, Contracts, OnIncompatible

logger = logging.getLogger("micro.service")

DRAIN_TIMEOUT = 30.0
"""Seconds that `Service.stop` gives to requests in flight."""

ErrorHandler = Callable[["Service", BaseException], Awaitable[None] | None]
DoneHandler = Callable[["Service", BaseException | None], Awaitable[None] | None]


class ServiceConfig(NamedTuple):
    """What a service is, decided once at its creation."""

    identity: Identity
    api_prefix: str
    now: Callable[[], datetime]
    error_handler: ErrorHandler | None
    done_handler: DoneHandler | None
    contracts: Contracts | None


class Service(EndpointOwner):
    """One instance of a service; made by `add_service`, an async context manager.

    A service must be started before endpoints are added.
    """

    def __init__(self, nc: NatsClient, config: ServiceConfig, scope: Scope) -> None:
        super().__init__(scope, self._start_endpoint)
        self._nc = nc
        self._config = config
        self._endpoints: dict[str, Endpoint] = {}  # by subject
        # Those that stop by themselves are out of INFO, but their requests are still waited for.
        self._leaving: WeakSet[Endpoint] = WeakSet()
        self._answers = Answers(config.identity, self._endpoints.values(), config.now())
        self._discovery = self._discover(nc)
        self._home: Home | None = None  # with the path, from the start on
        self._path: Path
        self._stopping: asyncio.Future[None] | None = None
        self._notices = Notices(f"service {self.name}")

    @property
    def name(self) -> str:
        """The kind of the service, shared by all its instances."""
        return self._config.identity.name

    @property
    def id(self) -> str:
        """The unique id of this instance."""
        return self._config.identity.id

    async def start(self) -> None:
        """Start the service: it can be discovered once this returns. Does nothing if it is running.

        Raises:
            StoppedError: It was stopped; create a new one.
            PermissionDeniedError: The server refuses the discovery subjects.
            ConnectError: The server does not answer.
        """
        if self._stopping is not None:
            raise StoppedError(f"service {self.name!r} has been stopped: create a new one")
        if self._home is not None:
            return
        self._home = Home(TaskPool(), self._failed, self._forget)
        self._path = path_of(self._nc)
        self._answers.started = self._config.now()
        try:
            await self._join(self._discovery, self._nc)
        except BaseException:
            self._home = None
            raise
        version = self._config.identity.version
        logger.info("service %s %s started, id %s", self.name, version, self.id)

    async def stop(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Stop the service without losing a request. Waits for a stop under way, does nothing twice.

        Its endpoints leave their queue groups first, then everything accepted is answered, discovery
        ends last. May be called from a handler, whose own request is then not waited for; while a
        stop is under way it returns to a handler at once, since that stop waits for the handler.

        Args:
            timeout: Seconds to wait for requests in flight; then they are cancelled and answered 503.
        """
        pool = None if self._home is None else self._home.pool
        if self._stopping is not None:
            if pool is None or pool.current() is None:
                await asyncio.shield(self._stopping)
            return
        self._stopping = asyncio.get_running_loop().create_future()
        failure: BaseException | None = None
        try:
            if pool is not None:
                pool.excuse()
                await self._drain(pool, timeout)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._stopping.set_result(None)
            self._notices.call(self._config.done_handler, self, failure)
            await self._notices.settle()

    async def _drain(self, pool: TaskPool, timeout: float) -> None:
        endpoints = [*self._endpoints.values(), *self._leaving]
        try:
            await asyncio.gather(*(endpoint.leave() for endpoint in endpoints))
            await asyncio.gather(*(endpoint.drain(timeout) for endpoint in endpoints))
        finally:
            await self._discovery.stop()
            await settle(self._nc)
            await pool.close()
        logger.info("service %s stopped, id %s", self.name, self.id)

    async def abort(self) -> None:
        """Let a stop under way end now: cancel the requests in flight and answer them with 503."""
        await asyncio.gather(
            *(endpoint.abort() for endpoint in (*self._endpoints.values(), *self._leaving))
        )

    async def move(self, nc: NatsClient) -> None:
        """Go on serving over another connection. No request is lost between the two.

        For a moment both are subscribed; an endpoint without queue group then gets requests twice.

        Raises:
            PermissionDeniedError: The server of the new connection refuses a subscription.
            ConnectError: It does not answer.
        """
        if self._home is None or self._is_stopping() or nc is self._nc:
            return
        path = path_of(nc)
        discovery = self._discover(nc)
        await self._join(discovery, nc)
        await asyncio.gather(*(endpoint.move(path) for endpoint in self._endpoints.values()))
        former, self._discovery = self._discovery, discovery
        self._nc, self._path = nc, path
        await former.stop()
        if self._is_stopping():  # meanwhile; it knew only the former one
            await discovery.stop()

    def _is_stopping(self) -> bool:
        return self._stopping is not None

    def stopped(self) -> bool:
        """Return whether the service has been stopped."""
        return self._stopping is not None and self._stopping.done()

    def info(self) -> ServiceInfo:
        """Return what the service answers to INFO."""
        from micro._protocol.models import (
            ServiceInfo,  # costs more to import than the rest of micro
        )

        return ServiceInfo.model_validate_json(self._answers.described())

    def stats(self) -> ServiceStats:
        """Return what the service answers to STATS; of a ``stats_handler`` the result found last."""
        from micro._protocol.models import ServiceStats

        return ServiceStats.model_validate_json(self._answers.measured())

    def reset(self) -> None:
        """Reset the counters of all endpoints and the time of start."""
        self._answers.started = self._config.now()
        for endpoint in self._endpoints.values():
            endpoint.reset()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _discover(self, nc: NatsClient) -> Discovery:
        answers = {
            "PING": self._answers.ping,
            "INFO": self._answers.info,
            "STATS": self._answers.stats,
        }
        return Discovery(nc, self._config.api_prefix, self.name, self.id, answers=answers)

    async def _join(self, discovery: Discovery, nc: NatsClient) -> None:
        try:
            await discovery.start()
            await fence(nc)
            permissions.check(nc, discovery.subjects, f"service {self.name!r}")
        except BaseException:
            await discovery.stop()
            raise

    async def _start_endpoint(self, config: EndpointConfig, handler: AnyHandler) -> Endpoint:
        if self._config.contracts is not None:
            self._running()
            agreed = await self._config.contracts.metadata(config.name, bind(handler))
            config = config._replace(metadata={**agreed, **config.metadata})
        home = self._running()
        if config.subject in self._endpoints:
            raise ConfigError(f"service {self.name!r} already listens on {config.subject!r}")
        endpoint = Endpoint(self._path, config, handler, home)
        self._endpoints[config.subject] = endpoint
        try:
            await endpoint.start()
        except BaseException:
            self._forget(endpoint)
            raise
        self._answers.changed()
        return endpoint

    def _running(self) -> Home:
        if self._home is None or self._stopping is not None:
            raise StoppedError(
                f"service {self.name!r} is not running: await start() first, or use 'async with'"
            )
        return self._home

    def _forget(self, endpoint: Endpoint) -> None:
        if self._endpoints.get(endpoint.subject) is endpoint:
            del self._endpoints[endpoint.subject]
            self._leaving.add(endpoint)
        self._answers.changed()

    def _failed(self, error: BaseException) -> None:
        self._notices.call(self._config.error_handler, self, error)


def add_service(  # noqa: PLR0913 - the documented signature
    nc: NatsClient,
    name: str,
    version: str,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
    queue_group: str | None = None,
    pending_bytes_limit_by_endpoint: int | None = None,
    pending_msgs_limit_by_endpoint: int | None = None,
    now: Callable[[], datetime] | None = None,
    id_generator: Callable[[], str] | None = None,
    api_prefix: str | None = None,
    *,
    middlewares: Iterable[Middleware] | None = None,
    error_handler: ErrorHandler | None = None,
    done_handler: DoneHandler | None = None,
    contracts: ContractRegistry | None = None,
    on_incompatible: OnIncompatible = "refuse",
    **options: Unpack[EndpointDefaults],
) -> Service:
    """Create a service; start it with ``async with`` or ``await service.start()``.

    Args:
        nc: The connected NATS client.
        name: The name of the service: letters, digits, ``-`` and ``_``.
        version: Its semantic version.
        description: What it is for.
        metadata: Strings; at most 128 KiB.
        queue_group: Default of all endpoints; ``q`` when not given, empty for none.
        pending_bytes_limit_by_endpoint: Default of all endpoints.
        pending_msgs_limit_by_endpoint: Default of all endpoints.
        now: The clock; UTC by default.
        id_generator: Makes the id of the instance; a NUID of 22 characters by default.
        api_prefix: Prefix of the discovery subjects; ``$SRV`` by default.
        middlewares: Run around those of groups and endpoints, first one outermost.
        error_handler: Called with the service and each error of a request, sync or async.
        done_handler: Called once with the service and None, or what made stopping fail.
        contracts: A schema registry; the schemas of typed endpoints are registered in it when they are added.
        on_incompatible: ``refuse`` makes ``add_endpoint`` raise `IncompatibleContractError` when a schema is
            not compatible with the one before; ``warn`` logs it.
        **options: Defaults of all endpoints, such as `max_in_flight` and `timeout`; see
            `EndpointDefaults`.

    Raises:
        ConfigError: A value is not acceptable.
    """
    clock = now if now is not None else _utc_now
    identity = Identity(
        name=subjects.check_name("service", name),
        id=subjects.check_name("instance", id_generator() if id_generator else _new_id()),
        version=subjects.check_version(version),
        description=subjects.check_description(description),
        metadata=subjects.check_metadata(metadata),
    )
    outermost = EndpointOptions().narrowed(
        queue_group=queue_group,
        pending_bytes_limit=pending_bytes_limit_by_endpoint,
        pending_msgs_limit=pending_msgs_limit_by_endpoint,
        middlewares=middlewares,
        **options,
    )
    scope = Scope(identity.name, identity.id, "", outermost)
    config = ServiceConfig(
        identity=identity,
        api_prefix=subjects.check_prefix(
            "API prefix", subjects.DEFAULT_API_PREFIX if api_prefix is None else api_prefix
        ),
        now=clock,
        error_handler=error_handler,
        done_handler=done_handler,
        contracts=None if contracts is None else _held_against(contracts, name, on_incompatible),
    )
    return Service(nc, config, scope)


def _held_against(
    registry: ContractRegistry, service: str, on_incompatible: OnIncompatible
) -> Contracts:
    from micro._service.contracts import Contracts

    return Contracts(service, registry, on_incompatible)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return NUID().next().decode()
