"""A program of services: connect, set up, wait, stop."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from nats.aio.client import Client as NatsClient

from micro._client.publishing import Publishing
from micro._connection.managed_connection import ManagedConnection
from micro._connection.settings import ConnectOption
from micro._errors import StoppedError
from micro._handlers.exceptions import (
    ExceptionAnswer,
    ExceptionHandlers,
    check_exception_handlers,
)
from micro._handlers.middleware import Middleware
from micro._handlers.threads import MAX_THREADS
from micro._program.coordination import Coordinating
from micro._program.lifetime import Lifetime
from micro._program.stopping import signals_to_trap
from micro._service.declared import ServiceOptions, add_declared
from micro._service.instance import DoneHandler, ErrorHandler
from micro._service.service import Service, add_service

if TYPE_CHECKING:
    from micro._endpoint.options import EndpointDefaults
    from micro._service.contracts import ContractRegistry, OnIncompatible

T = TypeVar("T")

Check = Callable[[], Awaitable[object] | object]
"""A readiness check, sync or async; it fails if it raises or returns False."""


class Context(Publishing, Coordinating):
    """A program that runs services, and the owner of its connection.

    An async context manager. At its end all services stop at the same time, without losing a
    request. Then everything entered or pushed is left in reverse order. The connection closes last.

    Args:
        client: A NATS client to connect with, by default a new one. A client that is connected
            already is used as it is, and stays open.
        grace: Seconds that a stop may take in all. Then requests in flight are cancelled and
            answered 503, and exits of entered contexts are cancelled. By default the environment
            variable `MICRO_GRACE`, else 25.
        exception_handlers: The answers to exceptions of all services that are added later; see
            `EndpointDefaults`.

    Raises:
        ConfigError: The grace time is not a number of seconds from 0, or an exception handler is
            not acceptable.
    """

    def __init__(
        self,
        client: NatsClient | None = None,
        *,
        grace: float | None = None,
        exception_handlers: ExceptionHandlers | None = None,
    ) -> None:
        self._exception_handlers = check_exception_handlers(exception_handlers or {})
        self.__lifetime__ = Lifetime(grace)
        self.__middlewares__: tuple[Middleware, ...] = ()  # of the tool that runs the program
        self._connection = ManagedConnection(
            NatsClient() if client is None else client,
            self.__lifetime__.callbacks,
            move=self.__lifetime__.move,
            lost=self.__lifetime__.fail,
        )
        self._checks: dict[str, Check] = {}
        self._connected = False

    @property
    def client(self) -> NatsClient:
        """The NATS client; another one after a replacement of the connection."""
        return self._connection.client

    def __connected__(self) -> NatsClient:
        return self.client

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that were added."""
        return tuple(self.__lifetime__.services)

    @property
    def checks(self) -> Mapping[str, Check]:
        """The readiness checks, by name."""
        return dict(self._checks)

    def add_check(self, name: str, check: Check) -> None:
        """Add a readiness check of something that all requests need.

        `micro.health` runs it. The check fails if it raises, returns False, or takes too long.

        Args:
            name: The name of the check; a former check of that name is replaced.
            check: Called without arguments, sync or async.
        """
        self._checks[name] = check

    def add_exception_handler(self, kind: type[Exception], answer: ExceptionAnswer) -> None:
        """Set the answer to a type of exceptions in all services that are added later.

        Args:
            kind: The type of exceptions; a handler of a subclass goes before.
            answer: The code, or a function that takes the exception and returns a `ServiceError`.

        Raises:
            ConfigError: The type or the answer is not acceptable.
        """
        self._exception_handlers.update(check_exception_handlers({kind: answer}))

    def add_disconnected_callback(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Add a callback for the loss of the connection."""
        self.__lifetime__.callbacks.add("disconnected", callback)

    def add_reconnected_callback(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Add a callback for a successful reconnect."""
        self.__lifetime__.callbacks.add("reconnected", callback)

    def add_closed_callback(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Add a callback for the final close of the connection."""
        self.__lifetime__.callbacks.add("closed", callback)

    def add_error_callback(self, callback: Callable[[Exception], Awaitable[None]]) -> None:
        """Add a callback for the asynchronous errors of the connection."""
        self.__lifetime__.callbacks.add("error", callback)

    async def connect(self, *options: ConnectOption) -> None:
        """Connect to the NATS server; return early if the context is cancelled.

        Args:
            options: Values from `micro.options`; the environment has the rest.

        Raises:
            ConnectError: No server can be reached, or a server refuses the connection.
            ConfigError: The options are not acceptable.
        """
        if self._connected:
            return
        self.__lifetime__.stack.push_async_callback(self._connection.close)
        if self.client.is_connected:
            self._connection.adopt()
        else:
            await self.wait_for(self._connection.connect(options))
        self._connected = True

    async def add_service(  # noqa: PLR0913 - the documented signature
        self,
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
        max_threads: int = MAX_THREADS,
        **options: Unpack[EndpointDefaults],
    ) -> Service:
        """Create and start a service that stops with the context.

        Takes the same parameters as `add_service`.

        Raises:
            ConfigError: A value is not acceptable.
            StoppedError: The context is not connected.
            PermissionDeniedError: The server refuses the discovery subjects.
        """
        if not self.client.is_connected and not self.client.is_reconnecting:
            raise StoppedError(f"cannot add service {name!r}: the context is not connected")
        if self._exception_handlers:
            given = options.get("exception_handlers") or {}
            options["exception_handlers"] = {**self._exception_handlers, **given}
        service = add_service(
            self.client,
            name,
            version,
            description,
            metadata,
            queue_group,
            pending_bytes_limit_by_endpoint,
            pending_msgs_limit_by_endpoint,
            now,
            id_generator,
            api_prefix,
            middlewares=self._around(middlewares),
            error_handler=error_handler,
            done_handler=done_handler,
            contracts=contracts,
            on_incompatible=on_incompatible,
            max_threads=max_threads,
            **options,
        )
        service.__instance__.moves = True
        await self.enter(service)
        self.__lifetime__.services.append(service)
        return service

    async def add(self, service: object, **options: Unpack[ServiceOptions]) -> Service:
        """Add a declared service with its groups and endpoints.

        Args:
            service: A service made by `micro.service`, or a class or an instance of a class that
                it declares. A class is called without arguments.
            **options: Options of `add_service` in place of those of the declaration, such as
                `contracts`.

        Raises:
            ConfigError: The value is no declared service, or a declaration is not acceptable.
            StoppedError: The context is not connected.
            PermissionDeniedError: The server refuses a subscription.
            IncompatibleContractError: The service has contracts, and a schema breaks one.
        """
        return await add_declared(service, options, self.add_service)

    def reset(self) -> None:
        """Reset the counters of all services."""
        for service in self.__lifetime__.services:
            service.reset()

    def cancel(self) -> None:
        """Cancel the context: `wait` returns, `run_forever` ends."""
        self.__lifetime__.cancel()

    def cancelled(self) -> bool:
        """Return whether the context was cancelled."""
        return self.__lifetime__.cancelled.is_set()

    async def wait(self) -> None:
        """Wait until the context is cancelled."""
        await self.__lifetime__.cancelled.wait()

    async def wait_for(self, coro: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine; cancel it, without an error, when the context is cancelled.

        Raises:
            Exception: The coroutine raised it.
        """
        await self.__lifetime__.cancelled.bound(coro)

    def spawn(self, work: Coroutine[Any, Any, Any], *, drain: bool = False) -> asyncio.Task[Any]:
        """Start background work: a task that ends with the context; a failure is logged.

        The work has no deadline, even if a handler starts it. It is cancelled when the services
        have stopped, before anything that was entered is left.

        Args:
            work: A coroutine.
            drain: Wait for the work to end before it is cancelled, as long as for requests.

        Raises:
            StoppedError: The context has ended.
        """
        return self.__lifetime__.background.spawn(work, drain=drain)

    def push(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Add a callback, sync or async, to run when the context ends."""

        async def call() -> None:
            outcome = callback()
            if inspect.isawaitable(outcome):
                await outcome

        self.__lifetime__.stack.push_async_callback(call)

    async def enter(self, async_context: AbstractAsyncContextManager[T]) -> T:
        """Enter an async context manager that is left when the context ends."""
        return await self.__lifetime__.stack.enter_async_context(async_context)

    def _around(self, middlewares: Iterable[Middleware] | None) -> Iterable[Middleware] | None:
        if not self.__middlewares__:
            return middlewares
        return (*self.__middlewares__, *(() if middlewares is None else middlewares))

    def trap_signal(self, *signals: signal.Signals) -> None:
        """Cancel the context on these signals, by default SIGINT and SIGTERM.

        A second signal cancels the requests in flight and ends the process within a second, a third
        signal has its usual effect. If a stop takes longer than the grace time plus two seconds,
        the log names the tasks and threads that it waits for, and the process ends.
        """
        self.__lifetime__.signals.trap(*signals)

    async def run_forever(
        self,
        setup: Callable[[Context], Coroutine[Any, Any, None]],
        /,
        *options: ConnectOption,
        trap_signals: bool | tuple[signal.Signals, ...] = False,
    ) -> None:
        """Connect, set up, and run until the context is cancelled; then stop everything.

        The context must not have been entered before.

        Args:
            setup: An async function of the context that adds services.
            options: Values from `micro.options`.
            trap_signals: True for SIGINT and SIGTERM, or the signals to trap.

        Raises:
            ConnectError: The connection cannot be made, or is closed for good.
            ConfigError: A declaration is not acceptable.
            Exception: The setup function raised it.
        """
        trapped = signals_to_trap(trap_signals)
        async with self:
            if trapped is not None:
                self.trap_signal(*trapped)
            await self.connect(*options)
            if not self.cancelled():
                await self.wait_for(setup(self))
            await self.wait()
            if self.__lifetime__.failure is not None:
                raise self.__lifetime__.failure

    async def __aenter__(self) -> Self:
        self.__lifetime__.last_resort.loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self.__lifetime__.end(*error)
