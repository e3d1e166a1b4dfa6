"""Admission of the requests of one endpoint: run, queue or refuse."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from micro._endpoint.options import EndpointOptions
from micro._endpoint.outcomes import Outcomes
from micro._endpoint.request_queue import RequestQueue
from micro._endpoint.runner import Runner
from micro._endpoint.task_pool import TaskPool
from micro._handlers.middleware import Work
from micro._handlers.nats_request import NatsRequest, requests_of
from micro._wire.frames import Message
from micro._wire.paths import Path, Reply, reply_anywhere

logger = logging.getLogger("micro.dispatch")

PATIENCE = 0.5
"""Seconds that cancelled handlers have to end before their callers get 503."""


class Exchange(NamedTuple):
    """How an endpoint makes requests of messages, and what becomes of their answers.

    Attributes:
        requests: Returns the requests of messages, each made when it is asked for.
        reply: Returns what takes the answers on a path; None answers the callers.
        patient: Whether requests may wait for a free place without a limit of time.
    """

    requests: Callable[[list[Message]], Iterator[NatsRequest]] = requests_of
    reply: Callable[[Path], Reply] | None = None
    patient: bool = False


CALLS = Exchange()
"""Requests of callers, who get the answers."""


class Dispatcher:
    """Runs requests, queues them, or refuses them; each gets one answer.

    Args:
        outcomes: Turns the outcomes of requests into answers.
        work: The handler with its middlewares.
        options: The options of the endpoint.
        pool: The tasks that requests run in.
        path: The path that answers are sent by.
        exchange: How requests are made and answered.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        work: Work,
        *,
        options: EndpointOptions,
        pool: TaskPool,
        path: Path,
        exchange: Exchange = CALLS,
    ) -> None:
        self._exchange = exchange
        self._label = outcomes.label
        self._outcomes = outcomes
        self.counters = self._outcomes.counters
        prefixes = options.reply_prefixes
        self._prefixes = None if prefixes is None else tuple(each.encode() for each in prefixes)
        self._runner = Runner(
            work,
            self._outcomes,
            self._reply_by(path),
            timeout=options.timeout,
            clock=pool.clock,
            close=self._release,
        )
        self.answer_through(path)
        self._max_in_flight = options.max_in_flight
        self._pool = pool
        self._active = 0  # requests that have suspended
        queued = replace(options, timeout=None) if exchange.patient else options
        self._queue = RequestQueue(queued, self.refuse)
        self._refill_due = False
        self._drained: asyncio.Future[None] | None = None

    def answer_through(self, path: Path) -> None:
        """Send answers by another path from now on."""
        self._runner.answer_through(self._reply_by(path), path.congestion)
        self._congestion = path.congestion

    def _reply_by(self, path: Path) -> Reply:
        """Return what sends answers; an explicit prefix allows the subjects of the server."""
        if self._exchange.reply is not None:
            return self._exchange.reply(path)
        opted_in = any(prefix.startswith(b"$") for prefix in self._prefixes or ())
        return reply_anywhere(path) if opted_in else path.reply

    def answer_refused(self, subject: str) -> None:
        """Count an answer that the server has refused, if it is of this endpoint."""
        if self._runner.has_answered(subject):
            self._outcomes.refused_by_server(subject)

    def receive(self, messages: list[Message]) -> None:
        """Run, queue or refuse requests; must not be called inside a task."""
        requests = self._exchange.requests(messages)
        if self._prefixes is not None:
            requests = filter(self._is_allowed, requests)
        self.admit(requests)

    def admit(self, requests: Iterator[NatsRequest]) -> None:
        """Run, queue or refuse requests that have been made; see `receive`."""
        queue = self._queue
        if queue.arrivals:
            self._run_queued()
        # Most batches end here, without the iterator that gives back the first request.
        if not queue.arrivals and self._is_free() and self._pool.run(self._runner, requests):
            self._active += 1
        for request in requests:
            if not queue.arrivals and self._is_free():
                if self._pool.run(self._runner, chain((request,), requests)):
                    self._active += 1
            elif not queue.keep(request):
                self.refuse(request)
        if self._congestion.on:
            self._wait_for_path()

    def refuse(self, request: NatsRequest, reason: str = "overloaded") -> None:
        """Answer 503 to a request that is not run."""
        sending = self._runner.refuse(request, reason)
        if sending is not None:
            self._active += 1
            self._pool.finish(sending, self._release)

    def _is_free(self) -> bool:
        return self._active < self._max_in_flight and not self._congestion.on

    def _wait_for_path(self) -> None:
        if self._queue and not self._refill_due:
            self._refill_due = True
            self._congestion.when_over(self._refill)

    def _is_allowed(self, request: NatsRequest) -> bool:
        """Return whether the answer may go to the reply subject."""
        allowed = self._prefixes is None or request.raw_reply.startswith(self._prefixes)
        if not allowed:
            self._outcomes.ignored(request)
        return allowed

    def withdraw(self) -> Iterable[NatsRequest]:
        """Remove and return the requests that wait for a free place."""
        return self._queue.take_all()

    async def drain(self, limit: float) -> None:
        """Wait until every admitted request is answered; cancel with 503 after `limit` seconds.

        The request whose handler is calling does not count.
        """
        if self.is_calling():
            self._pool.excuse()
        try:
            async with asyncio.timeout(limit):
                await self._until_idle()
        except TimeoutError:
            logger.warning("%s: %d requests unfinished, cancelling", self._label, self._active)
            await self.abort()

    async def abort(self) -> None:
        """Cancel running requests and refuse queued ones, both with 503 `service stopped`."""
        self._outcomes.aborted = True
        for request in self._queue.take_all():
            self.refuse(request, "service stopped")
        self._pool.cancel(self._runner)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._until_idle()
        except TimeoutError:
            logger.error("%s: %d handlers ignore cancellation", self._label, self._active)

    def cut_off(self) -> None:
        """Answer 503 for handlers that ignore their cancellation; their own answers are lost."""
        for request in self._pool.suspended(self._runner):
            self.refuse(request, "service stopped")
            request.raw_reply = b""

    def load(self) -> dict[str, int]:
        """Return how many requests run, and how many wait for a free place."""
        return {"in_flight": self._active, "queued": len(self._queue)}

    def is_calling(self) -> bool:
        """Return whether the caller is one of the handlers that run here."""
        return self._pool.current() is self._runner

    async def _until_idle(self) -> None:
        while self._active or self._queue:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._drained})

    def _release(self) -> None:
        """Give back the place of a request that has ended."""
        self._active -= 1
        if self._queue and not self._refill_due:
            self._refill_due = True
            asyncio.get_running_loop().call_soon(self._refill)
        self._wake()

    def _refill(self) -> None:
        self._refill_due = False
        self._run_queued()
        if self._congestion.on:
            self._wait_for_path()
        self._wake()

    def _run_queued(self) -> None:
        while self._queue and self._is_free():
            if self._pool.run(self._runner, self._queue.take_all()):
                self._active += 1

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
