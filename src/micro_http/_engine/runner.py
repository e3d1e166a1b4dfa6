"""The two loops that carry out the decisions of an Execution: one awaits, one blocks."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from micro_http._engine.engine import Engine, Execution, Observer
from micro_http._engine.exchange import AsyncSend, Call, Calls, Exchange, PerLoop
from micro_http._engine.policy import RetryPolicy
from micro_http._errors import (
    ConfigError,
    DeadlineExceededError,
    LoopChangedError,
    TryTimeoutError,
)
from micro_http._httpx import POOL_SIZE, httpx

Send = Callable[[Exchange, float | None], httpx.Response]


class AsyncRunner:
    """The asyncio loop of requests under one policy.

    `pool_size` is the number of tries at the same time unless the policy has `max_concurrency`.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        observers: Iterable[Observer] = (),
        *,
        pool_size: int | None = POOL_SIZE,
    ) -> None:
        self.engine = Engine(policy, observers)
        limit = pool_size if policy.max_concurrency is None else policy.max_concurrency
        limits = [s for s in (policy.try_timeout, policy.deadline) if s is not None]
        # An abandoned call still opens its connection, but not for ever. One second more, so that
        # the limit of the policy is the one that ends the try.
        connect_seconds = min(limits) + 1 if limits else None
        self._calls = PerLoop(lambda: Calls(limit, connect_seconds))

    @property
    def calls(self) -> Calls:
        """The calls of the running event loop.

        Raises:
            LoopChangedError: Another loop that is still running has calls.
        """
        return self._calls.get()

    async def run(self, execution: Execution, send: AsyncSend) -> httpx.Response:
        """Call `send` until the execution accepts the outcome.

        Raises:
            CircuitOpenError: The circuit of the origin is open.
            DeadlineExceededError: The deadline of the policy passed during a try.
            LoopChangedError: The client belongs to another event loop.
            TryTimeoutError: The last try took longer than `try_timeout`.
        """
        deadline = self.engine.policy.deadline
        if deadline is None:
            return await self._loop(execution, send)
        async with _within(deadline, DeadlineExceededError(deadline)):
            return await self._loop(execution, send)

    async def _loop(self, execution: Execution, send: AsyncSend) -> httpx.Response:
        calls = self.calls
        while True:
            await calls.enter()
            try:
                execution.begin()
            except BaseException:
                calls.leave()
                raise
            call = calls.send(send)
            try:
                response = await self._try(execution, call, send)
            except BaseException as error:
                delay = execution.failed(error, answered=call.exchange.answered)
                if delay is None:
                    if self._calls.renewed and _is_of_another_loop(error):
                        raise LoopChangedError from error
                    raise
            else:
                delay = execution.answered(response)
                if delay is None:
                    return response
                await calls.close(response).result()
            await asyncio.sleep(_effective(delay))

    async def _try(
        self, execution: Execution, call: Call[httpx.Response], send: AsyncSend
    ) -> httpx.Response:
        policy = self.engine.policy
        target = execution.target
        outcome = call.result
        if policy.hedge_after is not None and target.method == "GET" and target.replayable:
            outcome = partial(self._hedged, execution, call, send, policy.hedge_after)
        if policy.try_timeout is None:
            return await outcome()
        async with _within(policy.try_timeout, TryTimeoutError(policy.try_timeout)):
            return await outcome()

    async def _hedged(
        self, execution: Execution, first: Call[httpx.Response], send: AsyncSend, after: float
    ) -> httpx.Response:
        calls = self.calls
        running = [first]
        try:
            done, _ = await asyncio.wait((first.task,), timeout=after)
            if not done and not calls.full and execution.may_hedge():
                await calls.enter()
                running.append(calls.send(send))
            winner = await _first_success(running)
            running.remove(winner)
            return winner.task.result()
        finally:
            for call in running:
                call.abandon()


@asynccontextmanager
async def _within(seconds: float, error: Exception) -> AsyncIterator[None]:
    """Limit the time of a block; raise the given error when this limit ends it."""
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            yield
    except TimeoutError as exc:
        if not scope.expired():
            raise
        raise error from exc


async def _first_success(calls: list[Call[httpx.Response]]) -> Call[httpx.Response]:
    """Return the first call with a response, or the first call if all failed."""
    pending = {call.task for call in calls}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for call in calls:
            if call.task in done and not call.task.cancelled() and not call.task.exception():
                return call
    return calls[0]


def _is_of_another_loop(error: BaseException) -> bool:
    """Return whether asyncio refused a socket that belongs to an earlier event loop."""
    return isinstance(error, RuntimeError) and "loop" in str(error)


class SyncRunner:
    """The blocking loop of requests under one policy, in the calling thread.

    At most `max_concurrency` tries run at the same time, by default as many as a pool of httpx
    has connections.

    Raises:
        ConfigError: The policy hedges, which needs asyncio.
    """

    def __init__(self, policy: RetryPolicy, observers: Iterable[Observer] = ()) -> None:
        if policy.hedge_after is not None:
            raise ConfigError(
                f"invalid hedge_after {policy.hedge_after!r}: expected None without asyncio"
            )
        self.engine = Engine(policy, observers)
        limit = POOL_SIZE if policy.max_concurrency is None else policy.max_concurrency
        self._places = threading.BoundedSemaphore(limit)

    def run(self, execution: Execution, send: Send) -> httpx.Response:
        """Call `send` with the seconds of one try until the execution accepts the outcome.

        Raises:
            CircuitOpenError: The circuit of the origin is open.
            DeadlineExceededError: The deadline of the policy passed before a try began.
        """
        while True:
            with self._place(execution):
                execution.begin()
                exchange = Exchange()
                try:
                    response = send(exchange, self._seconds(execution))
                except BaseException as error:
                    delay = execution.failed(error, answered=exchange.answered)
                    if delay is None:
                        raise
                else:
                    delay = execution.answered(response)
                    if delay is None:
                        return response
                    response.close()
            time.sleep(_effective(delay))

    @contextmanager
    def _place(self, execution: Execution) -> Iterator[None]:
        while not self._places.acquire(timeout=execution.remaining):
            execution.check_deadline()
        try:
            yield
        finally:
            self._places.release()

    def _seconds(self, execution: Execution) -> float | None:
        bounds = (self.engine.policy.try_timeout, execution.remaining)
        return min((bound for bound in bounds if bound is not None), default=None)


class _Delays:
    enabled = True


@contextmanager
def no_delays() -> Iterator[None]:
    """Skip all waits between tries inside the block, in all clients of the process; for tests.

    Counts, events and the reported delays stay as they are.
    """
    before = _Delays.enabled
    _Delays.enabled = False
    try:
        yield
    finally:
        _Delays.enabled = before


def _effective(delay: float) -> float:
    """Return the seconds to wait."""
    return delay if _Delays.enabled else 0.0
