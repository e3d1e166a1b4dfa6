"""The registries behind the service: a JetStream bucket, or an Apicurio Registry."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

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
from micro_schema_registry._apicurio.auth import BearerAuth, KeycloakAuth
from micro_schema_registry._compatibility import checks
from micro_schema_registry._compatibility.levels import SchemaText, parse
from micro_schema_registry._embedded.registry import EmbeddedRegistry
from micro_schema_registry._errors import RegistryError
from micro_schema_registry._model.protocol import SchemaRegistry
from micro_schema_registry._service.config import ServiceConfig
from micro_schema_registry._service.service import add_registry_service

logger = logging.getLogger("micro.registry")

_DEFAULT_GROUP_ID = "default"


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
        warming = asyncio.create_task(_warm_up())

        def stop() -> None:
            warming.cancel()

        ctx.push(stop)


async def _open(registry: SchemaRegistry) -> None:
    """Make the bucket if there is none; a service without one starts, and says why it waits."""
    try:
        await registry.info()
    except RegistryError as error:
        logger.warning("the registry does not answer yet: %s", error)


async def _warm_up() -> None:
    """Load the libraries of the commonest checks, here for small ones, in a process for others."""
    await asyncio.to_thread(parse, "AVRO", SchemaText('"string"'))
    for kind in ("AVRO", "JSON"):
        with suppress(TimeoutError, checks.CheckFailedError):
            await checks.run(parse, kind, SchemaText('{"type": "string"}'), timeout=60)


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
    """Return a function that returns a client with empty caches, over one pool of connections.

    A caller over NATS waits for a second or so: the client repeats a request once, quickly, and
    sends two requests per second while Apicurio is down.
    """
    policy = RetryPolicy.for_registry(max_retries=1, retry_backoff_ms=50, retry_max_backoff_ms=200)
    breaker = CircuitBreaker(failures=5, open_for=0.5, is_failure=_is_outage)
    proxy = config.proxy or _environment_proxy(url)
    http = httpx.AsyncClient(
        transport=AsyncRetryTransport(
            replace(policy, budget=RetryBudget(), breaker=breaker),
            transport=httpx.AsyncHTTPTransport(verify=_tls(config), proxy=proxy),
        ),
        auth=_auth(config),
        timeout=max(config.options.timeout, 5.0),
    )
    await ctx.enter(http)

    client = AsyncApicurioRegistryClient(url, _DEFAULT_GROUP_ID, max_retries=0, http_client=http)
    return client.fresh


def _is_outage(response: httpx.Response) -> bool:
    """Tell a failure of the registry from its own account of one request, which is JSON."""
    is_account = "json" in response.headers.get("Content-Type", "")
    return response.status_code in {502, 503, 504} and not is_account


def _auth(config: ServiceConfig) -> httpx.Auth | None:
    if config.token is not None:
        return BearerAuth(config.token)
    if config.username is not None:
        return httpx.BasicAuth(config.username, config.password or "")
    if config.token_url is not None:
        return KeycloakAuth(
            config.token_url, config.client_id or "", config.client_secret or "", config.scope
        )
    return None


def _tls(config: ServiceConfig) -> ssl.SSLContext:
    if config.ca_file is None and config.cert_file is None:
        return shared_ssl_context()
    try:
        context = (
            httpx.create_ssl_context()
            if config.ca_file is None
            else ssl.create_default_context(cafile=config.ca_file)
        )
        if config.cert_file is not None:
            context.load_cert_chain(config.cert_file, config.key_file)
    except OSError as error:  # ssl.SSLError is one, too
        files = ", ".join(filter(None, (config.ca_file, config.cert_file, config.key_file)))
        raise ValueError(f"cannot use {files}: expected PEM files: {error}") from error
    return context


def _environment_proxy(url: str) -> str | None:
    parts = urlsplit(url)
    proxies = getproxies()
    if proxy_bypass(parts.netloc):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")
