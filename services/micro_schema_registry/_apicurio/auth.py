"""The authentication of requests to a registry, as httpx auth flows."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, ValidationError

from micro_schema_registry._errors import AuthenticationError, Problem

_Flow = Generator[httpx.Request, httpx.Response, None]
_REFRESH_BELOW = 0.2  # the part of a token's life that must be left for further use


class BearerAuth(httpx.Auth):
    """Authentication by a bearer token: a fixed one, or one that `token_provider` returns.

    The provider is called for each request.

    Raises:
        ValueError: Not exactly one of both is given.
    """

    def __init__(
        self, token: str | None = None, token_provider: Callable[[], str] | None = None
    ) -> None:
        if (token is None) == (token_provider is None):
            raise ValueError("expected exactly one of token and token_provider")
        self._token = token
        self._token_provider = token_provider

    def auth_flow(self, request: httpx.Request) -> _Flow:
        """Add the token to a request."""
        token = self._token if self._token_provider is None else self._token_provider()
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


class KeycloakAuth(httpx.Auth):
    """Authentication by tokens from Keycloak, or any OAuth 2 token endpoint.

    A token is kept until a fifth of its life is left. One object may serve any number of clients,
    threads and event loops; each requests a token once, however many requests need it.

    Raises:
        AuthenticationError: The endpoint returns no token; raised while a request is sent.

    Source: RFC 6749 section 4.4.
    """

    def __init__(
        self, token_url: str, client_id: str, client_secret: str, scope: str | None = None
    ) -> None:
        self.token_url = token_url
        self.client_id = client_id
        self.scope = scope
        self._client_secret = client_secret
        self._token = ""
        self._refresh_at = 0.0
        self._lock = threading.Lock()
        # An asyncio.Lock belongs to the event loop that first waited for it.
        self._loop_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"KeycloakAuth(token_url={self.token_url!r}, client_id={self.client_id!r})"

    def sync_auth_flow(self, request: httpx.Request) -> _Flow:
        """Add a token to a request; fetch it first if there is none."""
        with self._lock:
            if not self._is_fresh():
                response = yield self._token_request()
                response.read()
                self._take(response)
        self._add(request)
        yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add a token to a request; fetch it first if there is none."""
        lock = self._loop_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            if not self._is_fresh():
                response = yield self._token_request()
                await response.aread()
                self._take(response)
        self._add(request)
        yield request

    def _is_fresh(self) -> bool:
        return time.monotonic() < self._refresh_at

    def _token_request(self) -> httpx.Request:
        form = {"grant_type": "client_credentials", "client_id": self.client_id}
        form["client_secret"] = self._client_secret
        if self.scope is not None:
            form["scope"] = self.scope
        return httpx.Request("POST", self.token_url, data=form)

    def _take(self, response: httpx.Response) -> None:
        if not response.is_success:
            # The body may repeat the request, with the secret.
            problem = Problem(response.status_code, title=response.reason_phrase)
            raise AuthenticationError(self.token_url, problem=problem)
        try:
            body = _TokenBody.model_validate_json(response.content)
        except ValidationError as exc:
            fields = ", ".join(str(error["loc"][0]) for error in exc.errors() if error["loc"])
            raise AuthenticationError(
                self.token_url, f"expected JSON with access_token, wrong: {fields or 'all'}"
            ) from None
        self._token = body.access_token
        self._refresh_at = time.monotonic() + body.expires_in * (1 - _REFRESH_BELOW)

    def _add(self, request: httpx.Request) -> None:
        request.headers["Authorization"] = f"Bearer {self._token}"


class _TokenBody(BaseModel):
    access_token: str
    expires_in: float = 60.0
