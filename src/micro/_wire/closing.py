"""The end of a connection, for the owners of its subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import ReferenceType, WeakMethod, ref

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._errors import ClosedError
from micro._wire.client_state import state_of

INTERVAL = 0.2
"""Seconds between two looks at a connection: its callbacks belong to its owner."""


class ConnectionClosedError(ClosedError, nats.errors.ConnectionClosedError):
    """A closed connection was used."""

    def __str__(self) -> str:
        return "the connection is closed"


def check_open(nc: NatsClient) -> None:
    """Raise ClosedError, also a `nats.errors.ConnectionClosedError`, for a closed connection."""
    if nc.is_closed:
        raise ConnectionClosedError


def when_closed(nc: NatsClient, call: Callable[[], None]) -> None:
    """Have a method called once the connection is closed for good, as long as its object lives."""
    state = state_of(nc)
    state.dependants.append(WeakMethod(call))
    if state.end is None:
        state.end = asyncio.get_running_loop().create_task(_watch(ref(nc)))


async def _watch(client: ReferenceType[NatsClient]) -> None:
    while (nc := client()) is not None and not nc.is_closed:
        del nc  # the client may end meanwhile
        await asyncio.sleep(INTERVAL)
    if nc is None:
        return
    state = state_of(nc)
    dependants, state.dependants, state.end = state.dependants, [], None
    for method in dependants:
        call = method()
        if call is not None:
            call()
