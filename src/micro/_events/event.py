"""Messages that nobody waits for an answer to, in the form of requests."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from itertools import starmap

from micro._endpoint.dispatcher import Exchange
from micro._endpoint.endpoint import ServedEndpoint
from micro._handlers.nats_request import NatsRequest
from micro._handlers.request import DONE, Response
from micro._protocol.adr32 import received_error
from micro._published import publish
from micro._wire.frames import Headers


class Event(NatsRequest):
    """A message that gets no answer, not even if it has a reply subject.

    `respond` does nothing, except that an error which a handler answers with counts as its failure.
    """

    __slots__ = ()

    def __init__(self, subject: bytes, reply: bytes, data: bytes, headers: Headers) -> None:
        super().__init__(subject, reply, data, headers)
        self.patience = None  # no caller waits
        self.sent = b""

    def respond(self, data: bytes, headers: dict[str, str] | None = None) -> Awaitable[None]:
        """Do nothing; an error counts as the failure of the handler."""
        if headers and received_error(headers, "", b"") is not None:
            self.sent, self.sent_headers = bytes(data), dict(headers)
        return DONE

    def given(self) -> Response | None:
        """Return None: an event has no answer that stands if its handler fails later."""
        return None


def _unanswered(subject: bytes, reply: bytes, data: bytes, headers: Headers) -> Event:
    return Event(subject, b"", data, headers)


class ServedSubscriber(ServedEndpoint):
    """A handler of the messages on a subject; see `add_subscriber`."""

    __slots__ = ()

    def _exchange(self) -> Exchange:
        return Exchange(partial(starmap, _unanswered))


publish(Event)
