"""Errors of etcd on their way over NATS, and back.

Every client reads the numeric code. The header `Etcd-Error` carries the stable name, and the header
`Etcd-Outcome` whether a write was applied: `not-applied`, `applied` or `unknown`.

EtcdAbortedError
├── EtcdConditionFailedError      an `if` did not hold
└── EtcdLockBusyError             the lock was not free in time
EtcdRequestTooLargeError
└── EtcdPayloadTooLargeError      more than a NATS message can carry: size
    └── EtcdAnswerOmittedError    the write was applied: revision
"""

import nats.errors

from micro import PayloadTooLargeError, ServiceError
from micro_etcd import errors as errors
from micro_etcd._wire.headers import REVISION
from micro_etcd.errors import EtcdError

ERROR = "Etcd-Error"
OUTCOME = "Etcd-Outcome"
# The attributes of errors that have headers of their own.
_DETAILS = {"compact_revision": "Etcd-Compact-Revision", "size": "Etcd-Size", "revision": REVISION}
RETRY_AFTER = "Retry-After"


class EtcdConditionFailedError(errors.EtcdAbortedError):
    """The condition of a put or delete did not hold; nothing was changed."""

    name = "CONDITION_FAILED"


class EtcdLockBusyError(errors.EtcdAbortedError):
    """Another caller held the lock for the whole time allowed."""

    name = "LOCK_BUSY"


class EtcdPayloadTooLargeError(errors.EtcdRequestTooLargeError):
    """A key and its value do not fit into one NATS message.

    Attributes:
        size: Bytes the message would have.
    """

    name = "PAYLOAD_TOO_LARGE"

    def __init__(self, message: str, *, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class EtcdAnswerOmittedError(EtcdPayloadTooLargeError):
    """The write was applied, but what it read does not fit into one message.

    Attributes:
        revision: Revision of the store after the write.
    """

    name = "ANSWER_OMITTED"
    outcome = "applied"

    def __init__(self, message: str, *, size: int = 0, revision: int = 0) -> None:
        super().__init__(message, size=size)
        self.revision = revision


_CODES: dict[type[EtcdError], int] = {
    errors.EtcdInvalidArgumentError: 400,
    errors.EtcdPermissionDeniedError: 403,
    errors.EtcdNotFoundError: 404,
    EtcdConditionFailedError: 409,
    EtcdLockBusyError: 409,
    errors.EtcdLockLostError: 409,
    errors.EtcdCompactedError: 410,
    errors.EtcdBadRequestError: 412,
    errors.EtcdAlreadyExistsError: 412,
    errors.EtcdRequestTooLargeError: 413,
    errors.EtcdOutOfRangeError: 416,
    errors.EtcdTooManyRequestError: 429,
    errors.EtcdUnimplementedError: 501,
    errors.EtcdUnauthenticatedError: 502,
    errors.EtcdUnavailableError: 503,
    errors.EtcdDeadlineExceededError: 504,
    errors.EtcdOutcomeUnknownError: 504,
    errors.EtcdNoSpaceError: 507,
}

_KINDS: dict[str, type[EtcdError]] = {
    kind.name: kind
    for kind in (
        *(value for value in vars(errors).values() if isinstance(value, type)),
        EtcdConditionFailedError,
        EtcdLockBusyError,
        EtcdPayloadTooLargeError,
        EtcdAnswerOmittedError,
    )
    if issubclass(kind, EtcdError)
}


def code_of(error: EtcdError) -> int:
    """Return the numeric code of an error, 500 unless its class has another."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), 500)


def error_headers(error: EtcdError) -> dict[str, str]:
    """Return the headers of an error."""
    details = {
        header: str(getattr(error, detail))
        for detail, header in _DETAILS.items()
        if hasattr(error, detail)
    }
    return {ERROR: error.name, OUTCOME: error.outcome, **details}


def to_service_error(error: EtcdError) -> ServiceError:
    """Return the reply for an error of etcd."""
    if isinstance(error, errors.EtcdClosedError):  # the client of the service, not of the caller
        error = errors.EtcdUnavailableError(error.message)
    return ServiceError(code_of(error), error.message or error.name, headers=error_headers(error))


def from_service_error(answer: ServiceError, *, write: bool) -> EtcdError:
    """Return the error of a reply; a reply without a name gets the closest class.

    Args:
        answer: The reply of the service.
        write: Whether the request was a write; a write that was cut short has an unknown outcome.
    """
    name = answer.headers.get(ERROR, "")
    if name in _KINDS:
        return named_error(name, answer.description, answer.headers)
    if answer.code == 503 and (RETRY_AFTER in answer.headers or not write):
        return errors.EtcdUnavailableError(answer.description)  # refused, never run
    if 400 <= answer.code < 500:
        return errors.EtcdInvalidArgumentError(answer.description)
    if answer.code == 504 and not write:
        return errors.EtcdDeadlineExceededError(answer.description)
    if write:
        return errors.EtcdOutcomeUnknownError(f"{answer.code}: {answer.description}")
    return errors.EtcdUnknownError(f"{answer.code}: {answer.description}")


def named_error(name: str, message: str, headers: dict[str, str]) -> EtcdError:
    """Return the error of a stable name."""
    error = _KINDS.get(name, errors.EtcdUnknownError)(message)
    for detail, header in _DETAILS.items():
        if hasattr(error, detail):
            setattr(error, detail, _number(headers.get(header)))
    return error


def from_nats_error(error: Exception, subject: str, *, write: bool) -> EtcdError:
    """Return the error of a request without a reply."""
    if isinstance(error, PayloadTooLargeError):
        return EtcdPayloadTooLargeError(str(error), size=error.size)
    if isinstance(error, nats.errors.NoRespondersError):
        return errors.EtcdUnavailableError(f"no etcd service listens on {subject!r}")
    reason = f"no answer from {subject!r}: {str(error) or type(error).__name__}"
    if write:
        return errors.EtcdOutcomeUnknownError(reason)
    if isinstance(error, nats.errors.TimeoutError):
        return errors.EtcdDeadlineExceededError(reason)
    return errors.EtcdUnavailableError(reason)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
