"""The etcd service: its endpoints, its start and its stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from micro import Context, Request, Service, __version__
from micro_etcd._direct.communicator import EtcdCommunicator
from micro_etcd._local_etcd import EtcdServer
from micro_etcd._service.config import RIGHTS, EtcdSection, EtcdServiceSettings, NamespaceRule
from micro_etcd._service.guard import guard
from micro_etcd._service.kv import KeyEndpoints
from micro_etcd._service.leases import LeaseEndpoints
from micro_etcd._service.namespaces import Namespaces
from micro_etcd._service.txn import TxnEndpoints
from micro_etcd._service.watch import WatchEndpoints
from micro_etcd._wire.watch import StatusReply

SLACK = 64 << 10  # bytes of an answer of etcd around the values
Setup = Callable[[Context], Coroutine[Any, Any, None]]


class EtcdService:
    """One instance of the service, over one open connection to etcd.

    Attributes:
        failures: Number of error replies by stable name; part of STATS.
    """

    def __init__(
        self, etcd: EtcdCommunicator[bytes], settings: EtcdServiceSettings, ctx: Context
    ) -> None:
        self.failures: dict[str, int] = {}
        self._etcd = etcd
        self._settings = settings
        self._ctx = ctx
        self._bounded = etcd.bounded(ctx.client.max_payload + SLACK)
        self._namespaces = Namespaces(
            etcd, self._bounded, settings.namespaces, group=settings.group
        )
        self._stopping = asyncio.Event()
        self._watches: WatchEndpoints | None = None

    @property
    def watches(self) -> int:
        """Number of watches that this instance serves."""
        return 0 if self._watches is None else len(self._watches)

    @property
    def started_watches(self) -> int:
        """Number of watches that this instance has started so far."""
        return 0 if self._watches is None else self._watches.started

    async def start(self, service: Service) -> None:
        """Add the endpoints to a running service."""
        self._watches = watches = WatchEndpoints(
            self._namespaces,
            lambda: self._ctx.client,
            instance=service.id,
            max_watches=self._settings.max_watches,
            max_per_namespace=self._settings.namespace_watches,
            deliver_prefixes=self._settings.deliver_prefixes,
        )
        keys = KeyEndpoints(self._namespaces, self._max_payload)
        leases = LeaseEndpoints(
            self._namespaces, self._stopping, max_waiting=self._settings.max_waiting
        )
        handlers = {
            **keys.all(),
            **TxnEndpoints(self._namespaces, self._max_payload).all(),
            **leases.all(),
            **watches.all(),
            "status": self.status,
        }
        raw = keys.raw()
        around = guard(self._namespaces, self._max_payload, self.failures)
        group = service.add_group(self._settings.group, middlewares=[around])
        for operation, handler in handlers.items():
            # Only the instance that serves a watch can stop it.
            instance = f".{service.id}" if operation == "watch.stop" else ""
            # Waiting is not in flight: it holds up no other request.
            waiting = self._settings.max_waiting * len(self._settings.namespaces)
            await group.add_endpoint(
                operation.replace(".", "-"),
                handler,
                f"*.{operation}{instance}",
                middlewares=[raw[operation]] if operation in raw else None,
                max_in_flight=self._settings.max_in_flight
                + (waiting if operation == "lock.acquire" else 0),
                allow_wildcards=True,
                stats_handler=self._stats,
            )

    async def close(self) -> None:
        """Send readers and waiters to other instances; idempotent."""
        self._stopping.set()
        if self._watches is not None:
            await self._watches.close()

    async def disconnect(self) -> None:
        """Close the connection for reads; idempotent."""
        await self._bounded.close()

    async def status(self, request: Request) -> StatusReply:
        """Answer `status`."""
        view = self._namespaces.view(request, "status")
        members = await self._etcd.status()
        return StatusReply(
            endpoints=[StatusReply.Endpoint.model_validate(each) for each in members],
            namespace=view.token,
            allow=sorted(view.rule.allow),
            watches=self.watches,
        )

    def _max_payload(self) -> int:
        return self._ctx.client.max_payload

    def _stats(self, _endpoint: object) -> dict[str, Any]:
        return {
            "etcd_errors": self.failures,
            "watches": self.watches,
            "started_watches": self.started_watches,
        }


async def add_etcd_service(
    ctx: Context,
    etcd: EtcdCommunicator[bytes],
    settings: EtcdServiceSettings,
    *,
    name: str = "etcd",
) -> EtcdService:
    """Serve etcd to the callers of a NATS server, namespace by namespace.

    Args:
        ctx: The context to add the service to; connected.
        etcd: An open connection that returns bytes (`communicator.raw`). It must outlive the
            services of the context, so enter it into the context.
        settings: Namespaces and limits; its section `etcd` is not used.
        name: Name of the service.

    Raises:
        ConfigError: The name is not valid.
        PermissionDeniedError: The NATS server refuses a subscription.
    """
    served = EtcdService(etcd, settings, ctx)
    ctx.push(served.disconnect)
    service = await ctx.add_service(
        name, __version__.partition("+")[0], description="etcd over NATS"
    )
    await served.start(service)

    async def is_ready() -> bool:
        return any(not endpoint.errors for endpoint in await etcd.status())

    ctx.add_check(name, is_ready)

    async def hand_over() -> None:
        # Before the service drains, so that readers and waiters lose no time.
        await ctx.wait()
        await served.close()

    task = asyncio.create_task(hand_over())

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await served.close()

    ctx.push(end)
    return served


async def setup(ctx: Context, settings: EtcdServiceSettings | None = None) -> None:
    """Serve etcd with the settings of the environment by default: `micro.run(setup)`.

    Raises:
        ConfigError: The settings cannot work.
        EtcdError: etcd cannot be reached.
        PermissionDeniedError: The NATS server refuses a subscription.
    """
    chosen = EtcdServiceSettings.load(None) if settings is None else settings
    etcd = await ctx.enter(chosen.etcd.client().connect())
    await add_etcd_service(ctx, etcd, chosen)


def serve(settings: EtcdServiceSettings) -> Setup:
    """Return `setup` for these settings."""
    return partial(setup, settings=settings)


async def setup_embedded(ctx: Context) -> None:
    """Serve a new etcd with its data in a temporary folder, for trials.

    The one namespace is `demo`, with the prefix `/demo/` and every right.

    Raises:
        FileNotFoundError: There is no etcd program.
    """
    server = await ctx.enter(_embedded())
    settings = EtcdServiceSettings(
        etcd=EtcdSection(endpoints=[str(server.address)]),
        namespaces={"demo": NamespaceRule(prefix="/demo/", allow=frozenset(RIGHTS))},
    )
    await setup(ctx, settings)


@asynccontextmanager
async def _embedded() -> AsyncIterator[EtcdServer]:
    """Run an etcd process, started and stopped in a thread, since that blocks."""
    server = EtcdServer()
    await asyncio.to_thread(server.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.close)
