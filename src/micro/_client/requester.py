"""Requests with one answer, through one inbox and one timer for each connection."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Mapping
from weakref import ref

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro._errors import StreamCaptureError
from micro._native import accelerated
from micro._protocol import deadline as _deadline
from micro._protocol.headers import STATUS
from micro._wire import nats_py, permissions
from micro._wire.client_state import state_of
from micro._wire.frames import Message
from micro._wire.paths import Path, path_of
from micro._wire.permissions import Refusal

NO_RESPONDERS = "503"

LEAST_PAUSE = 0.005
"""Seconds at least between two checks for late requests."""


PUB_ACK = b'{"stream":'
"""The beginning of the acknowledgement of a stream, as JetStream writes it."""

_PUB_ACK_KEYS = {"stream", "seq", "domain", "duplicate", "val", "batch", "count"}


@accelerated
class Requester:
    """The requests of one connection; the number at the end of its subject identifies an answer.

    Args:
        nc: The connection.
    """

    def __init__(self, nc: NatsClient) -> None:
        self._nc = nc
        self._path: Path
        self._loop: asyncio.AbstractEventLoop
        self._inbox = b""
        self._sid: int | None = None
        self._number = 0
        # By reply subject; the number is the deadline of the request.
        self._waiting: dict[bytes, tuple[asyncio.Future[Msg], float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = math.inf

    @property
    def outstanding(self) -> int:
        """The number of requests without an answer."""
        return len(self._waiting)

    async def request(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None,
        timeout: float,
        *,
        tell: bool = False,
    ) -> Msg:
        """Send a request and return the answer, which may be an error of the service.

        Args:
            subject: The subject of the request.
            data: The payload.
            headers: Headers of the request.
            timeout: Seconds to wait for the answer.
            tell: Whether to send the time-out to the service.

        Raises:
            nats.errors.NoRespondersError: No service listens on the subject.
            nats.errors.TimeoutError: No answer in time.
            nats.errors.Error: The request cannot be sent.
            PayloadTooLargeError: The request exceeds the server's `max_payload`.
            ConfigError: A header cannot be sent.
        """
        if not self._inbox or not nats_py.knows(self._nc, self._sid):
            await self._open()
        loop = self._loop
        self._number += 1
        reply = b"%b%d" % (self._inbox, self._number)
        deadline = loop.time() + timeout
        if self._path.congestion.on:
            await in_time(self._path.congestion.over(), deadline)
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[reply] = future, deadline
        try:
            block = b""
            if tell and headers:
                headers = _deadline.with_patience(headers, timeout)
            elif tell:
                headers, block = _deadline.alone(int(timeout * 1000))
            sending = self._path.publish(subject, data, headers, reply, block)
            if sending is not None:
                await in_time(sending, deadline)
            if deadline < self._next_look:
                self._look_at(deadline)
            answer = await future
        except BaseException:
            self._waiting.pop(reply, None)
            if future.done() and not future.cancelled():
                future.exception()  # seen, if sending was given up first
            raise
        if answer.headers and answer.headers.get(STATUS) == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return answer

    async def _open(self) -> None:
        inbox = self._nc.new_inbox()
        self._loop = asyncio.get_running_loop()
        # Set before subscribing: requests made meanwhile are sent behind the SUB.
        self._inbox, self._sid = inbox.encode() + b".", None
        self._path = path_of(self._nc)
        try:
            subscription = await self._path.subscribe(f"{inbox}.*", "", self._receive)
        except BaseException:
            self._inbox = b""
            raise
        self._sid = nats_py.sid(subscription)
        permissions.watch(self._nc, self._refused)

    def _refused(self, refusal: Refusal) -> None:
        """Subscribe again with the next request, if the server has dropped the inbox."""
        own = f"{self._inbox.decode()}*".lower()
        if refusal.action == "subscription" and refusal.subject in (None, own):
            self._inbox = b""

    def _receive(self, messages: list[Message]) -> None:
        for message in messages:
            waiting = self._waiting.pop(message[0], None)
            if waiting is not None and not waiting[0].done():
                waiting[0].set_result(nats_py.msg(self._nc, message))

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_look = moment
        self._timer = self._loop.call_at(moment, self._give_up_late_ones)

    def _give_up_late_ones(self) -> None:
        self._timer = None
        self._next_look = math.inf
        now = self._loop.time()
        following = math.inf
        for future, deadline in self._waiting.values():
            if deadline <= now:
                if not future.done():
                    future.set_exception(nats.errors.TimeoutError())
            elif deadline < following:
                following = deadline
        if following < math.inf:
            self._look_at(max(following, now + LEAST_PAUSE))


async def in_time(waiting: Awaitable[object], deadline: float) -> None:
    """Wait for a server that takes data slowly; that time counts, too."""
    try:
        async with asyncio.timeout_at(deadline):
            await waiting
    except TimeoutError:
        raise nats.errors.TimeoutError from None


def requester_of(nc: NatsClient) -> Requester:
    """Return the requester of a connection, which all clients of it share.

    It lives as long as the connection has the subscription to its inbox.
    """
    state = state_of(nc)
    requester: Requester | None = None if state.requester is None else state.requester()
    if requester is None:
        requester = Requester(nc)
        state.requester = ref(requester)
    return requester


def refuse_acknowledgement(subject: str, data: bytes) -> None:
    """Raise StreamCaptureError for the acknowledgement of a stream."""
    try:
        fields = json.loads(data)
    except ValueError:
        return
    sequence, stream = fields.get("seq"), fields.get("stream")
    if isinstance(sequence, int) and isinstance(stream, str) and fields.keys() <= _PUB_ACK_KEYS:
        raise StreamCaptureError(subject, stream)
