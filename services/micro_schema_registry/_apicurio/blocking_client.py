"""`ApicurioRegistryClient`, which runs the operations in the calling thread."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self, TypeVar

import httpx

from micro_http import RetryPolicy, RetryTransport, open_client, shared_ssl_context
from micro_schema_registry._apicurio.auth import send
from micro_schema_registry._apicurio.base_client import ApicurioClient, Cookies, keep_alive
from micro_schema_registry._apicurio.rest import Call, Operation, Pause, Shared
from micro_schema_registry._caching.single_flight import Flights
from micro_schema_registry._drivers import run
from micro_schema_registry._model.models import CachedSchema, IdType, SchemaContent

T = TypeVar("T")


class _Through(httpx.BaseTransport):
    """A transport over a client, so that retries include its authentication and settings."""

    def __init__(self, client: httpx.Client, auth: httpx.Auth | None) -> None:
        self._client = client
        self._auth = auth

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return send(self._client, request, self._auth)


class _Client(httpx.Client):
    @cached_property
    def cookies(self) -> httpx.Cookies:
        return Cookies()


class ApicurioRegistryClient(ApicurioClient[httpx.Client]):
    """A blocking client of an Apicurio Registry (v3 API); a context manager.

    It has the arguments, attributes, errors and methods of `AsyncApicurioRegistryClient`, without
    `await`, and `close()` instead of `aclose()`. Any number of threads may use one client:
    threads that fetch the same schema at the same time share one fetch, different schemas never
    wait for each other.
    """

    @staticmethod
    def _method(make: Callable[..., Operation[Any]]) -> Callable[..., Any]:
        def run(self: "ApicurioRegistryClient", /, *args: Any, **kwargs: Any) -> Any:
            return self._run(make(self._core, *args, **kwargs))

        return run

    def _connect(self, http_client: httpx.Client | None, policy: RetryPolicy) -> None:
        self._flights = Flights()
        if http_client is None:
            http_client = keep_alive(open_client(_Client, verify=shared_ssl_context()))
        self._client = http_client
        self._sender = RetryTransport(policy, transport=_Through(http_client, self._auth))

    @property
    def _http(self) -> httpx.Client:
        return self._client

    def get_schema(
        self, artifact_id: str, *, version: str | None = None, group_id: str | None = None
    ) -> CachedSchema:
        """Return one version of a schema, by default the newest; see `SchemaRegistry`."""
        core = self._core
        key = (core.group_id if group_id is None else group_id, artifact_id, version)
        cached = core.schemas.get(key)
        if cached is None or self._closed:
            return self._share((core.epoch, key), lambda: self._run(core.fetch_schema(key)))
        return cached

    def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return the content of an immutable id; see `SchemaRegistry`."""
        core = self._core
        key = (id_type, value)
        cached = core.contents.get(key)
        if cached is None or self._closed:
            return self._share((core.epoch, key), lambda: self._run(core.fetch_content(key)))
        return cached

    def get_schema_by_global_id(self, global_id: int) -> Any:
        """Return the parsed schema of a global id; see `SchemaRegistry`."""
        return self.get_content("globalId", global_id).schema

    def get_schema_by_content_id(self, content_id: int) -> Any:
        """Return the parsed schema of a content id; see `SchemaRegistry`."""
        return self.get_content("contentId", content_id).schema

    def close(self) -> None:
        """Close the connections, except those of `http_client`; it may be called twice."""
        self._closed = True
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _share(self, key: Any, fetch: Callable[[], T]) -> T:
        self._check_open()
        return self._flights.share(key, fetch)

    def _run(self, operation: Operation[T]) -> T:
        return run(operation, self._perform)

    def _perform(self, step: Call | Pause | Shared) -> Any:
        self._check_open()
        if isinstance(step, Shared):
            return self._share(step.key, lambda: self._run(step.operation))
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            response = self._sender.handle_request(self._request(step))
        except httpx.RequestError as error:
            raise self._failure(step, error) from error
        return self._answer(step, response)
