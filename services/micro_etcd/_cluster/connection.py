"""Calls to a cluster: the choice of an endpoint, repetition, and errors."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar

from micro_etcd._backoff import backoff
from micro_etcd._cluster.auth import METHOD as AUTHENTICATE
from micro_etcd._cluster.auth import TokenSource
from micro_etcd._cluster.channel import (
    UNKNOWN,
    UNLIMITED,
    ByteStream,
    Channel,
    ChannelFactory,
    Metadata,
    StatusError,
)
from micro_etcd._cluster.fork import check_fork, is_forked
from micro_etcd._model.values import EtcdCredential, HostPortPair
from micro_etcd.errors import (
    EtcdClosedError,
    EtcdDeadlineExceededError,
    EtcdError,
    EtcdOutcomeUnknownError,
    EtcdTooManyRequestError,
    EtcdUnavailableError,
    error_from_status,
)

A = TypeVar("A")
# CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE: the connection or the member has failed.
TRANSIENT = frozenset((1, 4, 13, 14))
# Seconds that a repeatable call may take before another endpoint is asked; doubles each time.
FIRST_ATTEMPT = 2.0
# A member that is cut off from the others refuses at once instead of timing out.
_LEADER = ("hasleader", "true")
_WITH_LEADER: Metadata = (_LEADER,)
# The server refuses with these before it processes a request, even a write.
_LEARNER = "rpc not supported for learner"
_NOT_TRIED = ("etcdserver: no leader", f"etcdserver: {_LEARNER}")
_REFUSED_TOKEN = (
    "invalid auth token",
    "revision of auth store is old",
    "revision in header is old",  # etcd 3.5.1 of a JWT
    "user name is empty",  # of no token: authentication was enabled after the connection was made
)


_REFUSED_ANSWER = re.compile(r"Received message larger than max \((\d+) vs")  # gRPC's own words


class EtcdAnswerTooLargeError(EtcdTooManyRequestError):
    """The answer to a read has more bytes than a bounded connection takes.

    Attributes:
        size: Bytes of the answer.
    """

    name = "ANSWER_TOO_LARGE"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class Connection:
    """The connection of one communicator: one endpoint in use, the others in reserve.

    A repeatable call (a read) is sent again after any transient failure until `timeout`. Any other
    call is sent again only if the server surely has not processed it.
    """

    def __init__(
        self,
        addresses: Sequence[HostPortPair],
        open_channel: ChannelFactory,
        *,
        credentials: EtcdCredential | None = None,
        timeout: float = 10.0,
        max_answer_bytes: int = UNLIMITED,
    ) -> None:
        self.timeout = timeout
        self.without_streams: set[str] = set()  # endpoints that turned out to lack KV/RangeStream
        self._addresses = addresses
        self._open_channel = open_channel
        self._credentials = credentials
        self._channels = [
            open_channel(address, max_answer_bytes=max_answer_bytes) for address in addresses
        ]
        self._learners: set[Channel] = set()
        self._current = 0
        self._closed = False
        self._auth = None if credentials is None else TokenSource(credentials, self._authenticate)

    def bounded(self, max_answer_bytes: int) -> "Connection":
        """Return a connection of its own that refuses larger answers before they are read.

        It connects with its first call, and raises EtcdAnswerTooLargeError.
        """
        return Connection(
            self._addresses,
            self._open_channel,
            credentials=self._credentials,
            timeout=self.timeout,
            max_answer_bytes=max_answer_bytes,
        )

    async def open(self) -> None:
        """Connect to the first endpoint that answers, and log in.

        Raises:
            EtcdUnavailableError: None answered within `timeout`.
            EtcdUnauthenticatedError: The credentials are wrong.
        """
        check_fork()
        await self._attempts(lambda channel, _: channel.connect(FIRST_ATTEMPT))
        if self._auth is not None:
            await self._auth.renew("")

    @property
    def channel(self) -> Channel:
        """The endpoint in use."""
        return self._channels[self._current]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every endpoint, in the order given."""
        return tuple(self._channels)

    @property
    def closed(self) -> bool:
        """True after `close`, and in a forked process."""
        return self._closed or is_forked()

    @property
    def token(self) -> str:
        """The auth token in use, empty without authentication."""
        return "" if self._auth is None else self._auth.token

    async def call(
        self,
        method: str,
        body: bytes,
        *,
        repeatable: bool,
        leader: bool = True,
        timeout: float | None = None,
    ) -> bytes:
        """Send one request and return its answer.

        Args:
            method: Path of the RPC, `/service/method`.
            body: Serialized request.
            repeatable: True when sending the request twice does no more than once.
            leader: False lets a member without a leader answer (serializable reads).
            timeout: Seconds for all attempts together; the connection's own by default.

        Raises:
            EtcdClosedError: The connection is closed.
            EtcdOutcomeUnknownError: A call that is not repeatable was sent and never answered.
            EtcdError: Any other failure, by kind.
        """
        self._check_open()
        limit = self.timeout if timeout is None else timeout
        deadline = monotonic() + limit
        attempt = 0
        renewed = None  # the token that this call has fetched
        while True:
            channel, token = self.channel, self.token
            left = limit if attempt == 0 else max(deadline - monotonic(), 0.001)
            allowed = min(left, FIRST_ATTEMPT * 2**attempt) if repeatable else left
            try:
                return await channel.unary(
                    method, body, timeout=allowed, metadata=self._metadata(token, leader=leader)
                )
            except StatusError as failure:
                refused = token != renewed and _token_refused(failure, token)
                if refused and await self.renew_token(token):
                    renewed = self.token
                else:
                    if failure.sent and not repeatable and failure.text not in _NOT_TRIED:
                        if failure.code in TRANSIENT:
                            self.leave(channel)
                        raise _write_error(failure) from failure
                    await self.recover(failure, channel, attempt=attempt, deadline=deadline)
            attempt += 1

    async def ask(self, channel: Channel, method: str, body: bytes) -> bytes:
        """Send one request to one endpoint, once; twice if the token was refused.

        Raises:
            EtcdError: By kind.
        """
        self._check_open()
        renewed = False
        while True:
            token = self.token
            metadata = self._metadata(token, leader=False)
            try:
                return await channel.unary(method, body, timeout=FIRST_ATTEMPT, metadata=metadata)
            except StatusError as failure:
                refused = not renewed and _token_refused(failure, token)
                if not refused or not await self.renew_token(token):
                    raise _error(failure) from failure
                renewed = True

    async def stream(self, method: str, first: bytes) -> ByteStream:
        """Open a stream on the endpoint in use and send the first message; tried once.

        Raises:
            StatusError: The stream could not be opened.
        """
        self._check_open()
        stream = await self.channel.stream(
            method, timeout=self.timeout, metadata=self._metadata(self.token, leader=True)
        )
        await stream.write(first)
        return stream

    async def renew_token(self, stale: str) -> bool:
        """Replace a token that the server refuses; return False without authentication."""
        if self._auth is None:
            return False
        await self._auth.renew(stale)
        return True

    def leave(self, channel: Channel) -> None:
        """Turn to the next endpoint, unless this one was left already; learners come last."""
        if self.channel is not channel:
            return
        count = len(self._channels)
        others = [(self._current + step) % count for step in range(1, count + 1)]
        voters = [place for place in others if self._channels[place] not in self._learners]
        self._current = (voters or others)[0]

    async def recover(
        self, failure: StatusError, channel: Channel, *, attempt: int, deadline: float
    ) -> None:
        """Turn to another endpoint after a failed attempt, or raise its error."""
        self.note_learner(failure, channel)
        if len(self._learners) == len(self._channels):
            self._learners.clear()  # one of them may be promoted until the next call
            raise self._exhausted(failure) from failure
        if failure.code not in TRANSIENT and _LEARNER not in failure.text:
            raise _error(failure) from failure
        if self._closed:
            raise EtcdClosedError("connection closed") from failure
        round_number, place = divmod(attempt + 1, len(self._channels) - len(self._learners))
        if place == 0 and _LEARNER not in failure.text:
            self._learners.clear()  # all others have failed, and one may have been promoted
        self.leave(channel)
        pause = backoff(round_number - 1) if place == 0 else 0.0
        if monotonic() + pause >= deadline:
            raise self._exhausted(failure) from failure
        await asyncio.sleep(pause)

    def note_learner(self, failure: StatusError, channel: Channel) -> None:
        """Remember an endpoint that refused a request because it only learns."""
        if _LEARNER in failure.text:
            self._learners.add(channel)

    def _check_open(self) -> None:
        check_fork()
        if self._closed:
            raise EtcdClosedError("connection closed")

    async def close(self) -> None:
        """Close every endpoint; calls under way fail; idempotent."""
        self._closed = True
        if is_forked():  # the channels are the parent's
            return
        for channel in self._channels:
            await channel.close()

    def _metadata(self, token: str, *, leader: bool) -> Metadata:
        if not token:
            return _WITH_LEADER if leader else ()
        return (_LEADER, ("token", token)) if leader else (("token", token),)

    async def _authenticate(self, body: bytes) -> bytes:
        return await self._attempts(
            lambda channel, seconds: channel.unary(AUTHENTICATE, body, timeout=seconds, metadata=())
        )

    async def _attempts(self, attempt: Callable[[Channel, float], Awaitable[A]]) -> A:
        """Return the result of the first attempt that succeeds, each with twice the seconds."""
        deadline = monotonic() + self.timeout
        number = 0
        while True:
            channel = self.channel
            try:
                return await attempt(channel, FIRST_ATTEMPT * 2**number)
            except StatusError as failure:
                await self.recover(failure, channel, attempt=number, deadline=deadline)
            number += 1

    def _exhausted(self, failure: StatusError) -> EtcdError:
        names = ", ".join(channel.endpoint for channel in self._channels)
        text = f"no answer from {names}: {failure.text}"
        if failure.code == EtcdDeadlineExceededError.code:
            return EtcdDeadlineExceededError(text)
        return EtcdUnavailableError(text)


def _error(failure: StatusError) -> EtcdError:
    refused = _REFUSED_ANSWER.search(failure.text)
    if refused is not None:
        return EtcdAnswerTooLargeError(failure.text, size=int(refused[1]))
    return error_from_status(failure.code, failure.text)


def _token_refused(failure: StatusError, token: str) -> bool:
    if not token and "permission denied" in failure.text:
        return True  # of the user that the client certificate names, which stands in for a token
    return any(part in failure.text for part in _REFUSED_TOKEN)


def _write_error(failure: StatusError) -> EtcdError:
    if failure.code in TRANSIENT or failure.code == UNKNOWN:
        error = EtcdOutcomeUnknownError(
            f"no answer to a write that may have been applied: {failure.text}"
        )
        error.code = failure.code
        return error
    return _error(failure)
