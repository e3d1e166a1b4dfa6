"""Single flight: callers of the same key at the same time share one fetch."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from micro import unbound_context
from micro_schema_registry._errors import ClosedError

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Any]
    waiters: set[asyncio.Future[None]] = field(default_factory=set)

    def land(self) -> None:
        """Wake the waiters; they run after the step in which the task ends."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class AsyncFlights:
    """Fetches shared between the coroutines of one event loop.

    A fetch runs in its own task, so that the cancellation of one caller does not harm the others.
    The fetch is cancelled when its last caller leaves.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._closed = False

    async def share(self, key: Hashable, fetch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the value of the fetch under way for the key, or of a new one."""
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.create_task(self._fly(key, fetch), context=unbound_context())
            flight = self._flights[key] = _Flight(task)
            flight.task.add_done_callback(_seen)
        landed = flight.task.get_loop().create_future()
        flight.waiters.add(landed)
        try:
            await landed
        finally:
            flight.waiters.discard(landed)
            if not flight.waiters and flight.task.cancel():
                self._forget(key, flight)
        if self._closed and flight.task.cancelled():
            raise ClosedError
        value: T = flight.task.result()
        return value

    async def aclose(self) -> None:
        """Cancel every fetch and wait for their ends; their callers get a ClosedError."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flights), return_exceptions=True)
        for flight in flights:  # a task cancelled before its first step wakes none
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
    """Retrieve the error of a task that may have no caller left."""
    if not task.cancelled():
        task.exception()


class Flights:
    """Fetches shared between threads: the first caller fetches, the others wait."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Future[Any]] = {}
        self._lock = Lock()  # held for a dictionary access, never during a fetch

    def share(self, key: Hashable, fetch: Callable[[], T]) -> T:
        """Return the value of the fetch under way for the key, or of a new one."""
        while True:
            with self._lock:
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = Future()
            if leads:
                return self._lead(key, flight, fetch)
            try:
                value: T = flight.result()
            except CancelledError:  # the other thread was interrupted; fetch again
                continue
            return value

    def _lead(self, key: Hashable, flight: "Future[Any]", fetch: Callable[[], T]) -> T:
        try:
            value = fetch()
        except Exception as error:
            self._land(key)
            flight.set_exception(error)
            raise
        except BaseException:
            self._land(key)
            flight.cancel()
            raise
        self._land(key)
        flight.set_result(value)
        return value

    def _land(self, key: Hashable) -> None:
        with self._lock:
            del self._flights[key]
