"""The etcd service: endpoints over an open connection to etcd, as one service of a micro context."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from micro import Context, Request, Service, __version__
from micro_etcd._direct.communicator import EtcdCommunicator
from micro_etcd._local_etcd import EtcdServer
from micro_etcd._service.config import RIGHTS, EtcdSection, EtcdServiceSettings, NamespaceRule
from micro_etcd._service.kv import KeyEndpoints
from micro_etcd._service.leases import LeaseEndpoints
from micro_etcd._service.namespaces import View, Views
from micro_etcd._service.txn import TxnEndpoint
from micro_etcd._service.watch import WatchEndpoints
from micro_etcd._wire.errors import to_service_error
from micro_etcd._wire.models import (
    AcquireBody,
    DeleteBody,
    GetBody,
    GetManyBody,
    GrantBody,
    LeaseBody,
    ListBody,
    PutBody,
    ReleaseBody,
)
from micro_etcd._wire.txn_models import TxnBody
from micro_etcd._wire.watch_models import StatusReply, StopBody, WatchBody
from micro_etcd.errors import EtcdError

Handle = Callable[[Request, View], Awaitable[None]]
Setup = Callable[[Context], Coroutine[Any, Any, None]]


class Route(NamedTuple):
    """One endpoint: its name, its subject behind the namespace token, its body and handler."""

    name: str
    subject: str
    model: type[Any] | None
    handle: Handle


class EtcdService:
    """Serves one open connection to etcd; an instance of `add_etcd_service`.

    Attributes:
        failures: Errors of etcd answered so far, by stable name; part of STATS.
    """

    def __init__(
        self, etcd: EtcdCommunicator[bytes], settings: EtcdServiceSettings, ctx: Context
    ) -> None:
        self.failures: dict[str, int] = {}
        self._etcd = etcd
        self._settings = settings
        self._ctx = ctx
        self._views = Views(etcd, settings.namespaces, group=settings.group)
        self._stopping = asyncio.Event()
        self._keys = KeyEndpoints(lambda: ctx.client.max_payload)
        self._watches: WatchEndpoints | None = None

    @property
    def watches(self) -> int:
        """How many watches this instance serves."""
        return 0 if self._watches is None else len(self._watches)

    @property
    def started_watches(self) -> int:
        """How many watches this instance has begun to serve so far."""
        return 0 if self._watches is None else self._watches.started

    async def start(self, service: Service) -> None:
        """Add the endpoints to a running service."""
        self._watches = watches = WatchEndpoints(
            self._keys,
            lambda: self._ctx.client,
            instance=service.id,
            max_watches=self._settings.max_watches,
            deliver_prefixes=self._settings.deliver_prefixes,
        )
        group = service.add_group(self._settings.group, max_in_flight=self._settings.max_in_flight)
        for route in self._routes(watches, service.id):
            metadata = {}
            if route.model is not None:
                schema = route.model.model_json_schema()
                metadata["micro.request.schema"] = json.dumps(schema, separators=(",", ":"))
            await group.add_endpoint(
                route.name,
                self._handler(route.handle),
                f"*.{route.subject}",
                metadata=metadata,
                allow_wildcards=True,
                stats_handler=self._stats,
            )

    async def close(self) -> None:
        """Send readers and waiters elsewhere; idempotent."""
        self._stopping.set()
        if self._watches is not None:
            await self._watches.close()

    def _routes(self, watches: WatchEndpoints, instance: str) -> list[Route]:
        leases = LeaseEndpoints(self._keys, self._stopping)
        return [
            Route("kv-get", "kv.get", GetBody, self._keys.get),
            Route("kv-get-many", "kv.get.many", GetManyBody, self._keys.get_many),
            Route("kv-put", "kv.put", PutBody, self._keys.put),
            Route("kv-delete", "kv.delete", DeleteBody, self._keys.delete),
            Route("kv-list", "kv.list", ListBody, self._keys.list),
            Route("txn", "txn", TxnBody, TxnEndpoint(self._keys).txn),
            Route("lease-grant", "lease.grant", GrantBody, leases.grant),
            Route("lease-keepalive", "lease.keepalive", LeaseBody, leases.keepalive),
            Route("lease-revoke", "lease.revoke", LeaseBody, leases.revoke),
            Route("lease-ttl", "lease.ttl", LeaseBody, leases.ttl),
            Route("lock-acquire", "lock.acquire", AcquireBody, leases.acquire),
            Route("lock-release", "lock.release", ReleaseBody, leases.release),
            Route("watch-start", "watch.start", WatchBody, watches.start),
            # Only the instance that serves a watch can stop it.
            Route("watch-stop", f"watch.stop.{instance}", StopBody, watches.stop),
            Route("status", "status", None, self._status),
        ]

    def _handler(self, handle: Handle) -> Callable[[Request], Awaitable[None]]:
        async def call(request: Request) -> None:
            try:
                await handle(request, self._views.view(request))
            except EtcdError as error:
                self.failures[error.name] = self.failures.get(error.name, 0) + 1
                raise to_service_error(error) from error

        return call

    def _stats(self, _endpoint: object) -> dict[str, Any]:
        return {
            "etcd_errors": self.failures,
            "watches": self.watches,
            "started_watches": self.started_watches,
        }

    async def _status(self, request: Request, view: View) -> None:
        view.need("status")
        members = [
            StatusReply.Endpoint(
                endpoint=found.endpoint,
                version=found.version,
                leader=found.leader,
                revision=found.revision,
                errors=found.errors,
            )
            for found in await self._etcd.status()
        ]
        reply = StatusReply(
            endpoints=members,
            namespace=view.token,
            allow=sorted(view.rule.allow),
            watches=self.watches,
        )
        await self._keys.answer(request, reply)


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
        etcd: An open connection that returns bytes (`communicator.raw`); it must outlive the context's
            services, so enter it into the context.
        settings: Namespaces and limits; where etcd is is not read from here.
        name: Name of the service.

    Raises:
        ConfigError: A name is not acceptable.
        PermissionDeniedError: The NATS server refuses a subscription.
    """
    served = EtcdService(etcd, settings, ctx)
    service = await ctx.add_service(
        name, __version__.partition("+")[0], description="etcd over NATS"
    )
    await served.start(service)

    async def is_ready() -> bool:
        return any(not endpoint.errors for endpoint in await etcd.status())

    ctx.add_check(name, is_ready)

    async def hand_over() -> None:
        # Before the service drains: readers and waiters lose no time.
        await ctx.wait()
        await served.close()

    task = asyncio.create_task(hand_over())

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await served.close()

    ctx.push(end)
    return served


def serve(
    settings: EtcdServiceSettings,
) -> Setup:
    """Return the setup function of a program that serves the etcd these settings describe."""

    async def setup(ctx: Context) -> None:
        etcd = await ctx.enter(settings.etcd.client().connect())
        await add_etcd_service(ctx, etcd, settings)

    return setup


async def setup_embedded(ctx: Context) -> None:
    """Serve an etcd of its own, started here with its data in a temporary folder: for trials.

    The one namespace is `demo`, with the prefix `/demo/` and every right.

    Raises:
        FileNotFoundError: There is no etcd to run.
    """
    server = await ctx.enter(_Embedded())
    settings = EtcdServiceSettings(
        etcd=EtcdSection(endpoints=[str(server.address)]),
        namespaces={"demo": NamespaceRule(prefix="/demo/", allow=frozenset(RIGHTS))},
    )
    await serve(settings)(ctx)


class _Embedded(AbstractAsyncContextManager[EtcdServer]):
    """An etcd process; starting and stopping it blocks, so that is done in a thread."""

    def __init__(self) -> None:
        self._server = EtcdServer()

    async def __aenter__(self) -> EtcdServer:
        await asyncio.to_thread(self._server.__enter__)
        return self._server

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self._server.close)
