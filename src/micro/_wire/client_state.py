"""The state that micro keeps for each NATS client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, WeakKeyDictionary, WeakMethod

from nats.aio.client import Client as NatsClient

from micro._wire.congestion import Congestion

if TYPE_CHECKING:
    from micro._wire.fence import Round
    from micro._wire.permissions import Expectation, Watcher
    from micro._wire.resubscribing import Keeper


class ClientState:
    """The state of one client; it never refers to the client itself, which could not end then.

    Attributes:
        guarded: Whether its decoding is guarded, see `nats_py.guard`.
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

    __slots__ = (
        "congestion",
        "dependants",
        "end",
        "expectations",
        "guarded",
        "keeper",
        "outstanding",
        "pings",
        "requester",
        "round",
        "successor",
        "watchers",
    )

    def __init__(self) -> None:
        self.guarded = False
        self.expectations: list[Expectation] = []
        self.watchers: list[WeakMethod[Watcher]] = []
        self.dependants: list[WeakMethod[Callable[[], None]]] = []
        self.end: asyncio.Task[None] | None = None
        self.successor: NatsClient | None = None
        self.keeper: Keeper | None = None
        self.pings: dict[asyncio.Task[float], int] = {}
        self.round: Round | None = None
        self.outstanding: Any = None
        self.congestion = Congestion()
        self.requester: ReferenceType[Any] | None = None


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
