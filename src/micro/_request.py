"""A request, its answer, and the headers that ADR-32 gives a meaning."""

from __future__ import annotations

import asyncio
import types
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, TypeAlias, cast

from nats.aio.msg import Msg

from micro import _deadline
from micro._errors import AlreadyRespondedError, ServiceError
from micro._headers import decode_headers

ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
SUCCESS_CODE = "Nats-Service-Success-Code"

Answer: TypeAlias = tuple[bytes, "dict[str, str] | None"]
"""The payload and headers of an answer."""


@types.coroutine
def _nothing() -> Generator[Any, None, None]:
    yield from ()


DONE: Awaitable[None] = _nothing()
"""What `respond` returns: at its end already, so it can be awaited again and again for nothing."""

next(cast(Generator[Any, None, None], DONE), None)


class Request(ABC):
    """A request received by a service.

    An abstract class, so that handlers can be tested with `micro.testing.RequestStub`. Four methods
    must be implemented: `subject`, `headers`, `data` and `respond`.
    """

    __slots__ = ()

    @abstractmethod
    def subject(self) -> str:
        """Return the subject the request was sent to."""

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Return the headers, names in their original case; of a repeated name the last value."""

    @abstractmethod
    def data(self) -> bytes:
        """Return the payload."""

    @abstractmethod
    def respond(self, data: bytes, headers: dict[str, str] | None = None) -> Awaitable[None]:
        """Answer the request.

        The answer leaves when the handler, and every middleware around it, has returned.

        Args:
            data: The payload of the answer.
            headers: Its headers.

        Raises:
            AlreadyRespondedError: The request has an answer.
            TypeError: The payload is not bytes-like.
        """

    def remaining(self) -> float | None:
        """Return for how many seconds the caller still waits; None when it has not said."""
        return None

    async def respond_success(
        self, code: int, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with a status code in the header ``Nats-Service-Success-Code`` (not part of ADR-32).

        Args:
            code: The status code describing the success.
            data: The payload of the answer.
            headers: Further headers.
        """
        extra = {SUCCESS_CODE: str(code)}
        await self.respond(b"" if data is None else data, {**(headers or {}), **extra})

    async def respond_error(
        self,
        code: int,
        description: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with an error: headers ``Nats-Service-Error`` and ``Nats-Service-Error-Code``.

        Args:
            code: The error code describing the error.
            description: One line which can be shown to the caller.
            data: Details as the payload of the answer.
            headers: Further headers.

        Raises:
            ConfigError: The description is empty.
        """
        error = ServiceError(code, description, data=b"" if data is None else data, headers=headers)
        answer = Response.of_error(error)
        await self.respond(answer.data(), answer.headers())


Handler: TypeAlias = Callable[["Request"], Awaitable[None]]
"""Handler is a function that processes a micro request."""


class Response:
    """The answer to a request, as middlewares read and change it.

    Args:
        data: The payload.
        headers: The headers; copied.
    """

    __slots__ = ("_data", "_headers")

    def __init__(self, data: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self._data = data
        self._headers = dict(headers) if headers else None

    @classmethod
    def of_error(cls, error: ServiceError) -> Response:
        """Return the answer that carries a service error; line breaks become blanks."""
        text = one_line(error.description)
        return cls(error.data, {**error.headers, ERROR: text, ERROR_CODE: str(error.code)})

    def data(self) -> bytes:
        """Return the payload."""
        return self._data

    def headers(self) -> dict[str, str]:
        """Return the headers; changing them changes the answer."""
        if self._headers is None:
            self._headers = {}
        return self._headers

    def set_data(self, data: bytes) -> None:
        """Replace the payload."""
        self._data = data

    def clear_data(self) -> None:
        """Make the payload empty."""
        self._data = b""

    def add_header(self, key: str, value: str) -> None:
        """Set one header."""
        self.headers()[key] = value

    def remove_header(self, key: str) -> None:
        """Remove one header if it is there."""
        self.headers().pop(key, None)

    def update_headers(self, headers: Mapping[str, str]) -> None:
        """Set several headers."""
        self.headers().update(headers)

    def clear_headers(self) -> None:
        """Remove all headers."""
        self._headers = None

    def answer(self) -> Answer:
        """Return the payload, and the headers if there are any."""
        return self._data, self._headers

    def error(self) -> ServiceError | None:
        """Return the service error this answer carries, if its headers say that it is one."""
        return received_error(self._headers, "", self._data) if self._headers else None


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
        self.patience = None if header_block is None else _deadline.from_block(header_block)
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
            self._headers.pop(_deadline.HEADER, None)
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
        if headers and (told := headers.pop(_deadline.HEADER, None)) is not None:
            self.patience = _deadline.from_value(told.encode())


def received_error(headers: Mapping[str, str], subject: str, data: bytes) -> ServiceError | None:
    """Return the service error that a received answer is, or None for a success.

    Either header marks an error. A missing or unusable code becomes 500, a missing text
    ``service error``.
    """
    text, code = headers.get(ERROR), headers.get(ERROR_CODE)
    if text is None and code is None:
        return None
    usable = code is not None and code.isascii() and code.isdigit() and len(code) <= 9
    rest = {name: value for name, value in headers.items() if name not in (ERROR, ERROR_CODE)}
    number = int(code) if code is not None and usable else 500
    return ServiceError(number, text or "service error", subject, data, rest)


def one_line(description: str) -> str:
    """Return an error's description as it travels, in the header and in ``last_error``."""
    # Half of a surrogate pair, as JSON may carry it, cannot be sent.
    text = description.encode(errors="replace").decode()
    return " ".join(text.split()) or "error"
