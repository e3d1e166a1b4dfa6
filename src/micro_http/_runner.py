"""The two loops that carry out the decisions of an Execution: one awaits, one blocks."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any

from micro_http._engine import Engine, Execution, Observer
from micro_http._errors import ConfigError, DeadlineExceededError, TryTimeoutError
from micro_http._httpx import httpx
from micro_http._policy import RetryPolicy

AsyncSend = Callable[[], Awaitable[httpx.Response]]
Send = Callable[[float | None], httpx.Response]
Pending = asyncio.Future[httpx.Response]


class AsyncRunner:
    """The asyncio loop of requests under one policy."""

    def __init__(self, policy: RetryPolicy, observers: Iterable[Observer] = ()) -> None:
        self.engine = Engine(policy, observers)
        self._gate: AbstractAsyncContextManager[Any] = (
            nullcontext()
            if policy.max_concurrency is None
            else asyncio.Semaphore(policy.max_concurrency)
        )
        self._is_plain = policy.try_timeout is None and policy.hedge_after is None

    async def run(self, execution: Execution, send: AsyncSend) -> httpx.Response:
        """Call `send` until the execution accepts the outcome.

        Raises:
            CircuitOpenError: The circuit of the origin is open.
            DeadlineExceededError: The deadline of the policy passed during a try.
            TryTimeoutError: The last try took longer than `try_timeout`.
        """
        deadline = self.engine.policy.deadline
        if deadline is None:
            return await self._loop(execution, send)
        async with _within(deadline, DeadlineExceededError(deadline)):
            return await self._loop(execution, send)

    async def _loop(self, execution: Execution, send: AsyncSend) -> httpx.Response:
        while True:
            async with self._gate:
                execution.begin()
                try:
                    response = await (send() if self._is_plain else self._try(execution, send))
                except BaseException as error:
                    delay = execution.failed(error)
                    if delay is None:
                        raise
                else:
                    delay = execution.answered(response)
                    if delay is None:
                        return response
                    await response.aclose()
            await asyncio.sleep(_effective(delay))

    async def _try(self, execution: Execution, send: AsyncSend) -> httpx.Response:
        policy = self.engine.policy
        target = execution.target
        if policy.hedge_after is not None and target.method == "GET" and target.replayable:
            send = partial(_hedged, execution, send, policy.hedge_after)
        if policy.try_timeout is None:
            return await send()
        async with _within(policy.try_timeout, TryTimeoutError(policy.try_timeout)):
            return await send()


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


async def _hedged(execution: Execution, send: AsyncSend, after: float) -> httpx.Response:
    tasks: list[Pending] = [asyncio.ensure_future(send())]
    try:
        done, _ = await asyncio.wait(tasks, timeout=after)
        if not done and execution.may_hedge():
            tasks.append(asyncio.ensure_future(send()))
        winner = await _first_success(tasks)
        tasks.remove(winner)
        return winner.result()
    finally:
        await _discard(tasks)


async def _first_success(
    tasks: list[Pending],
) -> Pending:
    """Return the first task with a response, or the first task if all failed."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled() and task.exception() is None:
                return task
    return tasks[0]


async def _discard(tasks: list[Pending]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, httpx.Response):
            await outcome.aclose()


class SyncRunner:
    """The blocking loop of requests under one policy, in the calling thread.

    Raises:
        ConfigError: The policy hedges, which needs asyncio.
    """

    def __init__(self, policy: RetryPolicy, observers: Iterable[Observer] = ()) -> None:
        if policy.hedge_after is not None:
            raise ConfigError(
                f"invalid hedge_after {policy.hedge_after!r}: expected None without asyncio"
            )
        self.engine = Engine(policy, observers)
        limit = policy.max_concurrency
        self._gate = None if limit is None else threading.BoundedSemaphore(limit)

    def run(self, execution: Execution, send: Send) -> httpx.Response:
        """Call `send` with the seconds of one try until the execution accepts the outcome.

        Raises:
            CircuitOpenError: The circuit of the origin is open.
            DeadlineExceededError: The deadline of the policy passed before a try began.
        """
        while True:
            with self._slot(execution):
                execution.begin()
                try:
                    response = send(self._seconds(execution))
                except BaseException as error:
                    delay = execution.failed(error)
                    if delay is None:
                        raise
                else:
                    delay = execution.answered(response)
                    if delay is None:
                        return response
                    response.close()
            time.sleep(_effective(delay))

    @contextmanager
    def _slot(self, execution: Execution) -> Iterator[None]:
        if self._gate is None:
            yield
            return
        while not self._gate.acquire(timeout=execution.remaining):
            execution.check_deadline()
        try:
            yield
        finally:
            self._gate.release()

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
