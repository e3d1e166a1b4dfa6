"""One instance of a service: how it starts, what it says of itself, how it stops (ADR-32)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nats.aio.client import Client as NatsClient
from nats.nuid import NUID

from micro import _permissions, _subjects
from micro._discovery import Discovery, encode
from micro._endpoint import Endpoint, EndpointConfig, settle
from micro._errors import ConfigError, StoppedError
from micro._fence import fence
from micro._middleware import Middleware
from micro._scope import EndpointOwner, Scope
from micro._typed import AnyHandler
from micro._wire import INFO_TYPE, PING_TYPE, STATS_TYPE, format_time
from micro._workers import Workers

if TYPE_CHECKING:
    from micro._models import ServiceInfo, ServiceStats

logger = logging.getLogger("micro.service")

DRAIN_TIMEOUT = 30.0
"""Seconds that `Service.stop` gives to requests in flight."""

MAX_INFO_BYTES = 64 * 1024
"""An INFO answer that would be larger carries hashes of the schemas in their place."""

ErrorHandler = Callable[["Service", BaseException], Awaitable[None] | None]
DoneHandler = Callable[["Service", BaseException | None], Awaitable[None] | None]


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What a service is, decided once at its creation."""

    name: str
    version: str
    description: str
    metadata: dict[str, str]
    id: str
    api_prefix: str
    now: Callable[[], datetime]
    error_handler: ErrorHandler | None
    done_handler: DoneHandler | None


class Service(EndpointOwner):
    """One instance of a service; made by `add_service`, an async context manager.

    A service must be started before endpoints are added.
    """

    def __init__(self, nc: NatsClient, config: ServiceConfig, scope: Scope) -> None:
        super().__init__(scope, self._start_endpoint)
        self._nc = nc
        self._config = config
        self._endpoints: list[Endpoint] = []
        answers = {"PING": self._ping, "INFO": self._info, "STATS": self._stats}
        self._discovery = Discovery(nc, config.api_prefix, config.name, config.id, answers=answers)
        self._workers: Workers | None = None
        self._started = config.now()
        self._stopping: asyncio.Future[None] | None = None
        self._callbacks: set[asyncio.Future[Any]] = set()
        self._info_body: bytes | None = None

    @property
    def name(self) -> str:
        """The kind of the service, shared by all its instances."""
        return self._config.name

    @property
    def id(self) -> str:
        """The unique id of this instance."""
        return self._config.id

    async def start(self) -> None:
        """Start the service: it can be discovered once this returns. Does nothing if it is running.

        Raises:
            StoppedError: It was stopped; create a new one.
            PermissionDeniedError: The server refuses the discovery subjects.
            ConnectError: The server does not answer.
        """
        if self._stopping is not None:
            raise StoppedError(f"service {self.name!r} has been stopped: create a new one")
        if self._workers is not None:
            return
        self._workers = Workers()
        self._started = self._config.now()
        try:
            await self._discovery.start()
            await fence(self._nc)
            _permissions.check(self._nc, self._discovery.subjects, f"service {self.name!r}")
        except BaseException:
            await self._discovery.stop()
            self._workers = None
            raise
        logger.info("service %s %s started, id %s", self.name, self._config.version, self.id)

    async def stop(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Stop the service without losing a request. Waits for a stop under way, does nothing twice.

        Its endpoints leave their queue groups first, then everything accepted is answered, discovery
        ends last. May be called from a handler, whose own request is then not waited for.

        Args:
            timeout: Seconds to wait for requests in flight; then they are cancelled and answered 503.
        """
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
            return
        self._stopping = asyncio.get_running_loop().create_future()
        failure: BaseException | None = None
        try:
            if self._workers is not None:
                await self._drain(self._workers, timeout)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._stopping.set_result(None)
            self._call(self._config.done_handler, failure)
            if self._callbacks:
                await asyncio.wait(self._callbacks, timeout=1)

    async def _drain(self, workers: Workers, timeout: float) -> None:
        endpoints = list(self._endpoints)
        try:
            for endpoint in endpoints:
                await endpoint.leave()
            await settle(self._nc)
            await asyncio.gather(*(endpoint.drain(timeout) for endpoint in endpoints))
        finally:
            await self._discovery.stop()
            await settle(self._nc)
            await workers.close()
        logger.info("service %s stopped, id %s", self.name, self.id)

    async def abort(self) -> None:
        """Let a stop under way end now: cancel the requests in flight and answer them with 503."""
        await asyncio.gather(*(endpoint.abort() for endpoint in self._endpoints))

    def stopped(self) -> bool:
        """Return whether the service has been stopped."""
        return self._stopping is not None and self._stopping.done()

    def info(self) -> ServiceInfo:
        """Return what the service answers to INFO."""
        from micro._models import ServiceInfo  # costs more to import than the rest of micro

        return ServiceInfo.model_validate_json(self._encoded_info())

    def stats(self) -> ServiceStats:
        """Return what the service answers to STATS; of a ``stats_handler`` the result found last."""
        from micro._models import ServiceStats

        return ServiceStats.from_response(self._measure())

    def reset(self) -> None:
        """Reset the counters of all endpoints and the time of start."""
        self._started = self._config.now()
        for endpoint in self._endpoints:
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

    async def _start_endpoint(self, config: EndpointConfig, handler: AnyHandler) -> Endpoint:
        if self._workers is None or self._stopping is not None:
            raise StoppedError(
                f"service {self.name!r} is not running: await start() first, or use 'async with'"
            )
        if any(endpoint.subject == config.subject for endpoint in self._endpoints):
            raise ConfigError(f"service {self.name!r} already listens on {config.subject!r}")
        endpoint = Endpoint(
            self._nc,
            config,
            handler,
            workers=self._workers,
            report=self._failed,
            left=self._forget,
        )
        self._endpoints.append(endpoint)
        try:
            await endpoint.start()
        except BaseException:
            self._forget(endpoint)
            raise
        self._info_body = None
        return endpoint

    def _forget(self, endpoint: Endpoint) -> None:
        if endpoint in self._endpoints:
            self._endpoints.remove(endpoint)
        self._info_body = None

    def _failed(self, error: BaseException) -> None:
        self._call(self._config.error_handler, error)

    def _call(self, handler: Callable[[Service, Any], Any] | None, argument: Any) -> None:
        """Run one of the user's callbacks; whatever it does harms nobody."""
        if handler is None:
            return
        try:
            found = handler(self, argument)
        except Exception:
            logger.exception("service %s: callback failed", self.name)
            return
        if inspect.isawaitable(found):
            task = asyncio.ensure_future(found)
            self._callbacks.add(task)
            task.add_done_callback(self._called)

    def _called(self, task: asyncio.Future[Any]) -> None:
        self._callbacks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("service %s: callback failed", self.name, exc_info=task.exception())

    def _identify(self) -> dict[str, Any]:
        config = self._config
        return {
            "name": config.name,
            "id": config.id,
            "version": config.version,
            "metadata": config.metadata,
        }

    def _describe(self, *, schemas: bool = True) -> dict[str, Any]:
        endpoints = [endpoint.describe(schemas=schemas) for endpoint in self._endpoints]
        return {
            **self._identify(),
            "description": self._config.description,
            "endpoints": endpoints,
        }

    def _measure(self) -> dict[str, Any]:
        endpoints = [endpoint.measure() for endpoint in self._endpoints]
        started = format_time(self._started)
        return {**self._identify(), "started": started, "endpoints": endpoints}

    async def _ping(self) -> bytes:
        return encode(PING_TYPE, self._identify())

    async def _info(self) -> bytes:
        return self._encoded_info()

    def _encoded_info(self) -> bytes:
        if self._info_body is None:
            self._info_body = encode(INFO_TYPE, self._describe())
            if len(self._info_body) > MAX_INFO_BYTES:
                self._info_body = encode(INFO_TYPE, self._describe(schemas=False))
        return self._info_body

    async def _stats(self) -> bytes:
        for endpoint in list(self._endpoints):
            await endpoint.refresh()
        return encode(STATS_TYPE, self._measure())


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
    max_in_flight: int | None = None,
    error_handler: ErrorHandler | None = None,
    done_handler: DoneHandler | None = None,
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
        max_in_flight: Default of all endpoints.
        error_handler: Called with the service and each error of a request, sync or async.
        done_handler: Called once with the service and None, or what made stopping fail.

    Raises:
        ConfigError: A value is not acceptable.
    """
    clock = now if now is not None else _utc_now
    scope = Scope(
        service=_subjects.check_name("service", name),
        queue_group=None if queue_group is None else _subjects.check_queue_group(queue_group),
        pending_bytes_limit=pending_bytes_limit_by_endpoint,
        pending_msgs_limit=pending_msgs_limit_by_endpoint,
        max_in_flight=max_in_flight,
        middlewares=tuple(middlewares) if middlewares is not None else (),
    )
    config = ServiceConfig(
        name=name,
        version=_subjects.check_version(version),
        description="" if description is None else description,
        metadata=_subjects.check_metadata(metadata),
        id=_subjects.check_name("instance", id_generator() if id_generator else _new_id()),
        api_prefix=_subjects.check_prefix(
            "API prefix", _subjects.DEFAULT_API_PREFIX if api_prefix is None else api_prefix
        ),
        now=clock,
        error_handler=error_handler,
        done_handler=done_handler,
    )
    return Service(nc, config, scope)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return NUID().next().decode()
