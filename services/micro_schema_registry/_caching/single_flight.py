"""Single flight: callers that want the same thing at the same time wait for one fetch; different things never wait for each other."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from micro_schema_registry._errors import ClosedError

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Any]
    waiters: set[asyncio.Future[None]] = field(default_factory=set)

    def land(self) -> None:
        """Wake the waiters: they run after the step in which the task ends."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class AsyncFlights:
    """Share fetches between the coroutines of one event loop.

    A fetch runs in a task of its own, so that the caller who happened to start it can be cancelled without harm to the others; the fetch
    itself is cancelled when its last caller goes.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._closed = False

    async def share(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the fetch under way for the key, or of a new one."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(self._fly(key, fetch)))
            flight.task.add_done_callback(_seen)
        landed = asyncio.get_running_loop().create_future()
        flight.waiters.add(landed)
        try:
            await landed
        finally:
            flight.waiters.discard(landed)
            if not flight.waiters and flight.task.cancel():
                self._forget(key, flight)
        if self._closed and flight.task.cancelled():
            raise ClosedError
        result: T = flight.task.result()
        return result

    async def aclose(self) -> None:
        """Cancel every fetch and wait until they have ended; their callers get a ClosedError."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)
        for flight in flights:  # a task that is cancelled before its first step wakes nobody
            flight.land()

    async def _fly(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        flight = self._flights[key]
        try:
            return await fetch()
        finally:
            self._forget(key, flight)
            flight.land()

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _seen(task: asyncio.Task[Any]) -> None:
    """Take note of an error that no caller may be left to see."""
    if not task.cancelled():
        task.exception()


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
        except Exception as error:
            self._land(key)
            flight.set_exception(error)
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
