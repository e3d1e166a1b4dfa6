"""Requests and their answers, as handlers and middlewares see them."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, TypeAlias, cast

from micro._errors import ServiceError
from micro._native import accelerated
from micro._protocol.adr32 import (
    ERROR,
    ERROR_CODE,
    SUCCESS_CODE,
    header_text,
    one_line,
    received_error,
)

Answer: TypeAlias = tuple[bytes, "dict[str, str] | None"]
"""The payload and headers of an answer."""


@types.coroutine
def _nothing() -> Generator[Any, None, None]:
    yield from ()


DONE: Awaitable[None] = _nothing()
"""The result of `respond`: an awaitable that is already finished, so awaiting it costs nothing."""

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
        """Return the seconds that the caller still waits; None when the request does not say."""
        return None

    @property
    def state(self) -> types.SimpleNamespace:
        """A namespace of the request, for middlewares and the handler to share values."""
        state: types.SimpleNamespace = vars(self).setdefault("_state", types.SimpleNamespace())
        return state

    async def respond_success(
        self, code: int, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with a status code in the header `Nats-Service-Success-Code`, not part of ADR-32.

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
        """Answer with an error: headers `Nats-Service-Error` and `Nats-Service-Error-Code`.

        Args:
            code: The error code describing the error.
            description: One line which can be shown to the caller. Its header has `?` for all but
                printable ASCII; without `data` the payload is then the whole line in UTF-8.
            data: Details as the payload of the answer.
            headers: Further headers.

        Raises:
            ConfigError: The description is empty.
        """
        error = ServiceError(code, description, data=b"" if data is None else data, headers=headers)
        answer = Response.of_error(error)
        await self.respond(answer.data(), answer.headers())


Handler: TypeAlias = Callable[["Request"], Awaitable[None]]
"""A function that processes a request."""


@accelerated
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
        """Return the answer that carries a service error; line breaks become blanks.

        A description with characters that headers cannot carry is the payload as well, in UTF-8,
        unless the error has data.
        """
        line = one_line(error.description)
        text = header_text(line)
        data = error.data if error.data or text == line else line.encode()
        return cls(data, {**error.headers, ERROR: text, ERROR_CODE: str(error.code)})

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
        """Return the payload, and the headers or None."""
        return self._data, self._headers

    def error(self) -> ServiceError | None:
        """Return the service error that this answer carries; None for a success."""
        return received_error(self._headers, "", self._data) if self._headers else None
