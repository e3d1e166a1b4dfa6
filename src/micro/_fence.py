"""Knowing that the server has seen what was sent.

nats-py's ``flush()`` puts its PING in front of whatever is still buffered, so its PONG proves nothing
about a SUB or UNSUB of a moment ago. Once the buffer is empty the order holds: the server answers the
PING after everything before it (`rtt` and not `flush` sends it: the latter returns at once, and with
success, where nothing is read any more). A PONG needs no permission, where an echo to an inbox of our own would.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._errors import ConnectError

ROUND_TRIP = 2.0
"""Seconds after which a round trip is repeated; a reconnect forgets the PING under way."""

POLL = 0.02
"""Seconds between two looks at the connection while waiting."""

# nats-py stops reading for good when the PONG of a cancelled PING arrives, so no PING is ever cancelled:
# one that is given up stays here until it is answered, or its connection is another one or closed. With
# each goes the number of that connection.
_FOREVER = 1_000_000_000
_pings: WeakKeyDictionary[NatsClient, dict[asyncio.Task[float], int]] = WeakKeyDictionary()


async def fence(nc: NatsClient, timeout: float = 10.0, *, reconnects: bool = True) -> None:
    """Return when the server has processed every command given to ``nc`` so far.

    All messages the server sent before that have then been handed to their subscriptions.

    Args:
        nc: The connection.
        timeout: Seconds to wait in all.
        reconnects: Whether to wait for a connection that is lost to come back.

    Raises:
        ConnectError: The connection is closed or lost, or the server did not answer in time.
    """
    try:
        async with asyncio.timeout(timeout):
            while not await _round_trip(nc, reconnects):
                pass
    except TimeoutError:
        raise ConnectError(f"the server did not answer within {timeout:g} s") from None
    except nats.errors.ConnectionClosedError:
        raise ConnectError("the connection is closed") from None


async def _round_trip(nc: NatsClient, reconnects: bool) -> bool:
    pause = 0.0
    while nc.pending_data_size > 0 or not nc.is_connected:
        _check(nc, reconnects)
        await asyncio.sleep(pause)
        pause = min(POLL, pause + 0.001)  # the flusher usually runs in the next turn of the loop
    _forget_lost_pings()
    pings = _pings.setdefault(nc, {})
    ping = asyncio.create_task(nc.rtt(_FOREVER))
    pings[ping] = nc.stats["reconnects"]
    ping.add_done_callback(lambda task: pings.pop(task, None))
    ping.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen, if any
    for _ in range(round(ROUND_TRIP / POLL)):
        await asyncio.wait({ping}, timeout=POLL)
        if ping.done():
            ping.result()
            return True
        _check(nc, reconnects)
    return False


def _forget_lost_pings() -> None:
    """Cancel the round trips of former connections: no PONG can come for them any more."""
    for nc, pings in list(_pings.items()):
        for ping, connection in list(pings.items()):
            if nc.is_closed or connection != nc.stats["reconnects"]:
                ping.cancel()


def _check(nc: NatsClient, reconnects: bool) -> None:
    if nc.is_closed:
        raise nats.errors.ConnectionClosedError
    if not reconnects and not nc.is_connected:
        raise ConnectError("the connection is lost")
