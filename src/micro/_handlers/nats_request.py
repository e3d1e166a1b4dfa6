"""Requests as they are received: over NATS, and on either path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from nats.aio.msg import Msg

from micro._errors import AlreadyRespondedError
from micro._handlers.request import DONE, Request, Response
from micro._protocol import deadline
from micro._protocol.headers import decode_headers


class NatsRequest(Request):
    """A request that came over NATS, and the answer its handler has given so far.

    Attributes:
        sent: The payload that the handler answered, if it has.
        sent_headers: The headers of that answer, if there are any.
        response: The answer as middlewares read and change it, if there are some and it came so far.
        patience: For how many seconds the caller waits; None when it has not said.
        deadline: Until when that is, on the event loop's clock; set when it has come, or is run.
        expired: Whether its handler was cancelled because its time was over.
        failure: What its handler raised behind middlewares; their own errors are none of it.
    """

    __slots__ = (
        "_data",
        "_headers",
        "_reply",
        "_subject",
        "deadline",
        "expired",
        "failure",
        "patience",
        "response",
        "sent",
        "sent_headers",
    )

    def __init__(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        self._subject = subject
        self._data = data
        self._headers = headers
        self._reply = reply
        self.sent: bytes | None = None
        self.sent_headers: dict[str, str] | None = None
        self.response: Response | None = None
        self.patience: float | None = None
        self.deadline: float | None = None
        self.expired = False
        self.failure: BaseException | None = None

    def subject(self) -> str:
        """Return the subject the request was sent to."""
        return self._subject

    def headers(self) -> dict[str, str]:
        """Return the headers, names in their original case; of a repeated name the last value."""
        if self._headers is None:
            self._headers = {}
        return self._headers

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
        """Return for how many seconds the caller still waits; None when it has not said."""
        if self.deadline is None:
            return None
        return self.deadline - asyncio.get_running_loop().time()

    def arrived(self, moment: float) -> None:
        """Count the time that the caller waits from a moment of the event loop's clock."""
        if self.patience is not None and self.deadline is None:
            self.deadline = moment + self.patience

    @property
    def reply(self) -> str:
        """The subject that answers go to; empty when the caller wants none."""
        return self._reply

    @property
    def raw_reply(self) -> bytes:
        """The same as it goes over the wire."""
        return self._reply.encode()

    def given(self) -> Response | None:
        """Return what the handler answered, if it has, as its middlewares have left it."""
        if self.response is None and self.sent is not None:
            self.response = Response(self.sent, self.sent_headers)
        return self.response

    def is_late(self, error: BaseException) -> bool:
        """Return whether an error says that the time was over: here, or for a request made here."""
        if isinstance(error, asyncio.CancelledError):
            return self.expired
        # A request of the handler has inherited the deadline, and may see it a moment earlier.
        left = self.remaining() if isinstance(error, TimeoutError) else None
        return left is not None and left <= 0


class FrameRequest(NatsRequest):
    """A request as it came off the wire; what nobody asks for is never decoded."""

    __slots__ = ("_header_block", "_raw_subject", "raw_reply")

    def __init__(
        self, subject: bytes, reply: bytes, data: bytes, header_block: bytes | None
    ) -> None:
        # Not by way of the parent's __init__: this runs once for each request.
        self._raw_subject = subject
        self._data = data
        self._header_block = header_block
        self._headers = None
        self.raw_reply = reply  # type: ignore[misc]  # a slot, as it is read for each request
        self.sent = None
        self.sent_headers = None
        self.response = None
        self.patience = None if header_block is None else deadline.from_block(header_block)
        self.deadline = None
        self.expired = False
        self.failure = None

    @property
    def reply(self) -> str:
        """The subject that answers go to; empty when the caller wants none."""
        return self.raw_reply.decode(errors="replace")

    def subject(self) -> str:
        """Return the subject the request was sent to."""
        return self._raw_subject.decode(errors="replace")

    def headers(self) -> dict[str, str]:
        """Return the headers, names in their original case; of a repeated name the last value."""
        if self._headers is None:
            self._headers = decode_headers(self._header_block) if self._header_block else {}
            self._headers.pop(deadline.HEADER, None)
        return self._headers


class MsgRequest(NatsRequest):
    """A request as nats-py has received it."""

    __slots__ = ()

    def __init__(self, msg: Msg) -> None:
        # Not by way of the parent's __init__: this runs once for each request.
        self._subject = msg.subject
        self._data = msg.data
        self._headers = headers = msg.headers
        self._reply = msg.reply
        self.sent = None
        self.sent_headers = None
        self.response = None
        self.patience = self.deadline = None
        self.expired = False
        self.failure = None
        if headers and (told := headers.pop(deadline.HEADER, None)) is not None:
            self.patience = deadline.from_value(told.encode())
