"""The errors of the etcd client, and the mapping from gRPC statuses.

The module has this name because etcetra's users import its errors from it.

EtcdError                         message, code (gRPC number), name (stable), outcome
├── EtcdUnknownError
├── EtcdInvalidArgumentError
│   └── EtcdRequestTooLargeError
├── EtcdDeadlineExceededError
├── EtcdNotFoundError             a lease, member or user
│   └── EtcdLeaseNotFoundError
├── EtcdAlreadyExistsError
│   └── EtcdLeaseExistsError
├── EtcdPermissionDeniedError
├── EtcdUnauthenticatedError
├── EtcdTooManyRequestError
│   └── EtcdNoSpaceError          the NOSPACE alarm is raised
├── EtcdBadRequestError           FAILED_PRECONDITION
├── EtcdAbortedError
├── EtcdOutOfRangeError
│   ├── EtcdCompactedError        compact_revision
│   └── EtcdFutureRevisionError
├── EtcdUnimplementedError
├── EtcdInternalError
├── EtcdUnavailableError
│   └── EtcdClosedError           also micro.ClosedError: the client was used after closing
├── EtcdDataLossError
│   └── EtcdHistoryLostError      the store was wiped or restored behind a watch
├── EtcdOutcomeUnknownError       a write that may or may not have been applied
└── EtcdLockLostError             a lock or leadership that ended too early
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from micro import ClosedError


class EtcdError(Exception):
    """Root of every error of this package; gRPC's own types never leave it.

    Attributes:
        message: The text of etcd or of the client.
        debug_map: Details for a log; the message is complete without them.
        code: The gRPC status number; also `int(error)`.
        name: A stable upper-case name, fit for a header.
        outcome: For writes: `not-applied`, `applied`, or `unknown` when the server may have applied
            it.
    """

    code: int = 2
    name: ClassVar[str] = "UNKNOWN"
    outcome: ClassVar[Literal["not-applied", "unknown", "applied"]] = "not-applied"

    def __init__(self, message: str, debug_map: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.debug_map = dict(debug_map) if debug_map is not None else {}

    def __int__(self) -> int:
        return self.code


EtcetraError = EtcdError  # the name etcetra's users catch


class EtcdUnknownError(EtcdError):
    """The server failed without a known reason."""


class EtcdInvalidArgumentError(EtcdError):
    """The request can never succeed: empty key, duplicate key in a txn, too many operations."""

    code = 3
    name = "INVALID_ARGUMENT"


class EtcdRequestTooLargeError(EtcdInvalidArgumentError):
    """The request exceeds the server's size limit (1.5 MiB unless configured)."""

    name = "REQUEST_TOO_LARGE"


class EtcdDeadlineExceededError(EtcdError):
    """No answer came within the time allowed; the request changes nothing."""

    code = 4
    name = "DEADLINE_EXCEEDED"


class EtcdNotFoundError(EtcdError):
    """A lease, member or user does not exist. A missing key is not an error."""

    code = 5
    name = "NOT_FOUND"


class EtcdLeaseNotFoundError(EtcdNotFoundError):
    """The lease has expired or was revoked."""

    name = "LEASE_NOT_FOUND"


class EtcdAlreadyExistsError(EtcdError):
    """The object to create exists."""

    code = 6
    name = "ALREADY_EXISTS"


class EtcdLeaseExistsError(EtcdAlreadyExistsError):
    """A lease with the requested id exists."""

    code = 9
    name = "LEASE_EXISTS"


class EtcdPermissionDeniedError(EtcdError):
    """The user lacks the permission for these keys."""

    code = 7
    name = "PERMISSION_DENIED"


class EtcdUnauthenticatedError(EtcdError):
    """The credentials are wrong, missing, or their token stays refused after renewal."""

    code = 16
    name = "UNAUTHENTICATED"


class EtcdTooManyRequestError(EtcdError):
    """The server refuses requests for the moment; nothing was applied."""

    code = 8
    name = "TOO_MANY_REQUESTS"


class EtcdNoSpaceError(EtcdTooManyRequestError):
    """The database has reached its quota and refuses writes until space is freed."""

    name = "NO_SPACE"


class EtcdBadRequestError(EtcdError):
    """A precondition of the request does not hold (FAILED_PRECONDITION)."""

    code = 9
    name = "FAILED_PRECONDITION"


class EtcdAbortedError(EtcdError):
    """The operation was aborted by the server."""

    code = 10
    name = "ABORTED"


class EtcdOutOfRangeError(EtcdError):
    """A revision or a time to live is outside of the range of the server."""

    code = 11
    name = "OUT_OF_RANGE"


class EtcdCompactedError(EtcdOutOfRangeError):
    """The requested revision is compacted: its history is deleted.

    Attributes:
        compact_revision: The oldest revision that can be read, 0 when it is not known.
    """

    name = "COMPACTED"

    def __init__(
        self,
        message: str,
        debug_map: Mapping[str, object] | None = None,
        *,
        compact_revision: int = 0,
    ) -> None:
        super().__init__(message, debug_map)
        self.compact_revision = compact_revision


class EtcdFutureRevisionError(EtcdOutOfRangeError):
    """The requested revision does not exist yet."""

    name = "FUTURE_REVISION"


class EtcdUnimplementedError(EtcdError):
    """The server is too old for this request."""

    code = 12
    name = "UNIMPLEMENTED"


class EtcdInternalError(EtcdError):
    """The server or the transport broke an invariant."""

    code = 13
    name = "INTERNAL"


class EtcdUnavailableError(EtcdError):
    """No endpoint answered; nothing was applied."""

    code = 14
    name = "UNAVAILABLE"


class EtcdClosedError(EtcdUnavailableError, ClosedError):
    """The client was used after it had been closed."""

    name = "CLOSED"


class EtcdDataLossError(EtcdError):
    """Data is corrupt or lost."""

    code = 15
    name = "DATA_LOSS"


class EtcdHistoryLostError(EtcdDataLossError):
    """The store is another one, or older than before: it was wiped or restored."""

    name = "HISTORY_LOST"


class EtcdOutcomeUnknownError(EtcdError):
    """A write without an answer: it may or may not have been applied.

    `code` is the code of the failure (`__cause__`). Read the key again before repeating the write,
    or make the write conditional (a txn on `mod_revision`).
    """

    code = 14
    name = "OUTCOME_UNKNOWN"
    outcome = "unknown"


class EtcdLockLostError(EtcdError):
    """The lock or leadership ended before its holder was done; others may hold it now."""

    code = 10
    name = "LOCK_LOST"


# Of the classes below the root, the first with a code is the error of that code.
_BY_CODE = {kind.code: kind for kind in reversed(EtcdError.__subclasses__())}

# One status has several meanings, so the text decides first. etcd keeps these texts stable, since
# Go's client matches them too (api/v3rpc/rpctypes/error.go).
_BY_TEXT: tuple[tuple[str, type[EtcdError]], ...] = (
    ("required revision has been compacted", EtcdCompactedError),
    ("required revision is a future revision", EtcdFutureRevisionError),
    ("database space exceeded", EtcdNoSpaceError),
    ("request is too large", EtcdRequestTooLargeError),
    # Go's words: the server's.
    ("grpc: received message larger than max", EtcdRequestTooLargeError),
    ("requested lease not found", EtcdLeaseNotFoundError),
    ("lease already exists", EtcdLeaseExistsError),
    ("authentication failed", EtcdUnauthenticatedError),
    ("user name is empty", EtcdUnauthenticatedError),
    ("authentication is not enabled", EtcdUnauthenticatedError),
    ("invalid auth token", EtcdUnauthenticatedError),
    ("revision of auth store is old", EtcdUnauthenticatedError),
    ("revision in header is old", EtcdUnauthenticatedError),
    ("permission denied", EtcdPermissionDeniedError),
)


def error_from_status(code: int, text: str) -> EtcdError:
    """Return the typed error for a gRPC status number and its text."""
    for part, kind in _BY_TEXT:
        if part in text:
            return kind(text)
    error = _BY_CODE.get(code, EtcdUnknownError)(text if text else f"status {code} without a text")
    error.debug_map["status"] = code
    return error
