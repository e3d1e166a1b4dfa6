"""Requests with one answer: one inbox and one timer for each connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from weakref import WeakValueDictionary

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro import _transport
from micro._errors import PayloadTooLargeError
from micro._frames import Message
from micro._headers import STATUS, check_headers, decode_headers, header_block

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
        self._transport = _transport.fast(nc)
        self._loop: asyncio.AbstractEventLoop
        self._inbox = b""
        self._sid: int | None = None
        self._number = 0
        self._waiting: dict[bytes, tuple[asyncio.Future[Msg], float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def request(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout: float
    ) -> Msg:
        """Send a request and return the answer, which may be an error of the service.

        Raises:
            nats.errors.NoRespondersError: Nobody listens on the subject.
            nats.errors.TimeoutError: No answer in time.
            nats.errors.Error: The request cannot be sent.
            PayloadTooLargeError: It exceeds the server's ``max_payload``.
            ConfigError: A header cannot be sent.
        """
        if not self._inbox or not _transport.knows(self._nc, self._sid):
            await self._open()
        loop = self._loop
        self._number += 1
        number = b"%d" % self._number
        deadline = loop.time() + timeout
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[number] = future, deadline
        try:
            if self._transport is not None:
                self._publish(self._transport, subject, data, headers, number)
            else:
                await self._publish_publicly(subject, data, headers, number)
            if self._timer is None or deadline < self._timer.when():
                self._look_at(deadline)
            answer = await future
        finally:
            self._waiting.pop(number, None)
        if answer.headers and answer.headers.get(STATUS) == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return answer

    async def _open(self) -> None:
        _transport.guard(self._nc)
        inbox = self._nc.new_inbox()
        self._loop = asyncio.get_running_loop()
        # Set before the subscription is: its SUB goes ahead of the requests of others meanwhile.
        self._inbox, self._sid = inbox.encode() + b".", None
        self._transport = _transport.fast(self._nc)
        try:
            if self._transport is not None:
                found = await self._transport.subscribe(f"{inbox}.*", "", self._receive_frames)
            else:
                found = await self._nc.subscribe(f"{inbox}.*", cb=self._receive)
        except BaseException:
            self._inbox = b""
            raise
        self._sid = _transport.sid(found)

    def _publish(
        self,
        transport: _transport.FastTransport,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None,
        number: bytes,
    ) -> None:
        if self._nc.is_draining_pubs:
            raise nats.errors.ConnectionDrainingError
        block = header_block(headers) if headers else b""
        transport.publish(_encode_subject(subject), data, block, self._inbox + number)

    async def _publish_publicly(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None, number: bytes
    ) -> None:
        nc = self._nc
        size = len(data) + (check_headers(headers) if headers else 0)
        if size > nc.max_payload:  # nats-py would not count the headers, the server does
            raise PayloadTooLargeError(size, nc.max_payload)
        reply = (self._inbox + number).decode()
        await nc.publish(subject, data, reply=reply, headers=dict(headers) if headers else None)

    def _receive_frames(self, messages: list[Message]) -> None:
        for subject, reply, data, headers in messages:
            future = self._awaited(subject[len(self._inbox) :])
            if future is not None:
                found = (decode_headers(headers) if headers else None) or None
                answer = reply.decode(errors="replace")
                future.set_result(Msg(self._nc, subject.decode(), answer, data, found))

    async def _receive(self, msg: Msg) -> None:
        future = self._awaited(msg.subject[len(self._inbox) :].encode())
        if future is not None:
            future.set_result(msg)

    def _awaited(self, number: bytes) -> asyncio.Future[Msg] | None:
        future, _ = self._waiting.pop(number, (None, 0.0))
        return future if future is not None and not future.done() else None

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._give_up_late_ones)

    def _give_up_late_ones(self) -> None:
        self._timer = None
        now = self._loop.time()
        following = None
        for future, deadline in self._waiting.values():
            if deadline <= now:
                if not future.done():
                    future.set_exception(nats.errors.TimeoutError())
            elif following is None or deadline < following:
                following = deadline
        if following is not None:
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
