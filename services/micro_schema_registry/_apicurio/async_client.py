"""`AsyncApicurioRegistryClient`, which runs the operations with asyncio."""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, Self, TypeVar

import httpx

from micro_http import AsyncRetryTransport, PerLoop, RetryPolicy, open_client, shared_ssl_context
from micro_schema_registry._apicurio.auth import send_async
from micro_schema_registry._apicurio.base_client import ApicurioClient, Cookies, keep_alive
from micro_schema_registry._apicurio.rest import Call, Operation, Pause, Shared
from micro_schema_registry._caching.single_flight import AsyncFlights
from micro_schema_registry._drivers import run_async
from micro_schema_registry._model.models import CachedSchema, IdType, SchemaContent

T = TypeVar("T")


class _Through(httpx.AsyncBaseTransport):
    """A transport over a client, so that retries include its authentication and settings."""

    def __init__(self, clients: PerLoop[httpx.AsyncClient], auth: httpx.Auth | None) -> None:
        self._clients = clients
        self._auth = auth

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await send_async(self._clients.get(), request, self._auth)


class _Client(httpx.AsyncClient):
    @cached_property
    def cookies(self) -> httpx.Cookies:
        return Cookies()


def _new_client() -> httpx.AsyncClient:
    return keep_alive(open_client(_Client, verify=shared_ssl_context()))


class AsyncApicurioRegistryClient(ApicurioClient[httpx.AsyncClient]):
    """An async client of an Apicurio Registry (v3 API); an async context manager.

    It has the methods of `SchemaRegistry`. Coroutines that fetch the same schema at the same time
    share one fetch; different schemas never wait for each other.

    Args:
        url: The API, such as `http://registry:8080/apis/registry/v3`. A user and password in it
            become Basic authentication.
        group_id: The group of every call that names none.
        max_retries: Repetitions of a request after a transport error or 429, 502, 503, 504.
        retry_backoff_ms: The longest wait before the first repetition, doubled for each further
            one. The wait is random.
        retry_max_backoff_ms: The upper bound of a wait; Retry-After is obeyed up to it, or up to
            20 seconds.
        http_client: A client to send with, which stays open.
        auth: The authentication, in place of that of `http_client`: `BearerAuth`, `KeycloakAuth`
            or any of httpx.
        cache_max_size: The number of cached schemas, and of cached contents by id.
        cache_ttl_seconds: The time for which the newest version is cached; None means until
            `forget` or a registration.

    Raises:
        ValueError: A parameter is out of its range.
    """

    @staticmethod
    def _method(make: Callable[..., Operation[Any]]) -> Callable[..., Any]:
        async def run(self: "AsyncApicurioRegistryClient", /, *args: Any, **kwargs: Any) -> Any:
            return await self._run(make(self._core, *args, **kwargs))

        return run

    def _connect(self, http_client: httpx.AsyncClient | None, policy: RetryPolicy) -> None:
        self._flights = AsyncFlights()
        self._clients = PerLoop(lambda: _new_client() if http_client is None else http_client)
        self._sender = AsyncRetryTransport(policy, transport=_Through(self._clients, self._auth))

    @property
    def _http(self) -> httpx.AsyncClient:
        return self._clients.get()

    async def get_schema(
        self, artifact_id: str, *, version: str | None = None, group_id: str | None = None
    ) -> CachedSchema:
        """Return one version of a schema, by default the newest; see `SchemaRegistry`."""
        core = self._core
        key = (core.group_id if group_id is None else group_id, artifact_id, version)
        cached = core.schemas.get(key)
        if cached is None or self._closed:
            return await self._share((core.epoch, key), lambda: self._run(core.fetch_schema(key)))
        return cached

    async def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return the content of an immutable id; see `SchemaRegistry`."""
        core = self._core
        key = (id_type, value)
        cached = core.contents.get(key)
        if cached is None or self._closed:
            return await self._share((core.epoch, key), lambda: self._run(core.fetch_content(key)))
        return cached

    async def get_schema_by_global_id(self, global_id: int) -> Any:
        """Return the parsed schema of a global id; see `SchemaRegistry`."""
        return (await self.get_content("globalId", global_id)).schema

    async def get_schema_by_content_id(self, content_id: int) -> Any:
        """Return the parsed schema of a content id; see `SchemaRegistry`."""
        return (await self.get_content("contentId", content_id)).schema

    def fresh(self) -> Self:
        """Return a client of the same server over the same connections, with empty caches.

        It shares no fetch with this one, and its end leaves the connections open.
        """
        self._check_open()
        fresh = copy.copy(self)
        fresh._core = self._core.fresh()  # noqa: SLF001 - of the same class
        fresh._flights = AsyncFlights()  # noqa: SLF001
        fresh._owns_http = False  # noqa: SLF001
        return fresh

    async def aclose(self) -> None:
        """End fetches under way and close the connections, except those of `http_client`.

        It may be called twice.
        """
        self._closed = True
        await self._flights.aclose()
        if self._owns_http:
            await self._http.aclose()
            await self._sender.aclose()

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _share(self, key: Any, fetch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._check_open()
        return await self._flights.share(key, fetch)

    async def _run(self, operation: Operation[T]) -> T:
        return await run_async(operation, self._perform)

    async def _perform(self, step: Call | Pause | Shared) -> Any:
        self._check_open()
        if isinstance(step, Shared):
            return await self._share(step.key, lambda: self._run(step.operation))
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            response = await self._sender.handle_async_request(self._request(step))
        except httpx.RequestError as error:
            raise self._failure(step, error) from error
        return self._answer(step, response)
