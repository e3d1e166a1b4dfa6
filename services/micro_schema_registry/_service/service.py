"""The schema registry as a NATS service: ``schema-registry``, endpoints below ``registry.v1``."""

import asyncio
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import micro
from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.endpoints import RegistryEndpoints
from micro_schema_registry._service.lookup import CacheOptions, Lookup
from micro_schema_registry._wire.models import GROUP, Event
from micro_schema_registry._wire.problems import refusal, service_error

NAME = "schema-registry"
_SHARE = 0.9
"""How much of the caller's time the registry may take: the rest is for the answer to arrive."""
_LONGEST_TOKEN = 200


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Say how the service behaves, whatever registry is behind it.

    Attributes:
        group: the subjects of the endpoints begin with it.
        timeout: seconds that a request may take whose sender does not say how long it waits (`micro.Client` always does).
        allow_delete: let artifacts and versions be deleted.
        cache: what is kept in memory.

    Raises:
        ValueError: the time-out is not positive.
    """

    group: str = GROUP
    timeout: float = 2.0
    allow_delete: bool = False
    cache: CacheOptions = field(default_factory=CacheOptions)

    def __post_init__(self) -> None:
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"invalid timeout {self.timeout!r}: expected seconds, more than 0")


async def add_registry_service(
    ctx: micro.Context,
    registry: SchemaRegistry | Callable[[], SchemaRegistry],
    *,
    backend: str = "custom",
    options: ServiceOptions | None = None,
) -> micro.Service:
    """Add the service ``schema-registry`` to a context, over any registry.

    Any number of instances may run; each tells the others on ``<group>.events.<group id>.<artifact id>`` what changed.

    Args:
        ctx: the connected context that the service stops with.
        registry: what is asked; it has to be without a cache of its own. A function is called for each request.
        backend: what the ``info`` endpoint calls it.
        options: how the service behaves.

    Raises:
        micro.ConfigError: the group is not a subject.
        micro.PermissionDeniedError: the server refuses a subject.
    """
    chosen = ServiceOptions() if options is None else options
    current = registry if callable(registry) else lambda: registry
    lookup = Lookup(current, chosen.cache)
    ctx.push(lookup.aclose)

    async def announce(event: Event) -> None:
        lookup.forget(event)
        subject = f"{chosen.group}.events.{_token(event.group)}.{_token(event.artifact)}"
        await ctx.client.publish(subject, event.model_dump_json().encode())

    async def told(event: Event) -> None:
        lookup.forget(event)

    async def reconnected() -> None:
        lookup.forget_names()

    ctx.add_reconnected_callback(reconnected)
    service = await ctx.add_service(
        NAME, micro.__version__, "Schemas and their versions, by name and by id"
    )
    endpoints = RegistryEndpoints(
        current, lookup, announce, backend=backend, allow_delete=chosen.allow_delete
    )
    group = service.add_group(chosen.group, middlewares=[_guard(ctx, chosen.timeout)])
    # Nobody may be told of a change before this instance is, so this comes first.
    await group.add_endpoint("events", told, "events.*.*", queue_group="", allow_wildcards=True)
    for subject, handler in endpoints.all().items():
        await group.add_endpoint(subject.replace(".", "-"), handler, subject)

    async def is_ready() -> bool:
        return (await endpoints.info()).ready

    ctx.add_check(NAME, is_ready)
    return service


def _guard(ctx: micro.Context, timeout: float) -> micro.Middleware:
    """Return what stands around every endpoint: the time it may take, its errors, the size of its answer."""

    async def guard(request: micro.Request, following: micro.NextHandler) -> micro.Response:
        allowed = _budget(request, timeout)
        try:
            async with asyncio.timeout(allowed):
                response = await following(request)
        except TimeoutError as error:
            reason = f"the registry did not answer within {allowed:.3g} s"
            raise refusal("deadline", 504, reason) from error
        except RegistryError as error:
            raise service_error(error) from error
        size, limit = len(response.data()), ctx.client.max_payload
        if size > limit:
            reason = f"the answer takes {size} bytes, more than the server's {limit}"
            raise refusal("refused", 413, reason)
        return response

    return guard


def _budget(request: micro.Request, default: float) -> float:
    """Return the seconds that a request may take."""
    remaining = request.remaining()
    return default if remaining is None else remaining * _SHARE


def _token(text: str) -> str:
    """Return an id as one token of a subject: percent-encoded, or hashed if that is long."""
    token = quote(text, safe="").replace(".", "%2E")
    return token if len(token) <= _LONGEST_TOKEN else hashlib.sha256(text.encode()).hexdigest()
