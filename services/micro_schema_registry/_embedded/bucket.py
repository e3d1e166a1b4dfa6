"""A JetStream KV bucket: create once, compare and set, read, scan; outages are waited out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, Error, MaxPayloadError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import Header, KeyValueConfig, StorageType, StreamConfig
from nats.js.errors import (
    APIError,
    NoStreamResponseError,
    NotFoundError,
    ServerError,
    ServiceUnavailableError,
)

from micro_schema_registry._backoff import pauses
from micro_schema_registry._errors import Problem, RegistryConnectionError, RequestRefusedError

T = TypeVar("T")
logger = logging.getLogger("micro.registry")
_WRONG_LAST_SEQUENCE = {10071, 10164}
_STREAM_NAME_IN_USE = 10058
_TOO_LARGE = 10054
_NO_PEERS = 10005
_NOT_CLUSTERED = 10074
_TRANSIENT = (
    NatsTimeoutError,
    NoRespondersError,
    NoStreamResponseError,
    ServiceUnavailableError,
    ServerError,
)


@dataclass(frozen=True)
class Stored:
    """A value of the bucket; `revision` is the stream sequence of its write."""

    key: str
    value: bytes
    revision: int


class Bucket:
    """A KV bucket, made on first use: history 1, file storage, no age limit.

    A call is repeated with jitter until it is answered or `timeout` seconds have passed, which
    covers an election and a reconnect. Every write is safe to repeat.
    """

    def __init__(self, nc: Client, name: str, *, replicas: int, timeout: float) -> None:
        self.url = f"nats-kv://{name}"
        self._nc = nc
        self._name = name
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._replicas = replicas
        self._timeout = timeout
        # A request to a server that has just died is not answered: leave time to ask another.
        self._js = nc.jetstream(timeout=min(2.0, timeout))
        self._config: StreamConfig | None = None
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

        async def attempt() -> tuple[Stored, bool] | None:
            revision = await self._put(key, value, 0)
            if revision is not None:
                return Stored(key, value, revision), True
            stored = await self._last(key)
            # Refused but absent: the earlier write is not applied yet, or was given up.
            return None if stored is None else (stored, stored.value == value)

        return await self._answered(attempt)

    async def replace(self, key: str, value: bytes, revision: int) -> int | None:
        """Write a key whose revision is `revision` (0: none); return the new one, None on loss."""

        async def attempt() -> tuple[int | None]:
            return (await self._put(key, value, revision),)

        return (await self._answered(attempt))[0]

    async def get(self, key: str) -> Stored | None:
        """Return the last value of a key, or the first match of a pattern, from the leader."""

        async def attempt() -> tuple[Stored | None]:
            return (await self._last(key),)

        return (await self._answered(attempt))[0]

    async def at(self, revision: int) -> Stored | None:
        """Return the value written at a revision; contents and changes are always there."""

        async def attempt() -> tuple[Stored | None]:
            stored = await self._read(direct=True, seq=revision)
            # A replica may not have it yet.
            if stored is None and self._replicated:
                stored = await self._read(direct=False, seq=revision)
            return (stored,)

        return (await self._answered(attempt))[0]

    async def scan(self, pattern: str) -> AsyncIterator[Stored]:
        """Yield the last values of all matching keys, oldest first; a change may repeat one."""
        revision = 0
        while True:
            stored = await self._next(pattern, revision + 1)
            if stored is None:
                return
            yield stored
            revision = stored.revision

    async def _next(self, pattern: str, revision: int) -> Stored | None:
        async def attempt() -> tuple[Stored | None]:
            subject = self._prefix + pattern
            return (
                await self._read(
                    direct=not self._replicated, seq=revision, subject=subject, following=True
                ),
            )

        return (await self._answered(attempt))[0]

    @property
    def _replicated(self) -> bool:
        return self._config is not None and (self._config.num_replicas or 1) > 1

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
        # Any replica answers a direct get, even one that lags: only a single one is asked so.
        # A pattern must not be part of the subject of the request.
        direct = not self._replicated and "*" not in key
        return await self._read(direct=direct, subject=self._prefix + key)

    async def _read(
        self,
        *,
        direct: bool,
        seq: int | None = None,
        subject: str | None = None,
        following: bool = False,
    ) -> Stored | None:
        allowed = self._config is not None and bool(self._config.allow_direct)
        try:
            message = await self._js.get_msg(
                self._stream, seq=seq, subject=subject, direct=direct and allowed, next=following
            )
        except NotFoundError:
            return None
        key = (message.subject or "").removeprefix(self._prefix)
        return Stored(key, message.data or b"", message.seq or 0)

    async def _answered(self, attempt: Callable[[], Awaitable[T | None]]) -> T:
        """Repeat `attempt` until it returns something other than None."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        waits = pauses(0.005, 0.5)
        while True:
            failure: Error | None = None
            try:
                if self._config is None:
                    await self._open()
                result = await attempt()
                if result is not None:
                    return result
            except Error as error:
                if not _is_transient(error):
                    raise self._refused(error) from error
                failure = error
            pause = next(waits)
            if loop.time() + pause > deadline:
                raise RegistryConnectionError(self.url, _reason(failure)) from failure
            await asyncio.sleep(pause)

    def _refused(self, exc: Error) -> RegistryConnectionError:
        if isinstance(exc, MaxPayloadError) or getattr(exc, "err_code", None) == _TOO_LARGE:
            problem = Problem(413, "ContentTooLargeException", "larger than the NATS server takes")
            return RequestRefusedError(self.url, problem=problem)
        if isinstance(exc, ConnectionClosedError):
            return RegistryConnectionError(self.url, "the connection is closed")
        return RegistryConnectionError(self.url, getattr(exc, "description", None) or str(exc))

    async def _open(self) -> None:
        async with self._opening:
            if self._config is not None:
                return
            try:
                info = await self._js.stream_info(self._stream)
            except NotFoundError:
                await self._make()
                info = await self._js.stream_info(self._stream)
            if info.config.max_age:
                reason = (
                    f"the bucket drops values after {info.config.max_age:g} s: expected no limit"
                )
                raise RegistryConnectionError(self.url, reason)
            self._config = info.config

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


def _is_transient(exc: Error) -> bool:
    code = getattr(exc, "err_code", None)
    # A node missing for the replicas of a new bucket may return; a single server stays single.
    return code == _NO_PEERS or (isinstance(exc, _TRANSIENT) and code != _NOT_CLUSTERED)


def _reason(failure: Error | None) -> str:
    if failure is None:
        return "a write that came first was not applied in time"
    if isinstance(failure, NatsTimeoutError):
        return "no answer in time"
    description = getattr(failure, "description", None)
    return description or "JetStream is not enabled, or has no leader"
