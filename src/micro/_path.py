"""The seam between what a service does and how messages travel; there are two such paths.

On the public path requests are messages of nats-py and run in a pool of tasks. On the fast path they
come straight from the socket and begin at once inside a parked task. Both behave alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol

from nats.aio.subscription import Subscription

from micro._request import NatsRequest, Response


class Runner(Protocol):
    """What works on requests."""

    def run(self, request: NatsRequest) -> Coroutine[Any, Any, None]:
        """Run one request to its end; raises only when its task is cancelled."""


class Receiver(Runner, Protocol):
    """What takes in the messages of a subscription."""

    def admit(self, request: NatsRequest) -> bool:
        """Take a request on, now or later; False when it is to be refused."""

    def refuse(self, request: NatsRequest) -> Coroutine[Any, Any, None]:
        """Answer a request that is not taken on."""


class Pool(Protocol):
    """The tasks that requests run in."""

    def start(self, runner: Runner, request: NatsRequest) -> None:
        """Run a request that has just been received."""

    def submit(self, runner: Runner, request: NatsRequest) -> None:
        """Run a request soon; may be called from anywhere, the end of another one included."""

    def current(self) -> Runner | None:
        """Return whose request the running task is working on, if it is one of these tasks."""

    def cancel(self, runner: Runner) -> None:
        """Cancel the tasks that work for one runner, but not the caller's."""

    async def close(self) -> None:
        """End every task but the caller's; requests that wait are dropped."""


class Path(Protocol):
    """How messages travel."""

    @property
    def pool(self) -> Pool:
        """The tasks that requests run in."""

    async def subscribe(self, subject: str, queue: str, receiver: Receiver) -> Subscription:
        """Subscribe on behalf of a receiver; a fence must follow."""

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; does nothing when the connection is closed."""

    def send(self, request: NatsRequest, response: Response) -> Awaitable[None]:
        """Send the answer to a request, if it wants one.

        Raises:
            ConfigError: A header cannot be sent.
            PayloadTooLargeError: The answer exceeds the server's ``max_payload``.
            nats.errors.Error: It is lost.
        """
