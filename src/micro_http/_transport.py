"""The policy engine as httpx transports, for any httpx client."""

from collections.abc import AsyncIterator, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from micro_http._engine.engine import Observer, target_of
from micro_http._engine.exchange import Calls, Exchange, PerLoop
from micro_http._engine.policy import RetryPolicy
from micro_http._engine.runner import AsyncRunner, SyncRunner
from micro_http._httpx import httpx, shared_ssl_context


class AsyncRetryTransport(httpx.AsyncBaseTransport):
    """An asynchronous transport that retries the requests it passes to another transport.

    A request that is cancelled or out of time never costs a connection of the pool: its call goes
    on in the background until it can end.

    Args:
        policy: The retries; connection errors only by default.
        transport: The transport that sends, closed by `aclose()`. By default a pool of 100
            connections with the shared TLS context, made anew for each event loop.
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
        self._inner = PerLoop(
            lambda: (
                httpx.AsyncHTTPTransport(verify=shared_ssl_context())
                if transport is None
                else transport
            )
        )
        self._read_body = read_body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request as often as the policy allows and return the last response.

        Raises:
            LoopChangedError: The pool belongs to another event loop.
        """
        execution = self._runner.engine.execution(target_of(request))
        return await self._runner.run(execution, partial(self._send, request))

    async def __aenter__(self) -> Self:
        await self._inner.get().__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.get().__aexit__(exc_type, exc_value, traceback)
        await self._runner.calls.stop()

    async def aclose(self) -> None:
        """Close the inner transport and end the requests that are under way."""
        await self._inner.get().aclose()
        await self._runner.calls.stop()

    async def _send(self, request: httpx.Request, exchange: Exchange) -> httpx.Response:
        request = _copy(request)
        exchange.attach(request)
        response = await self._inner.get().handle_async_request(request)
        if response.is_closed:  # the inner transport is a client, which has read the body
            return response
        if not self._read_body:
            return _with_stream(response, _Body(response.stream, self._runner.calls, exchange))
        try:
            body = b"".join([part async for part in response.aiter_raw()])
        finally:
            await response.aclose()
        return _with_stream(response, httpx.ByteStream(body))


class _Body(httpx.AsyncByteStream):
    """The body of a response, read and closed in calls of their own.

    A reader that is cancelled while the connection goes back to the pool would lose it.
    """

    def __init__(self, stream: Any, calls: Calls, exchange: Exchange) -> None:
        self._stream = stream
        self._calls = calls
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._stream)
        while True:
            part = await self._calls.start(partial(anext, parts, None), self._exchange).result()
            if part is None:
                return
            yield part

    async def aclose(self) -> None:
        await self._calls.close(self._stream).result()


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
        execution = self._runner.engine.execution(target_of(request))
        return self._runner.run(execution, partial(self._send, request))

    def _send(
        self, request: httpx.Request, exchange: Exchange, seconds: float | None
    ) -> httpx.Response:
        request = _copy(request)
        exchange.attach_blocking(request, seconds)
        response = self._transport.handle_request(request)
        if response.is_closed or not self._read_body:
            return response
        try:
            body = b"".join(response.iter_raw())
        finally:
            response.close()
        return _with_stream(response, httpx.ByteStream(body))

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


def _copy(request: httpx.Request) -> httpx.Request:
    """Return a copy with headers and extensions of its own; the rest is shared.

    A try must not change the request of others. The constructor costs several times more, and
    would lose the content, which hooks and authentication of an inner client may look at.
    """
    copy = httpx.Request.__new__(httpx.Request)
    vars(copy).update(vars(request))
    copy.headers = httpx.Headers(request.headers)
    copy.extensions = dict(request.extensions)
    return copy


def _with_stream(
    response: httpx.Response, stream: httpx.AsyncByteStream | httpx.ByteStream
) -> httpx.Response:
    """Return the response with another stream of its raw body; httpx decodes it as usual."""
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=stream,
        extensions=response.extensions,
    )
