"""Taking in the requests of one endpoint within its limits."""

from __future__ import annotations

import asyncio
import logging
from operator import length_hint
from typing import Any

from micro._endpoint.outcomes import Outcomes, Report
from micro._endpoint.request_log import RequestLog
from micro._endpoint.request_queue import Waiting
from micro._endpoint.runner import Runner
from micro._endpoint.task_pool import ParkedTasks
from micro._handlers.middleware import Work
from micro._handlers.nats_request import NatsRequest
from micro._limits import Limits
from micro._wire.paths import Path, RequestsOf

logger = logging.getLogger("micro.dispatch")


class Dispatcher:
    """Runs requests, keeps them waiting, or refuses them; each gets one answer.

    Args:
        log: Where what goes wrong is logged.
        work: The handler with its middlewares.
        limits: How much it takes on.
        pool: The tasks to run in.
        path: The way that answers leave by.
        report: Told of each failed request.
    """

    def __init__(
        self,
        log: RequestLog,
        work: Work,
        *,
        limits: Limits,
        pool: ParkedTasks,
        path: Path,
        report: Report,
    ) -> None:
        self._label = log.label
        self._outcomes = Outcomes(log, report, wrapped=work.wrapped)
        self.counters = self._outcomes.counters
        self._runner = Runner(
            work,
            self._outcomes,
            path,
            timeout=limits.timeout,
            clock=pool.clock,
            release=self._release,
        )
        self._max_in_flight = limits.max_in_flight
        self._prefixes = limits.reply_prefixes
        self._pool = pool
        self._active = 0  # requests that have suspended
        self._waiting = Waiting(limits, self._refuse)
        self._drained: asyncio.Future[None] | None = None

    def answer_through(self, path: Path) -> None:
        """Send answers by another path from now on."""
        self._runner.answer_through(path)

    def receive(self, requests_of: RequestsOf, messages: list[Any]) -> None:
        """Run requests at once, keep them waiting, or refuse them; never inside a task."""
        rest = iter(messages)
        requests = requests_of(rest)
        if self._prefixes is not None:
            requests = filter(self._is_allowed, requests)
        while length_hint(rest):
            if self._active < self._max_in_flight:
                if self._pool.run(self._runner, requests):
                    self._active += 1
                continue
            for request in requests:
                if not self._waiting.keep(request):
                    self._refuse(request)

    def _is_allowed(self, request: NatsRequest) -> bool:
        """Return whether the answer may go where the caller wants it."""
        allowed = self._prefixes is None or request.raw_reply.startswith(self._prefixes)
        if not allowed:
            self._outcomes.ignored(request)
        return allowed

    async def drain(self, limit: float) -> None:
        """Wait until every admitted request is answered; cancel and answer 503 after ``limit`` seconds.

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
        """Cancel what runs and refuse what waits, both with 503 ``service stopped``."""
        self._outcomes.aborted = True
        while self._waiting:
            self._refuse(self._waiting.take(), "service stopped")
        self._pool.cancel(self._runner)
        try:
            async with asyncio.timeout(1):
                await self._until_idle()
        except TimeoutError:
            logger.error("%s: %d handlers ignore cancellation", self._label, self._active)

    def load(self) -> dict[str, int]:
        """Return how many requests run, and how many wait for a free slot."""
        return {"in_flight": self._active, "queued": len(self._waiting)}

    def is_calling(self) -> bool:
        """Return whether the caller is one of the handlers that run here."""
        return self._pool.current() is self._runner

    async def _until_idle(self) -> None:
        while self._active:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._drained})

    def _refuse(self, request: NatsRequest, reason: str = "overloaded") -> None:
        """Answer 503 to a request that is not run."""
        sending = self._runner.refuse(request, reason)
        if sending is not None:
            self._active += 1
            self._pool.wait_for(sending, self._release)

    def _release(self) -> None:
        """Give a slot that has become free to the next request."""
        if self._waiting and self._active <= self._max_in_flight:  # refusals come on top of it
            self._pool.submit(self._runner, self._waiting.take())
        else:
            self._active -= 1
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
