"""The calls into httpx of one event loop; a cancelled caller never costs a pooled connection.

httpcore loses the place of a connection in its pool when a request is cancelled while it waits
for the connection, opens it or gives it back (encode/httpcore issue 1093), and when a second
cancellation meets the clean-up of the first. So each call runs in a task of its own. When its
caller is cancelled, the call is abandoned: it ends at once where that is safe, which is during an
HTTP/1.1 exchange, and otherwise goes on until it is safe or the call is over.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from micro_http._errors import LoopChangedError
from micro_http._httpx import httpx

T = TypeVar("T")

_CLOSE_SECONDS = 1.0  # how long stop() waits for calls that open a connection
_KEY = "micro_http.exchange"  # the extension by which a response finds its exchange
_ASIDE = "micro_http.aside"  # marks a request on behalf of another
# Not HTTP/2: a stream cancelled while it writes leaves half a frame on the shared connection.
_SAFE = frozenset(
    f"http11.{step}.started"
    for step in (
        "send_request_headers",
        "send_request_body",
        "receive_response_headers",
        "receive_response_body",
    )
)
_RESPONSE_HEADERS = frozenset(
    f"{version}.receive_response_headers.{moment}"
    for version in ("http11", "http2")
    for moment in ("started", "complete")
)
_REQUEST_STARTED = frozenset(
    {"http11.send_request_headers.started", "http2.send_request_headers.started"}
)


class Exchange:
    """The progress of one call into httpx, and where a cancellation of it is safe.

    A pool of httpcore reads its time-out when a request enters it, and reports its further steps
    to the `trace` extension of the request.

    Attributes:
        answered: Whether a response was received, if only a redirect.
        interruptible: Whether a cancellation of the call costs no connection now.
        abandoned: Whether the caller of the call is gone.
    """

    def __init__(self, connect_seconds: float | None = None) -> None:
        self.answered = False
        self.interruptible = True
        self.abandoned = False
        self._connect_seconds = connect_seconds
        self._counts = True

    def mark(self, extensions: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the extensions of the request that the call is about."""
        return {**(extensions or {}), _KEY: self}

    def attach(self, request: httpx.Request) -> None:
        """Follow a request of an asynchronous client."""
        timeouts = _Timeouts(request.extensions.get("timeout") or {}, self)
        if self._connect_seconds is not None:
            timeouts.limit(self._connect_seconds, "connect", "pool")
        request.extensions["timeout"] = timeouts
        also = request.extensions.get("trace")

        async def trace(event: str, info: dict[str, Any]) -> None:
            self.interruptible = event in _SAFE  # ten times for each request
            if event in _RESPONSE_HEADERS:
                self._note(event, info)
            if also is not None:
                await also(event, info)
            if self.abandoned and (self.interruptible or event in _REQUEST_STARTED):
                raise asyncio.CancelledError

        self._add(request, trace)

    def attach_blocking(self, request: httpx.Request, seconds: float | None) -> None:
        """Follow a request of a blocking client; limit each of its phases to these seconds."""
        if seconds is not None:
            timeouts = _Timeouts(request.extensions.get("timeout") or {}, self)
            timeouts.limit(seconds, "connect", "read", "write", "pool")
            request.extensions["timeout"] = timeouts
        also = request.extensions.get("trace")

        def trace(event: str, info: dict[str, Any]) -> None:
            if event in _RESPONSE_HEADERS:
                self._note(event, info)
            if also is not None:
                also(event, info)

        self._add(request, trace)

    def _add(self, request: httpx.Request, trace: Callable[..., Any]) -> None:
        request.extensions["trace"] = trace
        request.extensions[_KEY] = self

    def _note(self, event: str, info: dict[str, Any]) -> None:
        """Note the head of a response that begins or has been received."""
        if event.endswith(".started"):
            request = info["request"]  # the response of a proxy or token server does not count
            self._counts = request.method != b"CONNECT" and _ASIDE not in request.extensions
        elif self._counts and event.endswith(".complete"):
            self.answered = True


class _Timeouts(dict[str, float | None]):
    """The time-outs of a request; a pool that reads its own takes the request in."""

    def __init__(self, timeouts: Mapping[str, float | None], exchange: Exchange) -> None:
        super().__init__(timeouts)
        self._exchange = exchange

    def limit(self, seconds: float, *phases: str) -> None:
        for phase in phases:
            value = super().get(phase)
            self[phase] = seconds if value is None else min(value, seconds)

    def get(self, phase: str, default: Any = None) -> Any:
        if phase == "pool":
            self._exchange.interruptible = False
        return super().get(phase, default)


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


async def attach_current(request: httpx.Request) -> None:
    """Follow a request of the current call; a hook for clients, whose auth flows make their own."""
    exchange = _current.get()
    if exchange is None or isinstance(request.extensions.get("timeout"), _Timeouts):
        return
    if _KEY not in request.extensions:
        request.extensions[_ASIDE] = True
    exchange.attach(request)


async def note_response(response: httpx.Response) -> None:
    """Note a response in its exchange; a response hook, for transports without a trace."""
    extensions = response.request.extensions
    exchange = extensions.get(_KEY)
    if isinstance(exchange, Exchange) and _ASIDE not in extensions:
        exchange.answered = True


def on_behalf_of(request: httpx.Request, *, phase_seconds: float) -> dict[str, Any]:
    """Return the extensions of a request that an auth flow makes for another, such as for a token.

    It has the time-outs of the other request, and `phase_seconds` for each phase without one. A
    retry transport follows it too, so that a cancellation costs no connection; its response is no
    response to the other request.
    """
    timeouts = copy.copy(request.extensions.get("timeout") or {})
    for phase in ("connect", "read", "write", "pool"):
        if timeouts.setdefault(phase, phase_seconds) is None:
            timeouts[phase] = phase_seconds
    return {**request.extensions, "timeout": timeouts, _ASIDE: True}


AsyncSend = Callable[[Exchange], Awaitable[httpx.Response]]


class _Closable(Protocol):
    def aclose(self) -> Coroutine[Any, Any, None]: ...


class Call(Generic[T]):
    """A call into httpx in a task of its own; `calls` has it until its end."""

    def __init__(
        self,
        work: Callable[[], Awaitable[T]],
        exchange: Exchange,
        calls: "Calls",
        *,
        has_place: bool = False,
    ) -> None:
        self.exchange = exchange
        self._calls = calls
        self._has_place = has_place
        self._waiter: asyncio.Future[None] | None = None
        calls.begin(self)  # before its task, which an eager factory runs at once
        self.task = asyncio.create_task(self._run(work), name="micro_http call")

    async def result(self) -> T:
        """Wait for the result; a cancelled caller abandons the call."""
        if not self.task.done():
            self._waiter = self.task.get_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.abandon()
                raise
        return self.task.result()

    def abandon(self) -> None:
        """End the call as soon as that costs no connection."""
        self.exchange.abandoned = True
        if not self.task.done():
            self.task.add_done_callback(self._forgotten)
            if self.exchange.interruptible:
                self.task.cancel()
        elif not self.task.cancelled() and self.task.exception() is None:
            response = self.task.result()
            if isinstance(response, httpx.Response):
                self._calls.close(response)

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        finally:
            self._end()  # not in a done callback: that would cost a turn of the loop

    def _end(self) -> None:
        if self._calls.end(self) and self._has_place:
            self._calls.leave()
        if self._waiter is not None and not self._waiter.done():  # the caller may be gone
            self._waiter.set_result(None)

    def _forgotten(self, task: asyncio.Task[T]) -> None:
        self._end()  # a task that is cancelled before its first step has not
        if not task.cancelled():
            task.exception()  # marks it as retrieved


class Calls:
    """The calls of one event loop: at most `limit` sends at the same time, further ones wait."""

    def __init__(self, limit: int | None, connect_seconds: float | None = None) -> None:
        self._connect_seconds = connect_seconds
        self._places = None if limit is None else asyncio.Semaphore(limit)
        self._running: set[Call[Any]] = set()

    @property
    def full(self) -> bool:
        """Whether a further send would have to wait."""
        return self._places is not None and self._places.locked()

    async def enter(self) -> None:
        """Wait for a place; `send` or `leave` must follow."""
        if self._places is not None:
            await self._places.acquire()

    def leave(self) -> None:
        """Give a place back."""
        if self._places is not None:
            self._places.release()

    def send(self, send: AsyncSend) -> Call[httpx.Response]:
        """Start a send, which gives its place back when it ends."""
        exchange = Exchange(self._connect_seconds)
        return Call(partial(_sent, send, exchange), exchange, self, has_place=True)

    def start(self, work: Callable[[], Awaitable[T]], exchange: Exchange) -> Call[T]:
        """Start a call that belongs to an exchange."""
        return Call(work, exchange, self)

    def close(self, response: _Closable) -> Call[None]:
        """Start to close a response or its body, which nothing interrupts."""
        exchange = Exchange()
        exchange.interruptible = False
        return self.start(response.aclose, exchange)

    def begin(self, call: Call[Any]) -> None:
        """Keep a call until its end."""
        self._running.add(call)

    def end(self, call: Call[Any]) -> bool:
        """Drop a call; return whether it was among those that run."""
        if call not in self._running:
            return False
        self._running.remove(call)
        return True

    async def stop(self) -> None:
        """Abandon all calls and wait for their end."""
        for call in tuple(self._running):
            call.abandon()
        if not self._running:
            return
        tasks = [call.task for call in self._running]
        _, late = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _sent(send: AsyncSend, exchange: Exchange) -> httpx.Response:
    _current.set(exchange)
    response = await send(exchange)
    if exchange.abandoned:
        await response.aclose()
    return response


class PerLoop(Generic[T]):
    """A value that belongs to one event loop and is made anew in the next.

    The first value is made at once, outside of a loop if need be. So a client at module level can
    be used in several `asyncio.run`, one after the other.

    Attributes:
        renewed: Whether the value was made anew.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value = make()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.renewed = False

    def get(self) -> T:
        """Return the value of the running event loop.

        Raises:
            LoopChangedError: The value belongs to another loop that is still running.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                if self._loop.is_running():
                    raise LoopChangedError
                self._value = self._make()
                self.renewed = True
            self._loop = loop
        return self._value
