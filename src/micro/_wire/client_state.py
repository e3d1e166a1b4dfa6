"""The state that micro keeps for each NATS client, and the end of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary, WeakMethod, ref

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._errors import ClosedError
from micro._wire.congestion import Congestion

if TYPE_CHECKING:
    from micro._wire.fence import Round
    from micro._wire.permissions import Expectation, Watcher
    from micro._wire.resubscribing import Keeper

INTERVAL = 0.2
"""Seconds between two looks at a connection: its callbacks belong to its owner."""


@dataclass(slots=True)
class ClientState:
    """The state of one client; it never refers to the client itself, which could not end then.

    Attributes:
        expectations: One for each subscription that is being made.
        watchers: Methods that are called with each refusal.
        dependants: Methods that are called when it is closed for good.
        end: Waits until it is closed.
        successor: The client that has replaced this one.
        keeper: Subscribes again when the server drops a subscription.
        pings: Its unanswered PINGs, each with the number of its connection.
        round: The fence whose PING has not been sent yet.
        outstanding: Limits the messages that wait for the acknowledgements of streams.
        congestion: Its congestion on the public path, which all its users share.
        requester: The requester that all `Client` objects of it share.
    """

    expectations: list[Expectation] = field(default_factory=list)
    watchers: list[WeakMethod[Watcher]] = field(default_factory=list)
    dependants: list[WeakMethod[Callable[[], None]]] = field(default_factory=list)
    end: asyncio.Task[None] | None = None
    successor: NatsClient | None = None
    keeper: Keeper | None = None
    pings: dict[asyncio.Task[float], int] = field(default_factory=dict)
    round: Round | None = None
    outstanding: Any = None
    congestion: Congestion = field(default_factory=Congestion)
    requester: ReferenceType[Any] | None = None


_states: WeakKeyDictionary[NatsClient, ClientState] = WeakKeyDictionary()


def state_of(nc: NatsClient) -> ClientState:
    """Return the state of a client."""
    state = _states.get(nc)
    if state is None:
        state = _states[nc] = ClientState()
    return state


def latest(nc: NatsClient) -> NatsClient:
    """Return the client that stands for a client now, after any number of replacements."""
    while nc.is_closed:
        successor = state_of(nc).successor
        if successor is None:
            return nc
        nc = successor
    return nc


def all_states() -> list[tuple[NatsClient, ClientState]]:
    """Return all clients with their states."""
    return list(_states.items())


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
