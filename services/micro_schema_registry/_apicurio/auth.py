"""The authentication of requests to a registry, as httpx auth flows."""

import asyncio
import copy
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, ValidationError

from micro_http import on_behalf_of, split_credentials
from micro_schema_registry._errors import AuthenticationError, Problem

_Flow = Generator[httpx.Request, httpx.Response, None]
_AsyncFlow = AsyncGenerator[httpx.Request, httpx.Response]

_REFRESH_BELOW = 0.2  # the part of a token's life that must be left for further use
_TOKEN_SECONDS = 60.0  # the life of a token that does not state it
_PAUSE = 5.0  # seconds before a failed refresh is repeated while the old token lives
_PHASE_SECONDS = 10.0  # the limit of each phase of a token request without time-outs


class BearerAuth(httpx.Auth):
    """Authentication by a bearer token: a fixed one, or one that `token_provider` returns.

    The provider is called for each request. It may be a coroutine function for an async client.
    Blanks and line ends around a token are removed.

    Raises:
        ValueError: Not exactly one of both is given, or the token is empty or not a header value.
        AuthenticationError: The provider returns no token; raised while a request is sent.
    """

    def __init__(
        self,
        token: str | None = None,
        token_provider: Callable[[], str | Awaitable[str]] | None = None,
    ) -> None:
        if (token is None) == (token_provider is None):
            raise ValueError("expected exactly one of token and token_provider")
        self._token = None
        if token is not None:
            self._token = _clean(token)
            if self._token is None:
                raise ValueError("invalid token: expected printable characters without blanks")
        self._token_provider = token_provider

    def sync_auth_flow(self, request: httpx.Request) -> _Flow:
        """Add the token to a request."""
        token = self._given()
        if inspect.isawaitable(token):
            if inspect.iscoroutine(token):
                token.close()
            raise self._failure(request, "it is asynchronous, which needs an async client")
        self._add(request, token)
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> _AsyncFlow:
        """Add the token to a request."""
        token = self._given()
        self._add(request, await token if inspect.isawaitable(token) else token)
        yield request

    def _given(self) -> Any:
        return self._token if self._token_provider is None else self._token_provider()

    def _add(self, request: httpx.Request, token: Any) -> None:
        cleaned = _clean(token)
        if cleaned is None:
            raise self._failure(request, "it returned no printable text without blanks")
        request.headers["Authorization"] = f"Bearer {cleaned}"

    def _failure(self, request: httpx.Request, reason: str) -> AuthenticationError:
        url, _ = split_credentials(request.url)
        return AuthenticationError(str(url), f"token_provider gave no token: {reason}")


class KeycloakAuth(httpx.Auth):
    """Authentication by tokens from Keycloak, or any OAuth 2 token endpoint.

    A token is kept until a fifth of its life is left, or until the registry refuses it with 401;
    the refused request is then sent once more. One object may serve any number of clients,
    threads and event loops. Each requests a token once, however many requests need it, and these
    share a failure. A failure harms no request while the old token lives.

    The token request has the time-outs of the request that needs it, or 10 seconds a phase.

    Args:
        token_url: The token endpoint. A user and password in it become Basic authentication.
        client_id: The client.
        client_secret: Its secret; a line end behind it is removed.
        scope: The scope to request.

    Raises:
        AuthenticationError: The endpoint returns no token; raised while a request is sent.

    Source: RFC 6749 section 4.4.
    """

    def __init__(
        self, token_url: str, client_id: str, client_secret: str, scope: str | None = None
    ) -> None:
        url, self._basic = split_credentials(token_url)
        self.token_url = token_url if self._basic is None else str(url)
        self.client_id = client_id
        self.scope = scope
        self._client_secret = client_secret.rstrip("\r\n")
        self._token = ""
        self._refresh_at = self._expires_at = 0.0
        self._failure: Exception | None = None
        self._rounds = 0  # token requests that have ended
        self._lock = threading.Lock()
        # An asyncio.Lock belongs to the event loop that first waited for it.
        self._loop_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"KeycloakAuth(token_url={self.token_url!r}, client_id={self.client_id!r})"

    def sync_auth_flow(self, request: httpx.Request) -> _Flow:
        """Add a token to a request; fetch it first if there is none."""
        refused = ""
        for _ in range(2):
            before = self._rounds
            with self._lock:
                if self._needs_token(refused, before):
                    try:
                        response = yield self._token_request(request)
                        response.read()
                    except httpx.TransportError as error:
                        self._fail(error)
                    except GeneratorExit:
                        self._give_up()
                        raise
                    else:
                        self._take(response)
            refused = self._add_token(request)
            response = yield request
            if not _may_repeat(request, response):
                return

    async def async_auth_flow(self, request: httpx.Request) -> _AsyncFlow:
        """Add a token to a request; fetch it first if there is none."""
        refused = ""
        for _ in range(2):
            before = self._rounds
            async with self._loop_lock():
                if self._needs_token(refused, before):
                    try:
                        response = yield self._token_request(request)
                        await response.aread()
                    except httpx.TransportError as error:
                        self._fail(error)
                    except GeneratorExit:
                        self._give_up()
                        raise
                    else:
                        self._take(response)
            refused = self._add_token(request)
            response = yield request
            if not _may_repeat(request, response):
                return

    def _loop_lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if loop not in self._loop_locks:
            for stopped in [known for known in self._loop_locks if known.is_closed()]:
                del self._loop_locks[stopped]
        return self._loop_locks.setdefault(loop, asyncio.Lock())

    def _needs_token(self, refused: str, before: int) -> bool:
        """Return whether to request a token; not if a request has failed since `before`."""
        if refused and self._token == refused:
            self._token, self._refresh_at = "", 0.0
        if self._failure is not None and self._rounds != before:
            return False
        return time.monotonic() >= self._refresh_at

    def _token_request(self, request: httpx.Request) -> httpx.Request:
        form = {"grant_type": "client_credentials", "client_id": self.client_id}
        form["client_secret"] = self._client_secret
        if self.scope is not None:
            form["scope"] = self.scope
        extensions = on_behalf_of(request, phase_seconds=_PHASE_SECONDS)
        token_request = httpx.Request("POST", self.token_url, data=form, extensions=extensions)
        if self._basic is not None:
            return next(httpx.BasicAuth(*self._basic).auth_flow(token_request))
        return token_request

    def _take(self, response: httpx.Response) -> None:
        if not response.is_success:
            # The body may repeat the request, with the secret.
            problem = Problem(response.status_code, title=response.reason_phrase)
            self._fail(AuthenticationError(self.token_url, problem=problem))
            return
        try:
            body = _TokenBody.model_validate_json(response.content)
        except ValidationError as error:
            fields = ", ".join(str(item["loc"][0]) for item in error.errors() if item["loc"])
            self._fail_by_body(fields or "all")
            return
        token = _clean(body.access_token)
        if token is None:
            self._fail_by_body("access_token")
            return
        life = _TOKEN_SECONDS if body.expires_in is None else body.expires_in
        self._rounds += 1
        self._failure = None
        self._token = token
        self._expires_at = time.monotonic() + life
        self._refresh_at = self._expires_at - life * _REFRESH_BELOW

    def _fail_by_body(self, fields: str) -> None:
        reason = f"expected JSON with access_token, wrong: {fields}"
        self._fail(AuthenticationError(self.token_url, reason))

    def _fail(self, error: Exception) -> None:
        self._rounds += 1
        self._failure = error
        if self._lives():
            self._refresh_at = time.monotonic() + _PAUSE

    def _give_up(self) -> None:
        """End a token request whose error is not known here, or whose caller was cancelled."""
        if self._lives():
            self._refresh_at = time.monotonic() + _PAUSE

    def _lives(self) -> bool:
        return self._token != "" and time.monotonic() < self._expires_at

    def _add_token(self, request: httpx.Request) -> str:
        error = self._failure
        if error is not None and not self._lives():
            if isinstance(error, httpx.TransportError):
                # Nothing was sent to the registry, so any request may be repeated.
                reason = str(error) or type(error).__name__
                token_request = httpx.Request("POST", self.token_url)
                raise httpx.ConnectError(reason, request=token_request) from error
            raise copy.copy(error)
        request.headers["Authorization"] = f"Bearer {self._token}"
        return self._token


def send(client: httpx.Client, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
    """Send a request with the authentication of the client, or with `auth`.

    A failed token request is reported to `KeycloakAuth`, which httpx itself does not do.
    """
    if not isinstance(auth, KeycloakAuth):
        return client.send(request) if auth is None else client.send(request, auth=auth)
    flow = auth.sync_auth_flow(request)
    try:
        outgoing = next(flow)
        while True:
            try:
                response = client.send(outgoing, auth=None)
            except httpx.TransportError as error:
                if outgoing is request:
                    raise
                outgoing = flow.throw(error)
                continue
            try:
                outgoing = flow.send(response)
            except StopIteration:
                return response
    finally:
        flow.close()


async def send_async(
    client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None
) -> httpx.Response:
    """Send a request as `send` does, with an async client."""
    if not isinstance(auth, KeycloakAuth):
        return await (client.send(request) if auth is None else client.send(request, auth=auth))
    flow = auth.async_auth_flow(request)
    try:
        outgoing = await anext(flow)
        while True:
            try:
                response = await client.send(outgoing, auth=None)
            except httpx.TransportError as error:
                if outgoing is request:
                    raise
                outgoing = await flow.athrow(error)
                continue
            try:
                outgoing = await flow.asend(response)
            except StopAsyncIteration:
                return response
    finally:
        await flow.aclose()


def _may_repeat(request: httpx.Request, response: httpx.Response) -> bool:
    return response.status_code == 401 and isinstance(request.stream, httpx.ByteStream)


def _clean(token: Any) -> str | None:
    """Return a token without blanks around it; None if it is no header value."""
    if not isinstance(token, str):
        return None
    token = token.strip()
    return token if token.isascii() and token.isprintable() and token and " " not in token else None


class _TokenBody(BaseModel):
    access_token: str
    expires_in: float | None = None
