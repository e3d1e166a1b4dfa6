"""Single flight: callers that want the same thing at the same time wait for one fetch; different things never wait for each other."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import CancelledError, Future
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
_CLOSED = "client is closed"


class _Flight:
    """One fetch under way.

    Attributes:
        runner: the task that runs it: the first caller's, later one of its own.
        waiters: of the other callers, in order.
        closed: whether it was cancelled because its client is closed.
    """

    def __init__(self, runner: asyncio.Task[Any]) -> None:
        self.runner = runner
        self.has_own_task = False
        self.waiters: dict[asyncio.Future[Any], None] = {}
        self.closed = False

    def land(self, result: Any = None, error: BaseException | None = None) -> None:
        """Give the outcome to all who wait."""
        for waiter in self.waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(result)
            else:
                waiter.set_exception(error)
                waiter.exception()  # seen, even if the caller is being cancelled


class AsyncFlights:
    """Share fetches between the coroutines of one event loop.

    The first caller runs the fetch itself, since a task for each would be a tenth of the work. If that caller is cancelled while others
    wait, the fetch is begun anew in a task of its own, which is cancelled when the last of them goes.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def share(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the fetch under way for the key, or of a new one."""
        flight = self._flights.get(key)
        if flight is not None:
            result: T = await self._follow(key, flight)
            return result
        caller = asyncio.current_task()
        assert caller is not None  # noqa: S101  # a coroutine that is awaited on asyncio has a task
        cancels = caller.cancelling()
        flight = self._flights[key] = _Flight(caller)
        try:
            await asyncio.sleep(0)  # all who ask in this turn of the loop join in
            return await self._lead(key, flight, fetch)
        except asyncio.CancelledError:
            if flight.closed and caller.uncancel() <= cancels:  # nobody else cancelled the caller
                raise RuntimeError(_CLOSED) from None
            raise

    async def aclose(self) -> None:
        """Cancel every fetch and wait until they have ended; their callers get a RuntimeError."""
        ends = []
        for flight in self._flights.values():
            flight.closed = True
            ends.append(asyncio.get_running_loop().create_future())
            flight.waiters[ends[-1]] = None
            flight.runner.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    async def _follow(self, key: Hashable, flight: _Flight) -> Any:
        waiter = asyncio.get_running_loop().create_future()
        flight.waiters[waiter] = None
        try:
            return await waiter
        finally:
            del flight.waiters[waiter]
            if flight.has_own_task and not flight.waiters:
                flight.runner.cancel()
                self._forget(key, flight)

    async def _lead(
        self, key: Hashable, flight: _Flight, fetch: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        try:
            result = await fetch()
        except asyncio.CancelledError:
            if not flight.closed and flight.waiters:
                self._begin_anew(key, flight, fetch)
            else:
                self._end(key, flight, error=RuntimeError(_CLOSED))
            raise
        except BaseException as exc:
            self._end(key, flight, error=exc)
            raise
        self._end(key, flight, result)
        return result

    def _begin_anew(
        self, key: Hashable, flight: _Flight, fetch: Callable[[], Coroutine[Any, Any, T]]
    ) -> None:
        def ended(task: asyncio.Task[T]) -> None:
            if task.cancelled():  # perhaps before its first step, so that it could tell nobody
                self._end(key, flight, error=RuntimeError(_CLOSED))
            else:
                task.exception()  # seen: the waiters have it

        flight.runner = asyncio.create_task(self._lead(key, flight, fetch))
        flight.runner.add_done_callback(ended)
        flight.has_own_task = True

    def _end(
        self,
        key: Hashable,
        flight: _Flight,
        result: Any = None,
        error: BaseException | None = None,
    ) -> None:
        self._forget(key, flight)
        flight.land(result, error)

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class Flights:
    """Share fetches between threads; the first caller fetches, the others wait for it."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Future[Any]] = {}
        self._lock = Lock()  # held for a dictionary access, never over a fetch

    def share(self, key: Hashable, fetch: Callable[[], T]) -> T:
        """Return the result of the fetch under way for the key, or of a new one."""
        while True:
            with self._lock:
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = Future()
            if leads:
                return self._lead(key, flight, fetch)
            try:
                result: T = flight.result()
            except CancelledError:  # its thread was interrupted, which is no answer for this one
                continue
            return result

    def _lead(self, key: Hashable, flight: "Future[Any]", fetch: Callable[[], T]) -> T:
        try:
            result = fetch()
        except Exception as exc:
            self._land(key)
            flight.set_exception(exc)
            raise
        except BaseException:
            self._land(key)
            flight.cancel()
            raise
        self._land(key)
        flight.set_result(result)
        return result

    def _land(self, key: Hashable) -> None:
        with self._lock:
            del self._flights[key]
