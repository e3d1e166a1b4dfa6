"""The registries behind the service, and its configuration by values and environment."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import httpx
from nats.aio.client import Client

import micro
from micro_http import (
    AsyncRetryTransport,
    CircuitBreaker,
    RetryBudget,
    RetryPolicy,
    shared_ssl_context,
)
from micro_schema_registry._apicurio.async_client import AsyncApicurioRegistryClient
from micro_schema_registry._apicurio.auth import BearerAuth
from micro_schema_registry._embedded.registry import EmbeddedRegistry
from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.lookup import CacheOptions
from micro_schema_registry._service.service import ServiceOptions, add_registry_service

logger = logging.getLogger("micro.registry")

BACKENDS = ("embedded", "apicurio")
_DEFAULT_GROUP_ID = "default"


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """Configuration of the service and of the registry behind it.

    Attributes:
        backend: `embedded` for a JetStream bucket, `apicurio` for an Apicurio Registry.
        url: Apicurio's API, such as `http://registry:8080/apis/registry/v3`.
        token: Bearer token for Apicurio.
        bucket: Bucket of the embedded registry.
        replicas: Copies of a bucket that is made.
        options: Options of the service.

    Raises:
        ValueError: The values contradict each other.
    """

    backend: str = "embedded"
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    bucket: str = "schemas"
    replicas: int = 1
    options: ServiceOptions = field(default_factory=ServiceOptions)

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"invalid backend {self.backend!r}: expected embedded or apicurio")
        if (self.backend == "apicurio") != (self.url is not None):
            raise ValueError(
                f"invalid url {self.url!r} for backend {self.backend!r}: "
                "expected one for 'apicurio' only"
            )
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"invalid url {self.url!r}: expected one like 'http://host/apis/registry/v3'"
            )
        if self.replicas < 1:
            raise ValueError(f"invalid replicas {self.replicas!r}: expected 1 or more")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read `REGISTRY_BACKEND`, `REGISTRY_URL` and the other variables that `--help` names.

        A URL without a backend means Apicurio.

        Raises:
            ValueError: A value is not of its kind.
        """
        variables = os.environ if environment is None else environment
        values = {
            name: _read(f"REGISTRY_{name.upper()}", variables[f"REGISTRY_{name.upper()}"], kind)
            for name, kind in SETTINGS.items()
            if variables.get(f"REGISTRY_{name.upper()}")
        }
        return cls.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return a configuration from values by the names in `SETTINGS`."""
        cache = {name: values[name] for name in _CACHE if name in values}
        if "cache_mb" in values:
            cache["max_bytes"] = values["cache_mb"] * 1024 * 1024
        options = {name: values[name] for name in _OPTIONS if name in values}
        own = {name: values[name] for name in _OWN if name in values}
        if "url" in own:
            own.setdefault("backend", "apicurio")
        return cls(**own, options=ServiceOptions(**options, cache=CacheOptions(**cache)))


_OWN: dict[str, type] = {"backend": str, "url": str, "token": str, "bucket": str, "replicas": int}
_OPTIONS: dict[str, type] = {"group": str, "timeout": float, "allow_delete": bool}
_CACHE: dict[str, type] = {"latest_ttl": float, "negative_ttl": float, "serve_stale": bool}
SETTINGS: dict[str, type] = {**_OWN, **_OPTIONS, **_CACHE, "cache_mb": int}
"""Every setting and its kind; its variable is `REGISTRY_` and the name in capitals."""


async def setup(ctx: micro.Context, config: ServiceConfig | None = None) -> None:
    """Add the service to a context; `micro.run(setup)` is the whole program.

    Args:
        ctx: The connected context.
        config: The configuration; by default it comes from the environment.

    Raises:
        ValueError: The configuration cannot work.
        micro.PermissionDeniedError: The NATS server refuses a subject.
    """
    chosen = ServiceConfig.from_environment() if config is None else config
    registry = (
        _embedded(ctx, chosen) if chosen.url is None else await _apicurio(ctx, chosen, chosen.url)
    )
    await add_registry_service(ctx, registry, backend=chosen.backend, options=chosen.options)
    if chosen.backend == "embedded":
        await _open(registry())


async def _open(registry: SchemaRegistry) -> None:
    """Make the bucket if there is none; a service without one starts, and says why it waits."""
    try:
        await registry.info()
    except RegistryError as error:
        logger.warning("the registry does not answer yet: %s", error)


def _embedded(ctx: micro.Context, config: ServiceConfig) -> Callable[[], SchemaRegistry]:
    """Return a function that returns the registry on the current connection."""
    made: tuple[Client, EmbeddedRegistry] | None = None

    def current() -> SchemaRegistry:
        nonlocal made
        if made is None or made[0] is not ctx.client:
            registry = EmbeddedRegistry(
                ctx.client,
                _DEFAULT_GROUP_ID,
                bucket=config.bucket,
                replicas=config.replicas,
                timeout=config.options.timeout,
            )
            made = ctx.client, registry
        return made[1]

    return current


async def _apicurio(
    ctx: micro.Context, config: ServiceConfig, url: str
) -> Callable[[], SchemaRegistry]:
    """Return a function that returns a client without a cache, over one pool of connections.

    A caller over NATS waits for a second or so: the client repeats a request once, quickly, and
    sends two requests per second while Apicurio is down.
    """
    policy = RetryPolicy.for_registry(max_retries=1, retry_backoff_ms=50, retry_max_backoff_ms=200)
    transport = AsyncRetryTransport(
        replace(
            policy,
            budget=RetryBudget(),
            breaker=CircuitBreaker(failures=5, open_for=0.5),
        ),
        transport=httpx.AsyncHTTPTransport(verify=shared_ssl_context()),
    )
    http = httpx.AsyncClient(
        transport=transport,
        auth=None if config.token is None else BearerAuth(config.token),
        timeout=max(config.options.timeout, 5.0),
    )
    await ctx.enter(http)

    def current() -> SchemaRegistry:
        return AsyncApicurioRegistryClient(url, _DEFAULT_GROUP_ID, max_retries=0, http_client=http)

    return current


def _read(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise ValueError(f"invalid {name} {text!r}: expected true or false")
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"invalid {name} {text!r}: expected {_WORDS[kind]}") from error


_WORDS = {int: "a whole number", float: "a number", str: "text"}
