"""What the blocking and the async Apicurio client share: construction, requests, the mapping of transport errors."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import httpx

from micro_http import RetryPolicy
from micro_schema_registry._apicurio.auth import KeycloakAuth
from micro_schema_registry._apicurio.operations import Operations
from micro_schema_registry._apicurio.rest import Answer, Call
from micro_schema_registry._errors import AuthenticationError, RegistryConnectionError
from micro_schema_registry._model.protocol import SchemaRegistry

H = TypeVar("H", httpx.Client, httpx.AsyncClient)
F = TypeVar("F", bound=Callable[..., Any])


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Take none."""


_NO_COOKIES = _NoCookies()


class WithoutCookies:
    """Make an httpx client neither keep nor send cookies: a registry has no sessions, and looking for them is a tenth of a fetch."""

    @property
    def cookies(self) -> httpx.Cookies:
        """What the registry has set: nothing, whatever it sends."""
        return _NO_COOKIES


class ApicurioClient(ABC, Generic[H]):
    """Hold the configuration of a client; the subclasses send."""

    _http: H

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
        if not url.startswith(("http://", "https://")):
            raise ValueError(
                f"invalid url {url!r}: expected one like 'http://host/apis/registry/v3'"
            )
        self.url = url
        self.max_retries = max_retries
        self.retry_backoff_ms = retry_backoff_ms
        self.retry_max_backoff_ms = retry_max_backoff_ms
        self._core = Operations(
            group_id, cache_max_size=cache_max_size, cache_ttl_seconds=cache_ttl_seconds
        )
        self._auth = auth
        self._owns_http = http_client is None
        self._closed = False
        self._connect(
            http_client,
            RetryPolicy.for_registry(max_retries, retry_backoff_ms, retry_max_backoff_ms),
        )
        if self._owns_http:
            self._http.headers.pop("Connection", None)  # HTTP/1.1 keeps connections untold

    @property
    def group_id(self) -> str:
        """The group of every call that names none."""
        return self._core.group_id

    def forget(self, artifact_id: str | None = None, *, group_id: str | None = None) -> None:
        """Drop what is cached of an artifact, or of all; content found by id never changes and stays."""
        self._core.forget(artifact_id, group_id)

    @abstractmethod
    def _connect(self, http_client: H | None, policy: RetryPolicy) -> None:
        """Take the client given or make one, and put the retries in front of it."""

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("client is closed")

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

    def _failure(self, call: Call, exc: httpx.RequestError) -> RegistryConnectionError:
        reason = str(exc) or type(exc).__name__
        if isinstance(self._auth, KeycloakAuth) and exc.request.url == self._auth.token_url:
            return AuthenticationError(self._auth.token_url, reason)
        return RegistryConnectionError(self.url, f"{call.method} {call.path}: {reason}")


def documented(method: F, make: Callable[..., Any]) -> F:
    """Give a method made from an operation the name, signature and docstring that it has in SchemaRegistry."""
    source = getattr(SchemaRegistry, make.__name__)
    for name in ("__name__", "__qualname__", "__doc__"):
        setattr(method, name, getattr(source, name))
    method.__signature__ = inspect.signature(source)  # type: ignore[attr-defined]  # functions have it
    return method
