"""Requests with one answer: one inbox and one timer for each connection."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from weakref import WeakValueDictionary

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro._errors import PayloadTooLargeError
from micro._protocol import deadline as _deadline
from micro._protocol.headers import STATUS, header_block
from micro._wire import fast_transport, nats_py
from micro._wire.frames import Message

NO_RESPONDERS = "503"

LEAST_PAUSE = 0.005
"""Seconds between two looks for requests that are too late."""

_WHITE_SPACE = re.compile(r"[ \t\r\n]")


class Requester:
    """Asks over one connection; every answer finds its way by the number at the end of its subject.

    Args:
        nc: The connection.
    """

    def __init__(self, nc: NatsClient) -> None:
        self._nc = nc
        self._transport = fast_transport.fast(nc)
        self._loop: asyncio.AbstractEventLoop
        self._inbox = b""
        self._sid: int | None = None
        self._number = 0
        # By reply subject, with the moment from which on nobody waits for the answer.
        self._waiting: dict[bytes, tuple[asyncio.Future[Msg], float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = math.inf

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
            subject: The subject to ask.
            data: The payload.
            headers: Headers of the request.
            timeout: Seconds to wait for the answer.
            tell: Whether to tell the service of the time-out.

        Raises:
            nats.errors.NoRespondersError: Nobody listens on the subject.
            nats.errors.TimeoutError: No answer in time.
            nats.errors.Error: The request cannot be sent.
            PayloadTooLargeError: It exceeds the server's ``max_payload``.
            ConfigError: A header cannot be sent.
        """
        if not self._inbox or not nats_py.knows(self._nc, self._sid):
            await self._open()
        loop = self._loop
        self._number += 1
        reply = b"%b%d" % (self._inbox, self._number)
        deadline = loop.time() + timeout
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[reply] = future, deadline
        try:
            whole, block = _whole(headers, timeout if tell else None)
            if self._transport is not None:
                if self._nc.is_draining_pubs:
                    raise nats.errors.ConnectionDrainingError
                self._transport.publish(_encode_subject(subject), data, block, reply)
            else:
                size = len(data) + len(block)
                if (
                    size > self._nc.max_payload
                ):  # nats-py would not count the headers, the server does
                    raise PayloadTooLargeError(size, self._nc.max_payload)
                given = dict(whole) if whole else None
                await self._nc.publish(subject, data, reply=reply.decode(), headers=given)
            if deadline < self._next_look:
                self._look_at(deadline)
            answer = await future
        finally:
            self._waiting.pop(reply, None)
        if answer.headers and answer.headers.get(STATUS) == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return answer

    async def _open(self) -> None:
        nats_py.guard(self._nc)
        inbox = self._nc.new_inbox()
        self._loop = asyncio.get_running_loop()
        # Set before the subscription is: its SUB goes ahead of the requests of others meanwhile.
        self._inbox, self._sid = inbox.encode() + b".", None
        self._transport = fast_transport.fast(self._nc)
        try:
            if self._transport is not None:
                found = await self._transport.subscribe(f"{inbox}.*", "", self._receive_frames)
            else:
                found = await nats_py.subscribe(self._nc, f"{inbox}.*", "", self._receive)
        except BaseException:
            self._inbox = b""
            raise
        self._sid = nats_py.sid(found)

    def _receive_frames(self, messages: list[Message]) -> None:
        for subject, reply, data, headers in messages:
            waiting = self._waiting.pop(subject, None)
            if waiting is not None and not waiting[0].done():
                answer = fast_transport.message(self._nc, subject, reply, data, headers)
                waiting[0].set_result(answer)

    def _receive(self, msg: Msg) -> None:
        waiting = self._waiting.pop(msg.subject.encode(), None)
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(msg)

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


# A requester lives as long as its connection has the subscription to its inbox.
_requesters: WeakValueDictionary[int, Requester] = WeakValueDictionary()


def requester_of(nc: NatsClient) -> Requester:
    """Return the requester of a connection, which all clients of it share."""
    found = _requesters.get(id(nc))
    if found is None:
        found = _requesters[id(nc)] = Requester(nc)
    return found


@lru_cache(maxsize=4096)
def _encode_subject(subject: str) -> bytes:
    if not subject or _WHITE_SPACE.search(subject):
        raise nats.errors.BadSubjectError
    return subject.encode()


def _whole(
    headers: Mapping[str, str] | None, told: float | None
) -> tuple[Mapping[str, str] | None, bytes]:
    """Return headers with the one that tells a time-out, and both as they go over the wire."""
    if told is None:
        return headers, header_block(headers) if headers else b""
    if not headers:
        return _deadline.alone(int(told * 1000))
    whole = {**headers, _deadline.HEADER: _deadline.header_value(told)}
    return whole, header_block(whole)
