"""The end of a connection, for the owners of its subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import ReferenceType, WeakMethod, ref

from nats.aio.client import Client as NatsClient

from micro._wire.client_state import state_of

INTERVAL = 0.2
"""Seconds between two looks at a connection: its callbacks belong to its owner."""


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
