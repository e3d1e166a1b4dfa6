"""Services as users see them: declared by `add_service`, started, stopped, and asked for INFO."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from nats.aio.client import Client as NatsClient
from nats.nuid import NUID

from micro._endpoint.options import EndpointDefaults, EndpointOptions
from micro._events.declaring import Scope
from micro._handlers.middleware import Middleware
from micro._handlers.threads import MAX_THREADS, Threads
from micro._protocol import subjects
from micro._service.descriptions import Identity
from micro._service.groups import EndpointOwner
from micro._service.instance import (
    DRAIN_TIMEOUT,
    DoneHandler,
    ErrorHandler,
    ServiceConfig,
    ServiceInstance,
)

if TYPE_CHECKING:
    from micro._protocol.models import ServiceInfo, ServiceStats
    from micro._service.contracts import ContractRegistry, Contracts, OnIncompatible


class Service(EndpointOwner):
    """One instance of a service; made by `add_service`, an async context manager.

    A service must be started before endpoints are added.
    """

    def __init__(self, nc: NatsClient, config: ServiceConfig, scope: Scope) -> None:
        # For the context that owns the service, and not part of the interface.
        self.__instance__ = ServiceInstance(self, nc, config)
        super().__init__(scope, self.__instance__.add_endpoint)

    @property
    def name(self) -> str:
        """The kind of the service, shared by all its instances."""
        return self.__instance__.config.identity.name

    @property
    def id(self) -> str:
        """The unique id of this instance."""
        return self.__instance__.config.identity.id

    async def start(self) -> None:
        """Start the service: it can be discovered once this returns. Does nothing if it is running.

        Raises:
            StoppedError: The service was stopped; create a new one.
            PermissionDeniedError: The server refuses the discovery subjects.
            ConnectError: The server does not answer.
        """
        await self.__instance__.start()

    async def stop(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Stop the service without losing a request; a second call waits for the first.

        The endpoints leave their queue groups first, then every accepted request is answered;
        discovery ends last. A handler may call it: its own request is not waited for. While a stop
        is under way it returns to a handler at once, since that stop waits for the handler.

        Args:
            timeout: Seconds to wait for requests in flight; then they are cancelled with 503.
        """
        await self.__instance__.stop(timeout)

    def stopped(self) -> bool:
        """Return whether the service has been stopped; it stops when its connection is closed."""
        return self.__instance__.stopped()

    def refused(self) -> tuple[str, ...]:
        """Return the subjects whose subscriptions the server has dropped and still refuses."""
        return self.__instance__.refused()

    def info(self) -> ServiceInfo:
        """Return the service's answer to INFO."""
        from micro._protocol.models import ServiceInfo  # takes longer to import than all the rest

        return ServiceInfo.model_validate_json(self.__instance__.answers.described())

    def stats(self) -> ServiceStats:
        """Return the service's answer to STATS, with the latest results of statistics handlers."""
        from micro._protocol.models import ServiceStats

        return ServiceStats.model_validate_json(self.__instance__.answers.measured())

    def reset(self) -> None:
        """Reset the counters of all endpoints and the time of start."""
        self.__instance__.reset()

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
    max_threads: int = MAX_THREADS,
    **options: Unpack[EndpointDefaults],
) -> Service:
    """Create a service; start it with `async with` or `await service.start()`.

    Args:
        nc: The connected NATS client.
        name: The name of the service: letters, digits, `-` and `_`.
        version: Its semantic version.
        description: Its purpose, for INFO.
        metadata: Strings; at most 128 KiB.
        queue_group: Default of all endpoints; `q` when not given, empty for none.
        pending_bytes_limit_by_endpoint: Default of all endpoints.
        pending_msgs_limit_by_endpoint: Default of all endpoints.
        now: The clock; UTC by default.
        id_generator: Makes the id of the instance; a NUID of 22 characters by default.
        api_prefix: Prefix of the discovery subjects; `$SRV` by default.
        middlewares: Middlewares around those of groups and endpoints, first one outermost.
        error_handler: Called with the service and each error of a request, sync or async.
        done_handler: Called once with the service and None, or the error that made stopping fail;
            also after the connection was closed or drained.
        contracts: A schema registry; `add_endpoint` registers the schemas of typed endpoints there.
        on_incompatible: `refuse` makes `add_endpoint` raise `IncompatibleContractError` when a
            schema is not compatible with the one before; `warn` logs it.
        max_threads: Threads for `def` handlers, a pool of this service; eight calls for each may
            wait, more are refused with 503.
        **options: Defaults of all endpoints, such as `max_in_flight` and `timeout`; see
            `EndpointDefaults`.

    Raises:
        ConfigError: A value is not acceptable.
    """
    identity = Identity(
        name=subjects.check_name("service", name),
        id=subjects.check_name(
            "instance", id_generator() if id_generator else NUID().next().decode()
        ),
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
    prefix = subjects.check_prefix(
        "API prefix", subjects.DEFAULT_API_PREFIX if api_prefix is None else api_prefix
    )
    longest = subjects.control_subject("STATS", prefix, identity.name, identity.id)
    subjects.check_length("discovery subject", longest)
    agreed: Contracts | None = None
    if contracts is not None:
        from micro._service.contracts import Contracts

        agreed = Contracts(name, contracts, on_incompatible)
    config = ServiceConfig(
        identity=identity,
        api_prefix=prefix,
        now=now or (lambda: datetime.now(UTC)),
        error_handler=error_handler,
        done_handler=done_handler,
        contracts=agreed,
        threads=Threads(max_threads),
    )
    return Service(nc, config, scope)
