"""The errors of micro.

MicroError
├── ConfigError (ValueError)           a declaration is wrong: raised where it is made
├── ClosedError (RuntimeError)         something was used after its end
│   └── StoppedError                   the service or context is not running
├── AlreadyRespondedError (RuntimeError)  a handler answered one request twice
├── NoResponseError                    a handler returned without answering
├── PayloadTooLargeError (ValueError)  a message exceeds the server's limit
├── ConnectError (ConnectionError)     the server cannot be reached, or refuses us
├── IncompatibleContractError          an endpoint's schema breaks its contract
├── ContractDriftError                 a client and a service have incompatible schemas
├── InvalidAnswerError (ValueError)    an answer is not of the type that the caller expects
├── PermissionDeniedError              the server refuses a subscription
├── StreamCaptureError                 a stream acknowledged a request in place of a service
├── StreamLostError                    items of a streaming answer are missing
├── JetStreamError                     JetStream refuses a consumer or a message
│   ├── NoStreamError                  no stream stores the subject of a message
│   └── ExpectationError               a message does not follow the one that it expects
└── ServiceError                       an error answer of a service
    ├── Reject                         a handler will never take this message
    └── RemoteServiceError             an error answer that a client received
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class MicroError(Exception):
    """Base class of every error of micro."""

    __match_args__: tuple[str, ...] = ()
    """The attributes that `__init__` takes in this order; a pickle has them."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self.__match_args__:
            return super().__reduce__()
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


class ConfigError(MicroError, ValueError):
    """A name, subject, option or handler is not acceptable."""


class ClosedError(MicroError, RuntimeError):
    """A service, context, client or connection was used after its end.

    `micro_schema_registry.ClosedError` and `micro_etcd.EtcdClosedError` are of this class, too.
    """


class StoppedError(ClosedError):
    """The service, endpoint or context is not running."""


class AlreadyRespondedError(MicroError, RuntimeError):
    """A handler answered the same request a second time; the first answer stands."""


class NoResponseError(MicroError):
    """A handler returned without answering."""


class PayloadTooLargeError(MicroError, ValueError):
    """A message is larger than the server's `max_payload`.

    Attributes:
        size: Bytes of headers and payload together.
        limit: The server's limit in bytes.
    """

    __match_args__ = ("size", "limit")

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of {size} bytes exceeds the server's max_payload of {limit}")
        self.size = size
        self.limit = limit


class ConnectError(MicroError, ConnectionError):
    """The connection to the NATS server cannot be made, or has ended for good."""


class PermissionDeniedError(MicroError):
    """The server refuses a subscription that a service needs.

    Attributes:
        subjects: The refused subjects.
    """

    __match_args__ = ("subjects", "owner")

    def __init__(self, subjects: tuple[str, ...], owner: str) -> None:
        names = ", ".join(repr(subject) for subject in subjects)
        super().__init__(
            f"{owner} may not subscribe to {names}: "
            "grant the user subscribe permission for it, with the queue group if one is bound"
        )
        self.subjects = subjects
        self.owner = owner


class IncompatibleContractError(MicroError):
    """The schema of an endpoint is not compatible with the schema that its callers rely on.

    Attributes:
        service: The service, which is the group in the registry.
        artifact: `<endpoint>.request` or `<endpoint>.response`.
        causes: The reasons, one for each place in the schema.
    """

    __match_args__ = ("service", "artifact", "causes")

    def __init__(self, service: str, artifact: str, causes: tuple[str, ...]) -> None:
        reasons = "; ".join(causes) or "the registry gives no reason"
        super().__init__(f"{artifact!r} of service {service!r} breaks its contract: {reasons}")
        self.service = service
        self.artifact = artifact
        self.causes = causes


class ContractDriftError(MicroError):
    """The schemas of a bound client are not compatible with those of the service.

    Attributes:
        service: The name of the service.
        endpoint: The name of the endpoint.
        drifts: The differences, each naming a member, by instance: its id and version.
    """

    __match_args__ = ("service", "endpoint", "drifts")

    def __init__(self, service: str, endpoint: str, drifts: Mapping[str, Sequence[str]]) -> None:
        reasons = "; ".join(
            f"instance {instance}: {', '.join(lines)}" for instance, lines in drifts.items()
        )
        super().__init__(
            f"the client does not fit endpoint {endpoint!r} of service {service!r}: {reasons}"
        )
        self.service = service
        self.endpoint = endpoint
        self.drifts = {instance: tuple(lines) for instance, lines in drifts.items()}

    def copy(self) -> ContractDriftError:
        """Return the same error anew, to raise it once more."""
        return ContractDriftError(self.service, self.endpoint, self.drifts)


class InvalidAnswerError(MicroError, ValueError):
    """An answer is not of the type that the caller of `Client.call` expects.

    Attributes:
        subject: The subject of the request.
        errors: The invalid members as pydantic lists them, each with `type`, `loc` and `msg`.
    """

    __match_args__ = ("subject", "errors")

    def __init__(self, subject: str, errors: Sequence[Mapping[str, Any]]) -> None:
        first = _described(errors[0]) if errors else "no reason given"
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        super().__init__(f"answer from {subject!r} is not of the expected type: {first}{more}")
        self.subject = subject
        self.errors = [dict(each) for each in errors]


class StreamCaptureError(MicroError):
    """The acknowledgement of a stream arrived instead of the answer of a service.

    Attributes:
        subject: The subject of the request.
        stream: The stream that captures it.
    """

    __match_args__ = ("subject", "stream")

    def __init__(self, subject: str, stream: str) -> None:
        super().__init__(
            f"stream {stream!r} captures {subject!r}, and its acknowledgement arrived instead of "
            "the answer of the service: exclude the subject from the stream, or set its no_ack"
        )
        self.subject = subject
        self.stream = stream


class StreamLostError(MicroError):
    """Items of a streaming answer are missing, or its service is gone.

    Attributes:
        subject: The subject of the request.
        reason: The missing part.
    """

    __match_args__ = ("subject", "reason")

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"the stream from {subject!r} is broken: {reason}")
        self.subject = subject
        self.reason = reason


class JetStreamError(MicroError):
    """An error answer of JetStream.

    Attributes:
        code: The kind of the error, as in HTTP.
        err_code: The exact code of the server; 0 without one.
        description: The text of the server.
    """

    __match_args__ = ("code", "err_code", "description")

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"JetStream error {err_code}: {description}")
        self.code = code
        self.err_code = err_code
        self.description = description


class NoStreamError(JetStreamError):
    """No stream stores the subject of a message.

    Attributes:
        subject: The subject.
    """

    __match_args__ = ("subject",)

    def __init__(self, subject: str) -> None:
        super().__init__(503, 0, f"no stream stores {subject!r}")
        self.args = (f"no stream stores {subject!r}: create one with the subject",)
        self.subject = subject


class ExpectationError(JetStreamError):
    """A message does not follow the one that its `expect` names; nothing is stored."""


class ServiceError(MicroError):
    """An error answer of a service (ADR-32, headers `Nats-Service-Error` and `-Code`).

    Raise it in a handler to answer with it.

    Args:
        code: Numeric code; the codes of HTTP are customary.
        description: One line for the caller. Line breaks are sent as blanks. The header has `?` for
            all but printable ASCII (ADR-4); without `data` the payload is then the whole line in
            UTF-8, and `Client.request` restores it.
        subject: The subject of the request; empty in a handler.
        data: Details as the payload of the answer.
        headers: Further headers of the answer.

    Raises:
        ConfigError: The description is empty, or the code is not a positive number.
    """

    __match_args__ = ("code", "description", "subject", "data", "headers")
    _LEAST_CODE = 1

    def __init__(
        self,
        code: int,
        description: str,
        subject: str = "",
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if code < self._LEAST_CODE:
            raise ConfigError(f"invalid error code {code!r}: expected a positive number")
        if not description:
            raise ConfigError("invalid error description '': expected one line of text")
        given: object = data
        if not isinstance(given, bytes | bytearray | memoryview):
            kind = type(given).__name__
            raise ConfigError(
                f"invalid error data of type {kind!r}: expected bytes, encode JSON first"
            )
        super().__init__(code, description)
        self.code = code
        self.description = description
        self.subject = subject
        self.data = data
        self.headers = dict(headers) if headers is not None else {}

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The invalid members of a refused request, each with `type`, `loc` and `msg`.

        Typed handlers send them with 400 `invalid request`. The list is empty if the data is no
        list of JSON objects.
        """
        try:
            listed = json.loads(self.data) if self.data[:1] == b"[" else []
        except ValueError:
            return []
        return listed if all(isinstance(each, dict) for each in listed) else []

    def __str__(self) -> str:
        where = f" (from {self.subject!r})" if self.subject else ""
        return f"service error {self.code}: {self.description}{where}"


class Reject(ServiceError):  # noqa: N818 - the documented name, which says what raising it does
    """The refusal of a message that its handler will never take.

    Raise it in the handler of a consumer: the message is not delivered again, and becomes a dead
    letter. An endpoint answers with it. Typed handlers reject invalid payloads with 400.

    Args:
        description: One line about the reason.
        code: Numeric code; 422 of HTTP stands for a message that cannot be processed.
        subject: The subject of the request; empty in a handler.
        data: Details.
        headers: Further headers of the answer.

    Raises:
        ConfigError: The description is empty, or the code is not a positive number.
    """

    __match_args__ = ("description", "code", "subject", "data", "headers")

    def __init__(
        self,
        description: str,
        code: int = 422,
        subject: str = "",
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, description, subject, data, headers)


class RemoteServiceError(ServiceError):
    """An error answer that `Client.request` received.

    A handler that lets it pass answers 502 `dependency failed`, without its text and payload. Raise
    a `ServiceError` to pass an error on to the caller.
    """

    _LEAST_CODE = 0  # services in other languages send it


def _described(error: Mapping[str, Any]) -> str:
    """Return an error of pydantic as one line: the place, and the message."""
    place = ".".join(str(part) for part in error.get("loc", ()))
    return f"{place}: {error.get('msg')}" if place else str(error.get("msg"))
