"""The part that both Apicurio clients share: construction, methods, requests, transport errors."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import urlencode

import httpx

from micro_http import RetryPolicy, hide_credentials, split_credentials
from micro_schema_registry._apicurio.auth import KeycloakAuth
from micro_schema_registry._apicurio.catalog import Catalog
from micro_schema_registry._apicurio.registering import Operations
from micro_schema_registry._apicurio.rest import Answer, Call, Operation
from micro_schema_registry._errors import AuthenticationError, ClosedError, RegistryConnectionError
from micro_schema_registry._model.protocol import SchemaRegistry

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)

_RETRY_AFTER = 20.0
"""The longest `Retry-After` that is obeyed, unless the back-off is longer; in seconds."""

if TYPE_CHECKING:

    class _Blocking(Protocol):
        def _run(self, operation: Operation[T]) -> T: ...

    class _Async(Protocol):
        async def _run(self, operation: Operation[T]) -> T: ...


class Method(Generic[P, T]):
    """An operation that is a blocking method of one client and a coroutine method of the other."""

    def __init__(self, make: Callable[Concatenate[Operations, P], Operation[T]]) -> None:
        self.make = make

    if TYPE_CHECKING:  # at runtime each client replaces it by a function, see `__init_subclass__`

        @overload
        def __get__(self, client: _Blocking, owner: object = None) -> Callable[P, T]: ...
        @overload
        def __get__(
            self, client: _Async, owner: object = None
        ) -> Callable[P, Coroutine[Any, Any, T]]: ...
        def __get__(self, client: Any, owner: object = None) -> Any: ...


class ApicurioClient(ABC, Generic[H]):
    """The configuration of a client and its list of methods; the subclasses send the requests."""

    register_schema = Method(Operations.register_schema)
    check_compatibility = Method(Operations.check_compatibility)
    list_groups = Method(Catalog.list_groups)
    list_artifacts = Method(Catalog.list_artifacts)
    list_versions = Method(Catalog.list_versions)
    search_artifacts = Method(Catalog.search_artifacts)
    get_version = Method(Catalog.get_version)
    get_references = Method(Catalog.get_references)
    get_content_references = Method(Operations.get_content_references)
    set_state = Method(Operations.set_state)
    get_rules = Method(Catalog.get_rules)
    set_rule = Method(Catalog.set_rule)
    delete_rule = Method(Catalog.delete_rule)
    delete_artifact = Method(Operations.delete_artifact)
    delete_version = Method(Operations.delete_version)
    info = Method(Catalog.info)

    def __init_subclass__(cls) -> None:
        for name, method in vars(ApicurioClient).items():
            if isinstance(method, Method):
                setattr(
                    cls,
                    name,
                    update_wrapper(cls._method(method.make), getattr(SchemaRegistry, name)),
                )

    def __init__(  # noqa: PLR0913 - the documented signature
        self,
        url: str,
        group_id: str,
        *,
        max_retries: int = 3,
        retry_backoff_ms: int = 1000,
        retry_max_backoff_ms: int = 20000,
        http_client: H | None = None,
        auth: httpx.Auth | None = None,
        cache_max_size: int = 1000,
        cache_ttl_seconds: float | None = None,
    ) -> None:
        self.url, credentials = _checked(url)
        self.max_retries = max_retries
        self.retry_backoff_ms = retry_backoff_ms
        self.retry_max_backoff_ms = retry_max_backoff_ms
        self._core = Operations(
            group_id, cache_max_size=cache_max_size, cache_ttl_seconds=cache_ttl_seconds
        )
        given = auth if http_client is None or auth is not None else http_client.auth
        if given is None and credentials is not None:
            auth = httpx.BasicAuth(*credentials)
        # httpx reports no failed token request to the flow that made it; see `send`.
        self._auth = given if isinstance(given, KeycloakAuth) else auth
        self._owns_http = http_client is None
        self._closed = False
        policy = RetryPolicy.for_registry(max_retries, retry_backoff_ms, retry_max_backoff_ms)
        self._connect(
            http_client, replace(policy, retry_after_cap=max(_RETRY_AFTER, policy.max_delay))
        )

    @property
    def group_id(self) -> str:
        """The group of every call that names none."""
        return self._core.group_id

    def forget(self, artifact_id: str | None = None, *, group_id: str | None = None) -> None:
        """Drop the cached versions of an artifact, or of the group; content by id stays."""
        self._core.forget(artifact_id, group_id)

    @staticmethod
    @abstractmethod
    def _method(make: Callable[..., Operation[Any]]) -> Callable[..., Any]:
        """Return the method that runs an operation."""

    @property
    @abstractmethod
    def _http(self) -> H:
        """The client that sends."""

    @abstractmethod
    def _connect(self, http_client: H | None, policy: RetryPolicy) -> None:
        """Take the given client or make one, and put the retries in front of it."""

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

    def _request(self, call: Call) -> httpx.Request:
        content_type = None if call.content is None else {"Content-Type": call.content_type}
        # Given as params, the query would make httpx parse the URL twice.
        query = f"?{urlencode(call.params, doseq=True)}" if call.params else ""
        return self._http.build_request(
            call.method,
            f"{self.url.rstrip('/')}{call.path}{query}",
            content=call.content,
            headers=content_type,
            extensions={"idempotent": call.repeatable},
        )

    def _answer(self, call: Call, response: httpx.Response) -> Answer:
        request = f"{call.method} {call.path}"
        return Answer(self.url, request, response.status_code, response.headers, response.content)

    def _failure(self, call: Call, error: httpx.RequestError) -> RegistryConnectionError:
        reason = str(error) or type(error).__name__
        if isinstance(self._auth, KeycloakAuth) and error.request.url == self._auth.token_url:
            return AuthenticationError(self._auth.token_url, reason)
        return RegistryConnectionError(self.url, f"{call.method} {call.path}: {reason}")


class Cookies(httpx.Cookies):
    """Cookies that look only into responses that set some: the search is a tenth of a fetch."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep the cookies of a response."""
        if "set-cookie" in response.headers:
            super().extract_cookies(response)


def keep_alive(client: H) -> H:
    """Return a client without the header that HTTP/1.1 implies."""
    client.headers.pop("Connection", None)
    return client


def _checked(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the URL without its user and password, and these."""
    try:
        parsed, credentials = split_credentials(url)
    except httpx.InvalidURL:
        parsed, credentials = httpx.URL(), None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(
            f"invalid url {hide_credentials(url)!r}: expected one like "
            "'http://host/apis/registry/v3'"
        )
    return (url if credentials is None else str(parsed)), credentials
