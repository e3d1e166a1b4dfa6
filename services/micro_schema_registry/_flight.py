"""Single flight: callers that want the same thing at the same time wait for one fetch; different things never wait for each other."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Any]
    waiters: int = 0


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
            flight = self._flights[key] = _Flight(asyncio.create_task(fetch()))
            flight.task.add_done_callback(lambda task: self._land(key, task))
        flight.waiters += 1
        try:
            result: T = await asyncio.shield(flight.task)
            return result
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._closed and caller is not None and not caller.cancelling():
                raise RuntimeError("client is closed") from None
            raise
        finally:
            flight.waiters -= 1
            if not flight.waiters and flight.task.cancel():
                self._forget(key, flight.task)

    async def aclose(self) -> None:
        """Cancel every fetch and wait until they have ended; their callers get a RuntimeError."""
        self._closed = True
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _land(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # seen, even if every caller has gone

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
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
