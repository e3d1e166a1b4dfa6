"""A JetStream KV bucket: create once, compare and set, read, scan; outages are waited out."""

import asyncio
import json
import logging
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, Error, MaxPayloadError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import Header, KeyValueConfig, StorageType
from nats.js.errors import (
    APIError,
    NoStreamResponseError,
    NotFoundError,
    ServerError,
    ServiceUnavailableError,
)

from micro_schema_registry._backoff import pauses
from micro_schema_registry._errors import (
    InvalidArgumentError,
    Problem,
    RegistryConnectionError,
    RequestRefusedError,
)

T = TypeVar("T")
logger = logging.getLogger("micro.registry")
MAX_NAME = 252
"""Characters of a bucket; its stream has three more, and JetStream takes 255."""

_WRONG_LAST_SEQUENCE = {10071, 10164}
_STREAM_NAME_IN_USE = 10058
_STREAM_NOT_FOUND = 10059
_TOO_LARGE = 10054
_NO_PEERS = 10005
_NOT_CLUSTERED = 10074
_NOT_ENABLED = {10039, 10076}
_FILLERS = 5000


class _UnappliedError(Error):
    """A write was refused, and yet the key has no value: an earlier write is not applied yet."""


_TRANSIENT = (
    _UnappliedError,
    NatsTimeoutError,
    NoRespondersError,
    NoStreamResponseError,
    ServiceUnavailableError,
    ServerError,
)
_PATIENCE_WITHOUT_JETSTREAM = 0.7
"""Seconds before a server that offers no JetStream is named: less than most callers wait."""


@dataclass(frozen=True)
class Stored:
    """A value of the bucket; `revision` is the stream sequence of its write."""

    key: str
    value: bytes
    revision: int


class Span(NamedTuple):
    """The lifetime of a bucket: when it was made, and the revision of its last write."""

    created: str
    last: int


class Bucket:
    """A KV bucket, made on first use: history 1, file storage, no age limit.

    A call is repeated with jitter until it is answered or `timeout` seconds have passed, which
    covers an election and a reconnect. Every write is safe to repeat.

    Every replica and every mirror may answer a direct get, also one that is behind. So only values
    that never change are read that way, and only their presence is believed; the leader of the
    stream answers everything else.
    """

    def __init__(self, nc: Client, name: str, *, replicas: int, timeout: float) -> None:
        self.url = f"nats-kv://{name}"
        self._nc = nc
        self._name = name
        self._stream = f"KV_{name}"
        if len(name) > MAX_NAME:
            raise InvalidArgumentError(
                f"invalid bucket name of {len(name)} characters: expected at most {MAX_NAME}"
            )
        self._prefix = f"$KV.{name}."
        self._replicas = replicas
        self._timeout = timeout
        # A request to a server that has just died is not answered: leave time to ask another.
        self._attempt_timeout = min(2.0, timeout)
        self._js = nc.jetstream(timeout=self._attempt_timeout)
        self._is_open = False
        self._opening = asyncio.Lock()

    @property
    def max_value(self) -> int:
        """The largest message in bytes that the server takes, headers included."""
        return self._nc.max_payload

    def decoded(self, stored: Stored, decode: Callable[[bytes], T]) -> T:
        """Return a stored value as `decode` reads it.

        Raises:
            RegistryConnectionError: The value is unreadable: another program or a newer release
                wrote it. The log has the details.
        """
        try:
            return decode(stored.value)
        except ValueError as error:
            logger.error("%s: cannot read key %r", self.url, stored.key, exc_info=True)
            reason = f"the value of key {stored.key!r} cannot be read"
            raise RegistryConnectionError(self.url, reason) from error

    async def create(self, key: str, value: bytes) -> tuple[Stored, bool]:
        """Write a key that must not exist; return the stored value and whether it is this one.

        Comparing values tells a lost acknowledgement from a lost race. A value that other clients
        might write too therefore needs a unique part.
        """

        async def attempt() -> tuple[Stored, bool]:
            revision = await self._put(key, value, 0)
            if revision is not None:
                return Stored(key, value, revision), True
            stored = await self._last(key)
            if stored is None:
                raise _UnappliedError
            return stored, stored.value == value

        return await self._answered(attempt)

    async def replace(self, key: str, value: bytes, revision: int) -> int | None:
        """Write a key whose revision is `revision` (0: none); return the new one, None on loss."""
        return await self._answered(lambda: self._put(key, value, revision))

    async def get(self, key: str) -> Stored | None:
        """Return the last value of a key, as the leader knows it."""
        return await self._answered(lambda: self._last(key))

    async def find(self, key: str) -> Stored | None:
        """Return the value of a key that is created once and never changed."""

        async def attempt() -> Stored | None:
            return await self._copy(subject=self._prefix + key) or await self._last(key)

        return await self._answered(attempt)

    async def at(self, revision: int) -> Stored | None:
        """Return the value written at a revision; contents and changes are always there."""

        async def attempt() -> Stored | None:
            return await self._copy(seq=revision) or await self._read(seq=revision)

        return await self._answered(attempt)

    async def following(self, pattern: str, revision: int) -> Stored | None:
        """Return the oldest last value of the keys that match, written after a revision."""
        subject = self._prefix + pattern
        return await self._answered(lambda: self._read(seq=revision + 1, next_by_subj=subject))

    async def scan(self, pattern: str) -> AsyncIterator[Stored]:
        """Yield the last values of all matching keys, oldest first; a change may repeat one."""
        revision = 0
        while (stored := await self.following(pattern, revision)) is not None:
            yield stored
            revision = stored.revision

    async def skip(self, key: str, revision: int) -> int:
        """Write fillers until the last revision is at least `revision`; return the last one."""
        while (missing := revision - (await self.span()).last) > 0:
            for _ in range(min(missing, _FILLERS) - 1):  # history 1: each replaces the one before
                await self._nc.publish(self._prefix + key)
            await self._answered(lambda: self._js.publish(self._prefix + key))
        return (await self.span()).last

    async def span(self) -> Span:
        """Return the age of the stream and its last revision, as the leader knows them."""

        async def attempt() -> Span:
            info = await self._js.stream_info(self._stream)
            return Span(str(info.created), info.state.last_seq)

        return await self._answered(attempt)

    async def _put(self, key: str, value: bytes, expected: int) -> int | None:
        try:
            ack = await self._js.publish(
                self._prefix + key,
                value,
                headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(expected)},
            )
        except APIError as error:
            if error.err_code in _WRONG_LAST_SEQUENCE:
                return None
            raise
        return ack.seq

    async def _last(self, key: str) -> Stored | None:
        return await self._read(last_by_subj=self._prefix + key)

    async def _copy(self, **query: Any) -> Stored | None:
        """Read from any replica or mirror; None if it has nothing, or if none may be asked."""
        try:
            message = await self._js.get_msg(self._stream, direct=True, **query)
        except (NotFoundError, NoRespondersError):
            return None
        return self._stored(message.subject, message.data, message.seq)

    async def _read(self, **query: int | str) -> Stored | None:
        """Read from the leader; nats-py takes twice the time, for headers that are not read."""
        try:
            reply = await self._nc.request(
                f"$JS.API.STREAM.MSG.GET.{self._stream}",
                json.dumps(query).encode(),
                timeout=self._attempt_timeout,
            )
        except NoRespondersError:
            raise ServiceUnavailableError from None
        answer = json.loads(reply.data)
        error = answer.get("error")
        if error is None:
            message = answer["message"]
            return self._stored(
                message["subject"], b64decode(message.get("data", "")), message["seq"]
            )
        if error.get("code") == 404 and error.get("err_code") != _STREAM_NOT_FOUND:
            return None
        raise APIError.from_error(error)

    def _stored(self, subject: str | None, value: bytes | None, revision: int | None) -> Stored:
        return Stored((subject or "").removeprefix(self._prefix), value or b"", revision or 0)

    async def _answered(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat `attempt` until it returns, or fails for good."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        waits = pauses(0.005, 0.5)
        while True:
            patience = self._timeout
            try:
                if not self._is_open:
                    await self._open()
                return await attempt()
            except Error as error:
                failure = await self._cause(error)
                if not _is_transient(failure):
                    raise self._refused(failure) from error
                if _is_without_jetstream(failure):
                    patience = min(patience, _PATIENCE_WITHOUT_JETSTREAM)
            pause = next(waits)
            if loop.time() + pause > began + patience:
                raise RegistryConnectionError(self.url, _reason(failure)) from failure
            await asyncio.sleep(pause)

    async def _cause(self, error: Error) -> Error:
        """Return why a write had no responder: the stream is gone, or has no leader."""
        if not isinstance(error, NoStreamResponseError):
            return error
        try:
            await self._js.stream_info(self._stream)
        except Error as cause:
            return cause
        return error

    def _refused(self, error: Error) -> RegistryConnectionError:
        code = getattr(error, "err_code", None)
        if isinstance(error, MaxPayloadError) or code == _TOO_LARGE:
            reason = f"larger than the {self.max_value} bytes that the NATS server takes"
            problem = Problem(413, "ContentTooLargeException", reason)
            return RequestRefusedError(self.url, problem=problem)
        if isinstance(error, ConnectionClosedError):
            return RegistryConnectionError(self.url, "the connection is closed")
        if code == _STREAM_NOT_FOUND:
            reason = f"bucket {self._name!r} does not exist any more"
            return RegistryConnectionError(self.url, reason)
        return RegistryConnectionError(self.url, getattr(error, "description", None) or str(error))

    async def _open(self) -> None:
        async with self._opening:
            if self._is_open:
                return
            try:
                info = await self._js.stream_info(self._stream)
            except NotFoundError:
                await self._make()
                info = await self._js.stream_info(self._stream)
            config = info.config
            if config.max_age:
                reason = f"the bucket drops values after {config.max_age:g} s: expected no limit"
                raise RegistryConnectionError(self.url, reason)
            if config.mirror is not None:
                reason = f"the bucket is a mirror of {config.mirror.name!r}: expected its origin"
                raise RegistryConnectionError(self.url, reason)
            self._is_open = True

    async def _make(self) -> None:
        config = KeyValueConfig(
            bucket=self._name,
            history=1,
            storage=StorageType.FILE,
            replicas=self._replicas,
            direct=True,
        )
        try:
            await self._js.create_key_value(config)
        except APIError as error:
            # Another client was faster, perhaps with other settings; its bucket will do.
            if error.err_code != _STREAM_NAME_IN_USE:
                raise
        else:
            logger.info("%s: the bucket did not exist and was made", self.url)


def _is_transient(error: Error) -> bool:
    code = getattr(error, "err_code", None)
    # A node missing for the replicas of a new bucket may return; a single server stays single.
    return code == _NO_PEERS or (isinstance(error, _TRANSIENT) and code != _NOT_CLUSTERED)


def _is_without_jetstream(error: Error) -> bool:
    """Tell whether the API does not answer at all, or says that it is switched off."""
    if not isinstance(error, ServiceUnavailableError):
        return False
    return error.err_code is None or error.err_code in _NOT_ENABLED


def _reason(failure: Error) -> str:
    if isinstance(failure, _UnappliedError):
        return "a write that came first was not applied in time"
    if isinstance(failure, NatsTimeoutError):
        return "no answer in time"
    if _is_without_jetstream(failure):
        return "JetStream is not enabled on the server, or not for this account"
    return getattr(failure, "description", None) or "the bucket has no leader"
