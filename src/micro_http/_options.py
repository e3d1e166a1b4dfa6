"""The options passed to httpx, spelled out for type checkers, and the clients made with them."""

import ssl
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from micro_http._errors import ConfigError
from micro_http._httpx import httpx
from micro_http._urls import hide_credentials

T = TypeVar("T")

URL = httpx.URL | str
Params = httpx.QueryParams | Mapping[str, Any] | list[tuple[str, Any]] | str
Headers = httpx.Headers | Mapping[str, str] | Sequence[tuple[str, str]]
Cookies = httpx.Cookies | dict[str, str]
Auth = httpx.Auth | tuple[str, str] | Callable[[httpx.Request], httpx.Request]
Timeout = httpx.Timeout | float | None


class ClientOptions(TypedDict, total=False):
    """The options that `AsyncResilientClient` passes to `httpx.AsyncClient`."""

    auth: Auth | None
    params: Params | None
    headers: Headers | None
    cookies: Cookies | None
    verify: ssl.SSLContext | bool
    http1: bool
    http2: bool
    proxy: str | httpx.Proxy | None
    mounts: Mapping[str, httpx.AsyncBaseTransport | None] | None
    timeout: Timeout
    follow_redirects: bool
    limits: httpx.Limits
    max_redirects: int
    event_hooks: Mapping[str, list[Callable[..., Any]]] | None
    base_url: URL
    transport: httpx.AsyncBaseTransport | None
    trust_env: bool
    default_encoding: str | Callable[[bytes], str]


class UntimedRequestOptions(TypedDict, total=False):
    """The options that `simple_async_request` passes to `httpx.AsyncClient.request`."""

    content: str | bytes | Iterable[bytes] | AsyncIterable[bytes] | None
    data: Mapping[str, Any] | None
    files: Any
    json: Any
    params: Params | None
    headers: Headers | None
    cookies: Cookies | None
    auth: Auth | None
    follow_redirects: bool
    extensions: dict[str, Any] | None


class RequestOptions(UntimedRequestOptions, total=False):
    """The options that `AsyncResilientClient` passes to `httpx.AsyncClient.request`."""

    timeout: Timeout


def open_client(kind: Callable[..., T], **options: Any) -> T:
    """Return a new client of httpx of this kind, blocking or asynchronous.

    Raises:
        ConfigError: httpx refuses an option, or a proxy setting of the environment.
    """
    try:
        return kind(**options)
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        reason = hide_credentials(str(error))
        raise ConfigError(f"invalid client options or proxy settings: {reason}") from None
