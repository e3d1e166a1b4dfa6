"""Publishing of messages, with the acknowledgement of a stream on demand (ADR-22, ADR-31)."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, overload

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._client.requester import requester_of
from micro._client.turns import Turns
from micro._errors import ConfigError, ExpectationError, JetStreamError, NoStreamError
from micro._handlers.bound_handler import UNSET
from micro._published import publish
from micro._wire.client_state import state_of
from micro._wire.paths import path_of

MAX_OUTSTANDING = 4096
"""Messages of one connection that may wait for acknowledgements; further ones wait their turn."""

MSG_ID = "Nats-Msg-Id"
RETRIES, PAUSE = 2, 0.25
"""Further attempts when there is no responder, and the seconds before each: a stream has none while
it elects a leader."""

WRONG_EXPECTATIONS = frozenset((10060, 10070, 10071, 10164))

carriers: list[Callable[[dict[str, str]], None]] = []
"""Functions that add the context of a trace to the headers of each message."""


class PublishAck(NamedTuple):
    """The acknowledgement of a stream.

    Attributes:
        stream: The stream that has stored the message.
        sequence: Its sequence number there.
        duplicate: Whether the stream had a message of the same identifier already.
    """

    stream: str
    sequence: int
    duplicate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """What a message expects of the stream that stores it; nothing is stored otherwise.

    Attributes:
        stream: The name of the stream.
        last_id: The identifier of its last message.
        last_sequence: The sequence of its last message; 0 for none.
        last_subject_sequence: The sequence of the last message of the same subject; 0 for none.
    """

    stream: str | None = None
    last_id: str | None = None
    last_sequence: int | None = None
    last_subject_sequence: int | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that tell the server."""
        named = {
            "Nats-Expected-Stream": self.stream,
            "Nats-Expected-Last-Msg-Id": self.last_id,
            "Nats-Expected-Last-Sequence": self.last_sequence,
            "Nats-Expected-Last-Subject-Sequence": self.last_subject_sequence,
        }
        return {name: str(value) for name, value in named.items() if value is not None}


class Publishing(ABC):
    """Base class of clients and contexts: publishes messages."""

    @abstractmethod
    def __connected__(self) -> NatsClient:
        """Return the connection to publish by."""

    @overload
    async def publish(
        self,
        subject: str,
        payload: Any = ...,
        *,
        ack: Literal[True],
        id: str | None = ...,
        expect: Expect | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: float = ...,
    ) -> PublishAck: ...

    @overload
    async def publish(
        self,
        subject: str,
        payload: Any = ...,
        *,
        ack: bool = ...,
        id: str | None = ...,
        expect: Expect | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: float = ...,
    ) -> PublishAck | None: ...

    async def publish(  # noqa: PLR0913 - each has its own meaning for a message
        self,
        subject: str,
        payload: Any = UNSET,
        *,
        ack: bool = False,
        id: str | None = None,
        expect: Expect | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
    ) -> PublishAck | None:
        """Publish a message, and wait for the acknowledgement of a stream on demand.

            await ctx.publish("orders.new", Order(number=1), id="order-1", ack=True)

        Call it many times at once, as with `asyncio.gather`, to publish fast; 4,096 messages of a
        connection may wait for acknowledgements. The headers carry the context of the trace once
        `micro.opentelemetry` is imported.

        Args:
            subject: The subject.
            payload: A pydantic model, or anything else that pydantic writes as JSON; bytes are the
                payload itself. Without it the payload is empty.
            ack: Whether a stream must have stored the message when this returns.
            id: The identifier of the message, in the header `Nats-Msg-Id`. The stream stores one
                message of an identifier within its window, two minutes by default.
            expect: What must hold in the stream for the message to be stored; see `Expect`. Without
                `ack` its failure is not reported.
            headers: Further headers.
            timeout: Seconds to wait for the acknowledgement. A message whose acknowledgement is
                late may be stored: publish it again with the same `id`.

        Returns:
            The acknowledgement; None without `ack`.

        Raises:
            NoStreamError: No stream stores the subject.
            ExpectationError: The message does not follow the one that it expects.
            JetStreamError: The stream refuses the message.
            nats.errors.TimeoutError: No acknowledgement in time.
            PayloadTooLargeError: The message exceeds the server's `max_payload`.
            ConfigError: The payload has no JSON, or a header cannot be sent.
        """
        data = payload if isinstance(payload, bytes) else _encode(payload)
        told = message_headers(headers, id, expect)
        nc = self.__connected__()
        if ack:
            return await store(nc, subject, data, told, timeout)
        path = path_of(nc)
        if path.congestion.on:
            await path.congestion.over()
        sending = path.publish(subject, data, told or None)
        if sending is not None:
            await sending  # the server takes data slowly
        return None


def _encode(payload: Any) -> bytes:
    from micro._client import payloads  # imports pydantic

    return payloads.encode(payload)


def message_headers(
    headers: Mapping[str, str] | None, id: str | None, expect: Expect | None
) -> dict[str, str]:
    """Return the headers of a message, with the context of the trace.

    Raises:
        ConfigError: The identifier is empty.
    """
    if id == "":
        raise ConfigError("invalid message id '': expected text, or None for none")
    told = dict(headers) if headers else {}
    for carry in carriers:
        carry(told)
    if expect is not None:
        told.update(expect.headers())
    if id is not None:
        told[MSG_ID] = id
    return told


async def store(
    nc: NatsClient, subject: str, data: bytes, headers: Mapping[str, str], timeout: float
) -> PublishAck:
    """Publish a message and return the acknowledgement of the stream that has stored it.

    Raises:
        NoStreamError: No stream stores the subject.
        ExpectationError: The message does not follow the one that it expects.
        JetStreamError: The stream refuses the message.
        nats.errors.TimeoutError: No acknowledgement in time; the message may be stored.
    """
    state = state_of(nc)
    if state.outstanding is None:
        state.outstanding = Turns(MAX_OUTSTANDING)
    requester = requester_of(nc)
    async with state.outstanding:
        for pause in (*(PAUSE,) * RETRIES, None):
            try:
                answer = await requester.request(subject, data, headers or None, timeout)
                return _read(subject, answer.data)
            except nats.errors.NoRespondersError:
                if pause is None:
                    break
                await asyncio.sleep(pause)
    raise NoStreamError(subject)


def _read(subject: str, data: bytes) -> PublishAck:
    try:
        fields: dict[str, Any] = json.loads(data)
        failure = fields.get("error")
        if failure is None:
            return PublishAck(fields["stream"], fields["seq"], fields.get("duplicate", False))
    except (ValueError, KeyError, AttributeError):
        raise NoStreamError(subject) from None  # another responder has answered
    code, text = failure.get("err_code", 0), failure.get("description", "")
    kind = ExpectationError if code in WRONG_EXPECTATIONS else JetStreamError
    raise kind(failure.get("code", 0), code, text)


publish(Expect, PublishAck)
