"""Fences: the proof that the server has processed every command sent so far.

`flush()` of nats-py sends its PING ahead of buffered commands, so its PONG proves nothing about a
recent SUB or UNSUB. Once the buffer is empty the order holds: the server answers the PING after
everything before it. `rtt()` sends the PING, since `flush()` returns at once, and with success,
when nothing is read any more. A PONG needs no permission, unlike an echo to an inbox. All fences
that wait for the same buffer to become empty share one PING: a thousand endpoints cost one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from nats.aio.client import Client as NatsClient

from micro._errors import ConnectError
from micro._wire.client_state import all_states, state_of

logger = logging.getLogger("micro.fence")

ROUND_TRIP = 2.0
"""Seconds after which a round trip is repeated; a reconnect forgets the PING under way."""

POLL = 0.02
"""Seconds between two looks at the connection while waiting."""

# Time-out of a PING. It is never cancelled, since nats-py stops reading for good when the PONG of a
# cancelled PING arrives: a PING that is given up stays in the state of its client until its answer
# arrives, or its connection is replaced or closed.
_FOREVER = 1_000_000_000


async def fence(nc: NatsClient, timeout: float = 10.0, *, reconnects: bool = True) -> None:
    """Return when the server has processed every command given to `nc` so far.

    All messages that the server sent before have then reached their subscriptions.

    Args:
        nc: The connection.
        timeout: Seconds to wait in all.
        reconnects: Whether to wait for a lost connection to come back.

    Raises:
        ConnectError: The connection is closed or lost, or the server did not answer in time.
    """
    state = state_of(nc)
    if state.round is None:
        state.round = Round(nc)
    await state.round.join(timeout, reconnects)


async def settle(nc: NatsClient) -> None:
    """Wait until the server has processed every command, unless there is no connection."""
    if nc.is_connected:
        try:
            await fence(nc, reconnects=False)
        except OSError as error:
            logger.warning("cannot confirm with the server: %s", error)


class _Waiter(NamedTuple):
    future: asyncio.Future[None]
    timeout: float
    deadline: float
    reconnects: bool


class Round:
    """The fences that wait for one PING, and the task that sends it."""

    def __init__(self, nc: NatsClient) -> None:
        self._nc = nc
        self._state = state_of(nc)
        self._loop = asyncio.get_running_loop()
        self._waiters: list[_Waiter] = []
        self._failure: Exception | None = ConnectError("waiting for the server was broken off")
        self._task: asyncio.Task[None] | None = None

    def join(self, timeout: float, reconnects: bool) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(_Waiter(future, timeout, self._loop.time() + timeout, reconnects))
        if self._task is None:  # with the first fence, since an eager task begins at once
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(self._ended)  # also if it is cancelled before it begins
        return future

    async def _run(self) -> None:
        while await self._is_flushed():
            self._close()  # later commands are sent behind the PING
            if await self._is_answered():
                self._failure = None
                return

    def _close(self) -> None:
        if self._state.round is self:
            self._state.round = None

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._close()
        for waiter in self._waiters:
            _end(waiter, self._failure)

    async def _is_flushed(self) -> bool:
        """Wait until nats-py has sent everything; return False when no fence waits any more."""
        pause = 0.0
        while self._is_awaited():
            if self._nc.is_connected and self._nc.pending_data_size == 0:
                return True
            await asyncio.sleep(pause)  # the flusher usually runs in the next turn of the loop
            pause = min(POLL, pause + 0.001)
        return False

    async def _is_answered(self) -> bool:
        """Send a PING and wait for its PONG; return False when the PING must be repeated."""
        nc = self._nc
        _forget_lost_pings()
        pings = self._state.pings
        ping = asyncio.create_task(nc.rtt(_FOREVER))
        pings[ping] = nc.stats["reconnects"]
        ping.add_done_callback(lambda task: pings.pop(task, None))
        ping.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen, if any
        for _ in range(round(ROUND_TRIP / POLL)):
            await asyncio.wait({ping}, timeout=POLL)
            if ping.done():
                return not ping.cancelled() and ping.exception() is None
            if not self._is_awaited():
                break
        return False

    def _is_awaited(self) -> bool:
        """Fail the fences that cannot wait any longer; return whether any are left."""
        now = self._loop.time()
        for waiter in self._waiters:
            if self._nc.is_closed:
                _end(waiter, ConnectError("the connection is closed"))
            elif not waiter.reconnects and not self._nc.is_connected:
                _end(waiter, ConnectError("the connection is lost"))
            elif now >= waiter.deadline:
                text = f"the server did not answer within {waiter.timeout:g} s"
                _end(waiter, ConnectError(text))
        self._waiters = [waiter for waiter in self._waiters if not waiter.future.done()]
        return bool(self._waiters)


def _end(waiter: _Waiter, failure: Exception | None) -> None:
    if waiter.future.done():
        return  # its caller has been cancelled
    if failure is None:
        waiter.future.set_result(None)
    else:
        waiter.future.set_exception(failure)


def _forget_lost_pings() -> None:
    """Cancel the PINGs of former connections: no PONG can arrive for them any more."""
    for nc, state in all_states():
        for ping, connection in list(state.pings.items()):
            if nc.is_closed or connection != nc.stats["reconnects"]:
                ping.cancel()
