"""The nine plain subscriptions of an instance to PING, INFO and STATS (ADR-32)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import nats.errors
from nats.aio.subscription import Subscription

from micro._errors import MicroError, PayloadTooLargeError
from micro._protocol.adr32 import ERROR, ERROR_CODE
from micro._protocol.subjects import VERBS, control_subject
from micro._ratelimit import LimitedLog, TokenBucket
from micro._wire import resubscribing
from micro._wire.fence import fence
from micro._wire.frames import Message
from micro._wire.outbox import DOLLAR
from micro._wire.paths import Path
from micro._wire.permissions import Expectation
from micro._wire.resubscribing import Kept

logger = logging.getLogger("micro.discovery")

Answer = Callable[[], Awaitable[bytes]]

ANSWERS_PER_SECOND = 5_000
"""Limit on discovery answers; further requests are ignored."""

BYTES_PER_SECOND = 32 * 1024 * 1024
"""Limit on the bytes of discovery answers; requests beyond it are ignored."""

MAX_WAITING = 2_000
"""Limit on requests that wait for their answers; further requests are ignored."""

TURN = 0.002
"""Seconds of answers in one step of the event loop, so that requests are not delayed."""

LINGER = 0.5
"""Seconds that a stop waits for the answers to the requests received until then."""


class Discovery:
    """The discovery subscriptions of one service instance.

    Requests beyond the limits are ignored: a request costs its sender less than its answer costs
    the service.

    Args:
        path: The way over the connection.
        api_prefix: `$SRV` unless overridden.
        name: The name of the service.
        id: The id of the instance.
        answers: A function for each verb that returns the body of the answer.
    """

    def __init__(
        self, path: Path, api_prefix: str, name: str, id: str, *, answers: Mapping[str, Answer]
    ) -> None:
        self._path = path
        self._lanes = {verb: _Lane(partial(self._answer, answers[verb])) for verb in VERBS}
        self._subjects = {
            control_subject(verb, api_prefix, *scope): self._lanes[verb]
            for verb in VERBS
            for scope in ((), (name,), (name, id))
        }
        self._subscriptions: list[Subscription] = []
        self._kept: list[Kept] = []
        self._count = TokenBucket(ANSWERS_PER_SECOND, 2 * ANSWERS_PER_SECOND)
        self._bytes = TokenBucket(BYTES_PER_SECOND, 2 * BYTES_PER_SECOND)
        self._log = LimitedLog(logger)

    @property
    def subjects(self) -> list[str]:
        """The nine subjects."""
        return list(self._subjects)

    @property
    def refused(self) -> list[str]:
        """The subjects that the server has dropped."""
        return [kept.subscription.subject for kept in self._kept if kept.error is not None]

    async def start(
        self, owner: str, dropped: Callable[[MicroError], None], *, insist: bool = True
    ) -> None:
        """Subscribe; return when the server has the subscriptions.

        Args:
            owner: The owner of the subscriptions, for errors.
            dropped: Called with the error when the server drops a subscription later.
            insist: Whether a refusal is an error now, instead of subscribing again until it holds.

        Raises:
            PermissionDeniedError: The server refuses one of the subjects.
            ConnectError: The server does not answer, or its limit of subscriptions is reached.
        """
        with Expectation(self._path.nc, self.subjects) as expectation:
            for subject, lane in self._subjects.items():
                sink = partial(self._receive, lane)
                subscription = await self._path.subscribe(subject, "", sink)
                self._subscriptions.append(subscription)
                self._kept.append(Kept(subscription, owner, dropped))
            await fence(self._path.nc)
            refusal = expectation.refusal(owner)
            if refusal is not None and insist:
                raise refusal
        for kept in self._kept:
            refusal = expectation.refusal_of(kept.subscription.subject, owner)
            if refusal is not None:
                kept.note(refusal)
            resubscribing.keep(self._path.nc, kept)

    async def stop(self) -> None:
        """Unsubscribe and end the answers; may be called twice and on a closed connection."""
        for kept in self._kept:
            resubscribing.release(self._path.nc, kept)
        subscriptions, self._subscriptions, self._kept = self._subscriptions, [], []
        for subscription in subscriptions:
            await self._path.unsubscribe(subscription)
        linger = 0 if self._path.nc.is_closed else LINGER
        await asyncio.gather(*(lane.stop(linger) for lane in self._lanes.values()))

    def _receive(self, lane: _Lane, messages: list[Message]) -> None:
        for subject, reply, _, _ in messages:
            # A '$' reply subject belongs to the server: an answer there would be a command to it.
            if not reply or reply[0] == DOLLAR:
                continue
            if not (self._count.take() and lane.put(subject, reply)):
                self._ignore(subject)

    def _ignore(self, subject: bytes) -> None:
        text = "%s: too many requests, not answered"
        self._log.log(logging.WARNING, "flood", text, subject.decode(errors="replace"))

    async def _answer(self, answer: Answer, subject: bytes, reply: bytes) -> None:
        try:
            body = await answer()
            if self._bytes.take(len(body)):
                await self._send(reply, body)
            else:
                self._ignore(subject)
        except Exception as error:  # noqa: BLE001 - the data of the user may be anything
            cause = None if isinstance(error, nats.errors.Error) else error
            text = subject.decode(errors="replace")
            self._log.log(logging.ERROR, "failed", "%s: no answer: %s", text, error, error=cause)

    async def _send(self, reply: bytes, body: bytes) -> None:
        try:
            sending = self._path.reply(reply, body)
        except PayloadTooLargeError as error:
            sending = self._path.reply(reply, b"", {ERROR: "answer too large", ERROR_CODE: "500"})
            self._log.log(logging.ERROR, "size", "answer to discovery is too large: %s", error)
        if sending is not None:
            await sending


class _Lane:
    """A queue of requests for one verb, with a task that exists only while requests wait."""

    def __init__(self, work: Callable[[bytes, bytes], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, subject: bytes, reply: bytes) -> bool:
        """Add a request; return False if too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append((subject, reply))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    async def stop(self, linger: float) -> None:
        """Wait for the answers, then forget the rest."""
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=linger)
        self._waiting.clear()  # first, since nats-py may swallow the cancellation
        task.cancel()
        await asyncio.wait({task}, timeout=linger)

    async def _run(self) -> None:
        turn = time.perf_counter()
        while self._waiting:
            await self._work(*self._waiting.popleft())
            if time.perf_counter() - turn > TURN:
                await asyncio.sleep(0)
                turn = time.perf_counter()
