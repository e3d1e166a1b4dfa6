"""AsyncResilientClient: requests as tasks that retry, send events and leave a result."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import Any, Self, Unpack

from micro_http._engine.context import RequestContext, require_positive
from micro_http._engine.engine import Execution, Observer, Target, is_idempotent, origin_of
from micro_http._engine.exchange import Exchange, PerLoop, attach_current, note_response
from micro_http._engine.policy import RetryPolicy
from micro_http._engine.runner import AsyncRunner
from micro_http._errors import ClosedError, ConfigError
from micro_http._httpx import POOL_SIZE, TIMEOUT_ERRORS, httpx, shared_ssl_context
from micro_http._observability.events import AsyncEvent, EventCallback, EventType, RequestResult
from micro_http._observability.monitor import EventMonitor
from micro_http._options import URL, ClientOptions, RequestOptions, open_client
from micro_http._urls import split_credentials

ResponseTask = asyncio.Task[httpx.Response]


class AsyncResilientClient:
    """An HTTP client that retries a request when connecting fails.

    Each method returns a running task at once; await it for the `httpx.Response`. The client may
    be created outside an event loop. It opens with `async with` or on first use and ends with
    `close()`.

    Args:
        policy: Further retries and the protection of the server. The context of a request
            overrides the retries and delays of the policy.
        observers: Called with a `Try` after each try; see `prometheus_observer` and
            `opentelemetry_observer`.
        max_results: Number of results kept for `get_result()`; the oldest are dropped.
        max_pending_events: Number of events that may wait for slow callbacks; further ones are
            dropped with a warning.
        options: Passed to `httpx.AsyncClient` (base_url, headers, timeout, transport, http2, ...).
            Without `verify` all clients share one TLS context, which makes a client cheap.

    Raises:
        ConfigError: A limit is not positive.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        observers: Iterable[Observer] = (),
        max_results: int = 10_000,
        max_pending_events: int = 10_000,
        **options: Unpack[ClientOptions],
    ) -> None:
        require_positive("max_results", max_results)
        require_positive("max_pending_events", max_pending_events)
        self._options = options
        self._clients = PerLoop(self._new_client)
        limits = options.get("limits")
        self._runner = AsyncRunner(
            RetryPolicy() if policy is None else policy,
            observers,
            pool_size=POOL_SIZE if limits is None else limits.max_connections,
        )
        self._monitor = EventMonitor(max_pending_events)
        self._results: OrderedDict[str, RequestResult] = OrderedDict()
        self._max_results = max_results
        self._tasks: set[ResponseTask] = set()
        self._ended_by_close: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def _client(self) -> httpx.AsyncClient:
        return self._clients.get()

    async def __aenter__(self) -> Self:
        await self._initialize_client()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _initialize_client(self) -> None:
        """Open the client; each request does it, and an application may do it at start.

        Raises:
            ClosedError: The client has been closed.
            LoopChangedError: The client belongs to another event loop.
        """
        self._open()

    async def close(self) -> None:
        """End running requests, deliver waiting events and close the connections; idempotent.

        The tasks of running requests raise ClosedError.
        """
        if self._closed:
            return
        self._closed = True
        try:
            # Lets new tasks begin: one that has not cannot raise ClosedError.
            await asyncio.sleep(0)
            tasks = [task for task in self._running() if task is not asyncio.current_task()]
            for task in tasks:
                self._ended_by_close.add(task)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._monitor.stop()
        finally:
            await self._client.aclose()
            await self._runner.calls.stop()

    def add_event_callback(self, event_type: str, callback: EventCallback) -> None:
        """Call a function or coroutine function with a clone of each event of this type.

        Callbacks run one after the other, apart from the requests. A slow callback delays no
        response; an exception in one is logged.

        Raises:
            ConfigError: No event has this type.
        """
        if event_type not in list(EventType):
            raise ConfigError(
                f"invalid event type {event_type!r}: expected one of {', '.join(EventType)}"
            )
        self._monitor.add_callback(event_type, callback)

    def get_result(self, request_id: str) -> RequestResult | None:
        """Return the result of a request; None while it runs and after it was dropped."""
        return self._results.get(request_id)

    async def wait_for_all_requests(self) -> dict[str, RequestResult]:
        """Wait for all requests and their callbacks; return the results by request id.

        A failed request has a result too and raises nothing.
        """
        while running := self._running():
            await asyncio.wait(running)
        # The done-callbacks of cancelled tasks leave their result and event in this turn.
        await asyncio.sleep(0)
        await self._monitor.drain()
        return dict(self._results)

    async def request(
        self,
        method: str,
        url: URL,
        *,
        context: RequestContext | None = None,
        **options: Unpack[RequestOptions],
    ) -> ResponseTask:
        """Start a request and return its task.

        Args:
            method: HTTP method.
            url: Absolute URL, or one relative to `base_url`.
            context: Retries, delays, id and metadata of this request; the client uses a clone.
            options: Passed to `httpx.AsyncClient.request`.

        Raises:
            ClosedError: The client has been closed. The task raises the errors of the request.
        """
        client = self._open()
        engine = self._runner.engine
        context = engine.context() if context is None else context.clone()
        target = _target(client, method, url, options)
        execution = engine.execution(target, context, self._retrying)
        task = asyncio.create_task(self._perform(execution, method, url, options))
        self._tasks.add(task)
        task.add_done_callback(partial(self._settled, execution))
        return task

    async def get(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start a GET request; see `request`."""
        return await self.request("GET", url, context=context, **options)

    async def head(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start a HEAD request; see `request`."""
        return await self.request("HEAD", url, context=context, **options)

    async def options(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start an OPTIONS request; see `request`."""
        return await self.request("OPTIONS", url, context=context, **options)

    async def post(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start a POST request; see `request`."""
        return await self.request("POST", url, context=context, **options)

    async def put(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start a PUT request; see `request`."""
        return await self.request("PUT", url, context=context, **options)

    async def patch(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start a PATCH request; see `request`."""
        return await self.request("PATCH", url, context=context, **options)

    async def delete(
        self, url: URL, *, context: RequestContext | None = None, **options: Unpack[RequestOptions]
    ) -> ResponseTask:
        """Start a DELETE request; see `request`."""
        return await self.request("DELETE", url, context=context, **options)

    def _open(self) -> httpx.AsyncClient:
        if self._closed:
            raise ClosedError
        return self._client

    def _new_client(self) -> httpx.AsyncClient:
        options = ClientOptions(**self._options)
        if "verify" not in options and options.get("transport") is None:
            options["verify"] = shared_ssl_context()
        base_url, credentials = open_client(split_credentials, url=options.get("base_url", ""))
        options["base_url"] = base_url
        if credentials is not None and options.get("auth") is None:
            options["auth"] = credentials
        client = open_client(httpx.AsyncClient, **options)
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [attach_current, *hooks["request"]],
            "response": [note_response, *hooks["response"]],
        }
        return client

    def _running(self) -> list[ResponseTask]:
        loop = asyncio.get_running_loop()
        return [task for task in self._tasks if task.get_loop() is loop and not task.done()]

    async def _perform(
        self, execution: Execution, method: str, url: URL, options: RequestOptions
    ) -> httpx.Response:
        try:
            response = await self._runner.run(execution, partial(self._send, method, url, options))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task not in self._ended_by_close or task.uncancel() > 0:
                raise
            error = ClosedError()
            self._conclude(execution, EventType.CANCELLED, error=error)
            raise error from None
        except Exception as error:
            late = isinstance(error, TIMEOUT_ERRORS)
            self._conclude(execution, EventType.TIMEOUT if late else EventType.ERROR, error=error)
            raise
        self._conclude(execution, EventType.SUCCESS, response=response)
        return response

    async def _send(
        self, method: str, url: URL, options: RequestOptions, exchange: Exchange
    ) -> httpx.Response:
        client = self._client
        url, credentials = split_credentials(url)
        options = RequestOptions(**options)
        if credentials is not None and options.get("auth", client.auth) is None:
            options["auth"] = credentials
        options["extensions"] = exchange.mark(options.get("extensions"))
        return await client.request(method, url, **options)

    def _settled(self, execution: Execution, task: ResponseTask) -> None:
        """Drop an ended task; a task cancelled before its first step runs no code of its own."""
        self._tasks.discard(task)
        if task.cancelled():
            self._conclude(execution, EventType.CANCELLED)
        else:
            task.exception()  # marks it as retrieved; its ERROR event reports it

    def _retrying(self, context: RequestContext, cause: httpx.Response | Exception) -> None:
        if isinstance(cause, Exception):
            self._monitor.put(AsyncEvent(EventType.RETRY, context, error=cause))
        else:
            self._monitor.put(AsyncEvent(EventType.RETRY, context, data=cause))

    def _conclude(
        self,
        execution: Execution,
        outcome: EventType,
        *,
        response: httpx.Response | None = None,
        error: Exception | None = None,
    ) -> None:
        result = RequestResult(
            request_id=execution.context.request_id,
            outcome=outcome,
            attempts=execution.attempts,
            total_time=execution.elapsed,
            status_code=None if response is None else response.status_code,
            error=None if error is None else _described(error),
            error_type=None if error is None else type(error),
        )
        self._results[result.request_id] = result
        self._results.move_to_end(result.request_id)
        if len(self._results) > self._max_results:
            self._results.popitem(last=False)
        self._monitor.put(AsyncEvent(outcome, execution.context, data=response, error=error))


def _described(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _target(client: httpx.AsyncClient, method: str, url: URL, options: RequestOptions) -> Target:
    headers = httpx.Headers(options.get("headers"))
    idempotent = is_idempotent(method, headers, options.get("extensions"))
    streams = options.get("files") or not isinstance(options.get("content"), str | bytes | None)
    return Target(method.upper(), _origin(client, url), idempotent, replayable=not streams)


def _origin(client: httpx.AsyncClient, url: URL) -> str:
    """Return the origin of the first request; "" for a URL that httpx will refuse."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return ""
    return origin_of(parsed if parsed.is_absolute_url else client.base_url)
