"""The NATS service `schema-registry`, with endpoints below `registry.v1`."""

import asyncio
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import micro
from micro.health import Health
from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.endpoints import RegistryEndpoints
from micro_schema_registry._service.lookup import CacheOptions, Lookup
from micro_schema_registry._service.outgoing import Outgoing
from micro_schema_registry._wire.models import GROUP, Event
from micro_schema_registry._wire.problems import refusal, service_error

NAME = "schema-registry"
_SHARE = 0.9
"""The part of the caller's time for the registry; the rest is for the answer to arrive."""
_LONGEST_TOKEN = 200


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Options of the service, independent of the registry behind it.

    Attributes:
        group: Prefix of the subjects of the endpoints.
        timeout: Seconds for a request without a deadline (`micro.Client` always sends one).
        allow_delete: Permit the deletion of artifacts and versions.
        cache: Limits of its memory.

    Raises:
        ValueError: The time-out is not positive.
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
    """Add the service `schema-registry` to a context, over any registry.

    Any number of instances may run; each announces its changes to the others on
    `<group>.events.<group id>.<artifact id>`.

    Args:
        ctx: The connected context that the service stops with.
        registry: The registry to ask, without a cache of its own, or a function that returns it
            for each request.
        backend: The name of the registry in the answer of `info`.
        options: Options of the service.

    Raises:
        micro.ConfigError: The group is not a subject.
        micro.PermissionDeniedError: The server refuses a subject.
    """
    chosen = ServiceOptions() if options is None else options
    current = registry if callable(registry) else lambda: registry
    lookup = Lookup(current, chosen.cache)
    ctx.push(lookup.aclose)

    async def announce(event: Event) -> None:
        lookup.forget(event)
        subject = f"{chosen.group}.events.{_token(event.group)}.{_token(event.artifact)}"
        await ctx.client.publish(subject, event.model_dump_json().encode())

    async def receive(event: Event) -> None:
        lookup.forget(event)

    async def reconnected() -> None:
        lookup.forget_names()

    ctx.add_reconnected_callback(reconnected)
    service = await ctx.add_service(
        NAME, micro.__version__, "Schemas and their versions, by name and by id"
    )
    outgoing = Outgoing(Health(ctx).live, lambda: ctx.client.max_payload)
    ctx.push(outgoing.aclose)
    endpoints = RegistryEndpoints(
        current,
        lookup,
        announce,
        outgoing,
        backend=backend,
        allow_delete=chosen.allow_delete,
    )
    group = service.add_group(chosen.group, middlewares=[_guard(ctx, chosen.timeout)])
    # First, so that this instance misses no change that another instance announces.
    await group.add_endpoint("events", receive, "events.*.*", queue_group="", allow_wildcards=True)
    for subject, handler in endpoints.all().items():
        await group.add_endpoint(subject.replace(".", "-"), handler, subject)

    async def is_ready() -> bool:
        return (await endpoints.info()).ready

    ctx.add_check(NAME, is_ready)
    return service


def _guard(ctx: micro.Context, timeout: float) -> micro.Middleware:
    """Return the middleware of every endpoint: time limit, errors, size of the answer."""

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
