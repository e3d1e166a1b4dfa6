"""Requests that arrive over NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from itertools import starmap
from types import SimpleNamespace
from typing import TypeAlias, cast

from micro._errors import AlreadyRespondedError, RemoteServiceError
from micro._handlers.request import DONE, Request, Response
from micro._native import accelerated
from micro._protocol import deadline
from micro._protocol.deadline import ALONE, from_block, from_short_block
from micro._protocol.headers import decode_headers

Parts: TypeAlias = tuple[bytes, bytes, bytes, "bytes | dict[str, str] | None"]
"""Subject, reply subject, payload and headers of a message; see `NatsRequest`."""


@accelerated
class NatsRequest(Request):
    """A request that came over NATS, and the answer its handler has given so far.

    Parts that no handler reads are never decoded.

    Args:
        subject: The subject of the request.
        reply: The reply subject; empty when the caller wants no answer.
        data: The payload.
        headers: The header block as received, or the headers.

    Attributes:
        raw_reply: The reply subject; empty when the caller wants no answer.
        sent: The payload of the answer; None before there is one.
        sent_headers: The headers of the answer, if it has any.
        response: The answer of the handler as middlewares see and change it.
        patience: Seconds for which the caller waits; None when the request does not say.
        deadline: The moment that the caller stops waiting, on the event loop's clock; set when the
            request is queued or run.
        expired: Whether the handler was cancelled because its time was over.
        failure: The exception that the handler or a middleware raised.
    """

    __slots__ = (
        "_data",
        "_headers",
        "_state",
        "_subject",
        "deadline",
        "expired",
        "failure",
        "patience",
        "raw_reply",
        "response",
        "sent",
        "sent_headers",
    )

    _state: SimpleNamespace  # unset until it is asked for, which costs nothing

    def __init__(
        self, subject: bytes, reply: bytes, data: bytes, headers: bytes | dict[str, str] | None
    ) -> None:
        self._subject = subject
        self._data = data
        self._headers = headers
        self.raw_reply = reply
        self.sent: bytes | None = None
        self.sent_headers: dict[str, str] | None = None
        self.response: Response | None = None
        self.patience: float | None = None
        self.deadline: float | None = None
        self.expired = False
        self.failure: BaseException | None = None
        if headers is None:
            return
        if headers.__class__ is bytes:
            self.patience = (from_short_block if len(headers) <= ALONE else from_block)(headers)
        elif value := cast(dict[str, str], headers).get(deadline.HEADER):
            self.patience = deadline.from_value(value.encode())

    def subject(self) -> str:
        """Return the subject the request was sent to."""
        return self._subject.decode(errors="replace")

    def headers(self) -> dict[str, str]:
        """Return the headers, names in their original case; of a repeated name the last value."""
        headers = self._headers
        if not isinstance(headers, dict):
            headers = self._headers = decode_headers(headers) if headers else {}
            headers.pop(deadline.HEADER, None)
        elif deadline.HEADER in headers:
            headers = self._headers = {**headers}
            del headers[deadline.HEADER]
        return headers

    def data(self) -> bytes:
        """Return the payload."""
        return self._data

    def respond(self, data: bytes, headers: dict[str, str] | None = None) -> Awaitable[None]:
        """Answer the request; see `Request.respond`."""
        if self.sent is not None:
            raise AlreadyRespondedError(f"the request to {self.subject()!r} has been answered")
        if data.__class__ is not bytes:
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError(f"answer must be bytes, not {type(data).__name__}")
            data = bytes(data)
        if headers:
            self.sent_headers = dict(headers)
        self.sent = data
        return DONE

    def remaining(self) -> float | None:
        """Return the seconds that the caller still waits; None when the request does not say."""
        if self.deadline is None:
            return None
        return self.deadline - asyncio.get_running_loop().time()

    @property
    def state(self) -> SimpleNamespace:
        """The namespace of the request; made when it is first asked for."""
        try:
            return self._state
        except AttributeError:
            state = self._state = SimpleNamespace()
            return state

    def share_state(self, origin: Request) -> None:
        """Take the namespace of another request in place of an own one."""
        self._state = origin.state

    def arrived(self, moment: float) -> None:
        """Set the deadline of a request that arrived at a moment of the event loop's clock."""
        if self.patience is not None and self.deadline is None:
            self.deadline = moment + self.patience

    @property
    def reply(self) -> str:
        """The reply subject; empty when the caller wants no answer."""
        return self.raw_reply.decode(errors="replace")

    def answered(self) -> Response:
        """Return the answer of the handler, in the form that middlewares see and change."""
        assert self.sent is not None  # noqa: S101 - what a caller has checked
        response = self.response = Response(self.sent, self.sent_headers)
        return response

    def given(self) -> Response | None:
        """Return the answer so far, as middlewares have changed it; None when there is none."""
        if self.response is None and self.sent is not None:
            self.response = Response(self.sent, self.sent_headers)
        return self.response

    def is_late(self, error: BaseException) -> bool:
        """Return whether an error means that the time of the caller was over."""
        if isinstance(error, asyncio.CancelledError):
            return self.expired
        # A request made by the handler inherits the deadline and may time out a moment earlier. Its
        # service knows the deadline in whole milliseconds, and may say so first.
        if isinstance(error, TimeoutError):
            earlier = 0.0
        elif isinstance(error, RemoteServiceError) and error.code == 504:
            earlier = deadline.PRECISION
        else:
            return False
        left = self.remaining()
        return left is not None and left <= earlier


@accelerated
def requests_of(messages: Sequence[Parts]) -> Iterator[NatsRequest]:
    """Return the requests of messages, each made when it is asked for."""
    return starmap(NatsRequest, messages)
