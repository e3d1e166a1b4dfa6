"""The policy engine as httpx transports, for any httpx client."""

from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Self

from micro_http._engine import Observer, target_of
from micro_http._httpx import httpx, shared_ssl_context
from micro_http._policy import RetryPolicy
from micro_http._runner import AsyncRunner, AsyncSend, SyncRunner


class AsyncRetryTransport(httpx.AsyncBaseTransport):
    """An asynchronous transport that retries the requests it passes to another transport.

    Args:
        policy: The retries; connection errors only by default.
        transport: The transport that sends, closed by `aclose()`; a pool with the shared TLS
            context by default.
        read_body: Read the body of a response as part of the try, so that a cut body is retried
            and timed too. Without it a try ends with the head of the response, which may then be
            streamed.
        observers: Called with a `Try` after each try.

    A client with a transport takes no proxy from the environment (a rule of httpx); pass
    `transport=httpx.AsyncHTTPTransport(proxy=...)`.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        read_body: bool = False,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._runner = AsyncRunner(RetryPolicy() if policy is None else policy, observers)
        self._transport = (
            httpx.AsyncHTTPTransport(verify=shared_ssl_context())
            if transport is None
            else transport
        )
        self._read_body = read_body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request as often as the policy allows and return the last response."""
        send: AsyncSend = partial(self._transport.handle_async_request, request)
        if self._read_body:
            send = partial(_sent_and_loaded, send)
        engine = self._runner.engine
        return await self._runner.run(engine.execution(target_of(request, engine.policy)), send)

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._transport.aclose()


class RetryTransport(httpx.BaseTransport):
    """A blocking transport that retries the requests it passes to another; thread-safe.

    Takes the same arguments as `AsyncRetryTransport`. `try_timeout` and the rest of `deadline`
    limit each phase of a try (connect, write, each read, pool), because nothing can interrupt a
    blocking call from outside.

    Raises:
        ConfigError: The policy hedges, which needs asyncio.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        read_body: bool = False,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._runner = SyncRunner(RetryPolicy() if policy is None else policy, observers)
        self._transport = (
            httpx.HTTPTransport(verify=shared_ssl_context()) if transport is None else transport
        )
        self._read_body = read_body

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request as often as the policy allows and return the last response."""

        def send(seconds: float | None) -> httpx.Response:
            bounded = request if seconds is None else _bounded(request, seconds)
            response = self._transport.handle_request(bounded)
            return _loaded_now(response) if self._read_body else response

        engine = self._runner.engine
        return self._runner.run(engine.execution(target_of(request, engine.policy)), send)

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._transport.__exit__(exc_type, exc_value, traceback)

    def close(self) -> None:
        """Close the inner transport."""
        self._transport.close()


def _bounded(request: httpx.Request, seconds: float) -> httpx.Request:
    """Return the same request with each phase limited to these seconds."""
    given = request.extensions.get("timeout", {})
    phases = {name: given.get(name) for name in ("connect", "read", "write", "pool")}
    timeout = {
        name: seconds if value is None else min(value, seconds) for name, value in phases.items()
    }
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "timeout": timeout},
    )


async def _sent_and_loaded(send: AsyncSend) -> httpx.Response:
    response = await send()
    try:
        body = b"".join([part async for part in _async_stream(response)])
    finally:
        await response.aclose()
    return _with_body(response, body)


def _loaded_now(response: httpx.Response) -> httpx.Response:
    try:
        body = b"".join(_sync_stream(response))
    finally:
        response.close()
    return _with_body(response, body)


def _async_stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - for mypy only
    return response.stream


def _sync_stream(response: httpx.Response) -> httpx.SyncByteStream:
    assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - for mypy only
    return response.stream


def _with_body(response: httpx.Response, body: bytes) -> httpx.Response:
    """Return the response with its raw body in memory; httpx decodes it later as usual."""
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=httpx.ByteStream(body),
        extensions=response.extensions,
    )
