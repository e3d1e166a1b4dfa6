"""One running instance of a service: its life, its endpoints, its answers to discovery."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from nats.aio.client import Client as NatsClient

from micro._endpoint.endpoint import Endpoint, EndpointConfig, Home, ServedEndpoint
from micro._endpoint.task_pool import TaskPool
from micro._errors import ConfigError, StoppedError
from micro._events.declaring import Make
from micro._handlers.threads import Threads
from micro._handlers.typed import AnyHandler, bind
from micro._service.captures import CaptureCheck
from micro._service.descriptions import Answers, Identity
from micro._service.discovery import Discovery
from micro._service.notices import Notices
from micro._wire import permissions
from micro._wire.client_state import when_closed
from micro._wire.fence import settle
from micro._wire.paths import Path, path_of
from micro._wire.permissions import Refusal

if TYPE_CHECKING:
    from micro._service.contracts import Contracts
    from micro._service.service import Service

logger = logging.getLogger("micro.service")

DRAIN_TIMEOUT = 30.0
"""Seconds that a stop gives to requests in flight."""

ErrorHandler = Callable[["Service", BaseException], Awaitable[None] | None]
DoneHandler = Callable[["Service", BaseException | None], Awaitable[None] | None]


class ServiceConfig(NamedTuple):
    """The declaration of a service.

    Attributes:
        identity: Its name, id, version, description and metadata.
        api_prefix: The prefix of the discovery subjects.
        now: The clock.
        error_handler: Called with the service and each error of a request.
        done_handler: Called once with the service and None, or the error that made stopping fail.
        contracts: The registry of its schemas.
        threads: The threads of its blocking handlers.
    """

    identity: Identity
    api_prefix: str
    now: Callable[[], datetime]
    error_handler: ErrorHandler | None
    done_handler: DoneHandler | None
    contracts: Contracts | None
    threads: Threads


class ServiceInstance:
    """A service as the framework sees it; users see a `Service`.

    Args:
        public: The service as users see it.
        nc: The connection.
        config: The declaration.

    Attributes:
        config: The declaration.
        answers: The bodies of the answers to discovery.
        moves: Whether its owner moves it to another connection, or stops it, when its own closes.
    """

    def __init__(self, public: Service, nc: NatsClient, config: ServiceConfig) -> None:
        self.config = config
        self._public = public
        self._nc = nc
        self._name = config.identity.name
        self._endpoints: dict[str, ServedEndpoint] = {}  # by key
        # Endpoints that stop by themselves have left INFO, but their requests are still waited for.
        self._leaving: WeakSet[ServedEndpoint] = WeakSet()
        self.answers = Answers(config.identity, self._endpoints.values(), config.now())
        self._discovery = self._discover(path_of(nc))
        self._home: Home | None = None  # with the path, from the start on
        self._path: Path
        self._stopping: asyncio.Future[None] | None = None
        self._notices = Notices(f"service {self._name}")
        self._captures = CaptureCheck(self._name)
        self._rehearsing = False
        self.moves = False
        self._ending: asyncio.Task[None] | None = None

    def rehearse(self) -> None:
        """Take declarations from now on, without a server: nothing is subscribed or registered."""
        self._rehearsing = True
        self._home = Home(TaskPool(), self.config.threads, self._failed, self._forget)
        self._path = path_of(self._nc)

    async def start(self) -> None:
        """Start the service; see `Service.start`."""
        if self._stopping is not None:
            raise StoppedError(f"service {self._name!r} has been stopped: create a new one")
        if self._home is not None:
            return
        self._home = Home(TaskPool(), self.config.threads, self._failed, self._forget)
        self._path = path_of(self._nc)
        permissions.watch(self._nc, self._refused)
        self.answers.started = self.config.now()
        try:
            await self._join(self._discovery)
        except BaseException:
            self._home = None
            raise
        if not self.moves:
            when_closed(self._nc, self._end)
        version = self.config.identity.version
        logger.info("service %s %s started, id %s", self._name, version, self.config.identity.id)

    def _end(self) -> None:
        """Stop with the connection, unless the service has moved to another one."""
        if self._nc.is_closed and not self._is_stopping():
            logger.error("service %s: the connection is closed, stopping", self._name)
            self._ending = asyncio.get_running_loop().create_task(self.stop(DRAIN_TIMEOUT))

    async def stop(self, timeout: float) -> None:
        """Stop the service; see `Service.stop`."""
        pool = None if self._home is None else self._home.pool
        if self._stopping is not None:
            if pool is None or pool.current() is None:
                await asyncio.shield(self._stopping)
            return
        self._stopping = asyncio.get_running_loop().create_future()
        self._captures.stop()
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
            done = Notices(f"service {self._name}")  # it does not wait behind errors
            done.call(self.config.done_handler, self._public, failure)
            await asyncio.gather(done.settle(), self._notices.settle())

    async def _drain(self, pool: TaskPool, timeout: float) -> None:
        endpoints = [*self._endpoints.values(), *self._leaving]
        try:
            await asyncio.gather(*(endpoint.leave() for endpoint in endpoints))
            await asyncio.gather(*(endpoint.drain(timeout) for endpoint in endpoints))
        finally:
            self._cut_off()
            await self._discovery.stop()
            await settle(self._nc)
            await pool.close()
            self.config.threads.close()
        logger.info("service %s stopped, id %s", self._name, self.config.identity.id)

    async def abort(self) -> None:
        """End a stop under way now: cancel the requests in flight and answer them with 503."""
        await asyncio.gather(
            *(endpoint.abort() for endpoint in (*self._endpoints.values(), *self._leaving))
        )
        self._cut_off()

    def _cut_off(self) -> None:
        for endpoint in (*self._endpoints.values(), *self._leaving):
            endpoint.cut_off()

    async def move(self, nc: NatsClient) -> None:
        """Continue on another connection; no request is lost between the two.

        For a moment both are subscribed; an endpoint without queue group then gets requests twice.

        A subscription that the server of the new connection refuses is made again until it holds.

        Raises:
            ConnectError: The server does not answer.
        """
        if self._home is None or self._is_stopping() or nc is self._nc:
            return
        path = path_of(nc)
        discovery = self._discover(path)
        await self._join(discovery, insist=False)
        await asyncio.gather(*(endpoint.move(path) for endpoint in self._endpoints.values()))
        former, self._discovery = self._discovery, discovery
        self._nc, self._path = nc, path
        permissions.watch(nc, self._refused)
        if not self.moves:
            when_closed(nc, self._end)
        await former.stop()
        if self._is_stopping():  # meanwhile; it knew only the former one
            await discovery.stop()

    def _is_stopping(self) -> bool:
        return self._stopping is not None

    def stopped(self) -> bool:
        """Return whether the service has been stopped."""
        return self._stopping is not None and self._stopping.done()

    def refused(self) -> tuple[str, ...]:
        """Return the subjects whose subscriptions the server has dropped."""
        endpoints = self._endpoints.values()
        own = [endpoint.config.subject for endpoint in endpoints if endpoint.refused]
        return (*own, *self._discovery.refused)

    def reset(self) -> None:
        """Reset the counters of all endpoints and the time of start."""
        self.answers.started = self.config.now()
        for endpoint in self._endpoints.values():
            endpoint.reset()

    def _discover(self, path: Path) -> Discovery:
        own = self.answers
        answers = {"PING": own.ping, "INFO": own.info, "STATS": own.stats}
        prefix, id = self.config.api_prefix, self.config.identity.id
        return Discovery(path, prefix, self._name, id, answers=answers)

    async def _join(self, discovery: Discovery, *, insist: bool = True) -> None:
        try:
            await discovery.start(f"service {self._name!r}", self._failed, insist=insist)
        except BaseException:
            await discovery.stop()
            raise

    async def add_endpoint(
        self, config: EndpointConfig, handler: AnyHandler, make: Make = ServedEndpoint
    ) -> Endpoint:
        """Add an endpoint; see `Service.add_endpoint`."""
        if self.config.contracts is not None and not self._rehearsing:
            self._running()
            name = f"{config.group}.{config.name}" if config.group else config.name
            agreed = await self.config.contracts.metadata(
                name, bind(handler, codec=config.options.codec)
            )
            config = config._replace(metadata={**agreed, **config.metadata})
        home = self._running()
        if config.key in self._endpoints:
            where = config.origin or config.subject
            raise ConfigError(f"service {self._name!r} already listens on {where!r}")
        endpoint = make(self._path, config, handler, home)
        self._endpoints[config.key] = endpoint
        if self._rehearsing:
            return endpoint.public
        try:
            await endpoint.start()
        except BaseException:
            self._forget(endpoint)
            raise
        self.answers.changed()
        if not config.event:
            self._captures.add(self._nc, config.name, config.subject)
        return endpoint.public

    def _running(self) -> Home:
        if self._home is None or self._stopping is not None:
            raise StoppedError(
                f"service {self._name!r} is not running: await start() first, or use 'async with'"
            )
        return self._home

    def _forget(self, endpoint: ServedEndpoint) -> None:
        if self._endpoints.get(endpoint.config.key) is endpoint:
            del self._endpoints[endpoint.config.key]
            self._leaving.add(endpoint)
        self.answers.changed()

    def _refused(self, refusal: Refusal) -> None:
        if refusal.action == "publish" and refusal.subject is not None:
            for endpoint in self._endpoints.values():
                endpoint.answer_refused(refusal.subject)

    def _failed(self, error: BaseException) -> None:
        self._notices.call(self.config.error_handler, self._public, error)
