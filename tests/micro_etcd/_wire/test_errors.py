"""What every error is on the wire, and that it arrives as the same error."""

import nats.errors
import pytest

from micro import PayloadTooLargeError, ServiceError
from micro_etcd import errors
from micro_etcd._wire import errors as wire
from micro_etcd._wire.errors import (
    EtcdConditionFailedError,
    EtcdLockBusyError,
    EtcdPayloadTooLargeError,
)
from micro_etcd.errors import (
    EtcdCompactedError,
    EtcdError,
    EtcdFutureRevisionError,
    EtcdHistoryLostError,
    EtcdLeaseExistsError,
    EtcdLeaseNotFoundError,
    EtcdLockLostError,
    EtcdNoSpaceError,
    EtcdOutcomeUnknownError,
    EtcdRequestTooLargeError,
    error_from_status,
)

TABLE: list[tuple[type[EtcdError], int, str, str]] = [
    (errors.EtcdInvalidArgumentError, 400, "INVALID_ARGUMENT", "not-applied"),
    (errors.EtcdPermissionDeniedError, 403, "PERMISSION_DENIED", "not-applied"),
    (errors.EtcdNotFoundError, 404, "NOT_FOUND", "not-applied"),
    (EtcdLeaseNotFoundError, 404, "LEASE_NOT_FOUND", "not-applied"),
    (EtcdConditionFailedError, 409, "CONDITION_FAILED", "not-applied"),
    (EtcdLockBusyError, 409, "LOCK_BUSY", "not-applied"),
    (EtcdLockLostError, 409, "LOCK_LOST", "not-applied"),
    (EtcdCompactedError, 410, "COMPACTED", "not-applied"),
    (errors.EtcdBadRequestError, 412, "FAILED_PRECONDITION", "not-applied"),
    (EtcdLeaseExistsError, 412, "LEASE_EXISTS", "not-applied"),
    (errors.EtcdAlreadyExistsError, 412, "ALREADY_EXISTS", "not-applied"),
    (EtcdRequestTooLargeError, 413, "REQUEST_TOO_LARGE", "not-applied"),
    (EtcdPayloadTooLargeError, 413, "PAYLOAD_TOO_LARGE", "not-applied"),
    (errors.EtcdOutOfRangeError, 416, "OUT_OF_RANGE", "not-applied"),
    (EtcdFutureRevisionError, 416, "FUTURE_REVISION", "not-applied"),
    (errors.EtcdTooManyRequestError, 429, "TOO_MANY_REQUESTS", "not-applied"),
    (errors.EtcdUnknownError, 500, "UNKNOWN", "not-applied"),
    (errors.EtcdAbortedError, 500, "ABORTED", "not-applied"),
    (errors.EtcdInternalError, 500, "INTERNAL", "not-applied"),
    (errors.EtcdDataLossError, 500, "DATA_LOSS", "not-applied"),
    (EtcdHistoryLostError, 500, "HISTORY_LOST", "not-applied"),
    (errors.EtcdUnimplementedError, 501, "UNIMPLEMENTED", "not-applied"),
    (errors.EtcdUnauthenticatedError, 502, "UNAUTHENTICATED", "not-applied"),
    (errors.EtcdUnavailableError, 503, "UNAVAILABLE", "not-applied"),
    (errors.EtcdDeadlineExceededError, 504, "DEADLINE_EXCEEDED", "not-applied"),
    (EtcdOutcomeUnknownError, 504, "OUTCOME_UNKNOWN", "unknown"),
    (EtcdNoSpaceError, 507, "NO_SPACE", "not-applied"),
]


@pytest.mark.parametrize(("kind", "code", "name", "outcome"), TABLE, ids=[row[2] for row in TABLE])
def test_an_error_crosses_the_wire(
    kind: type[EtcdError], code: int, name: str, outcome: str
) -> None:
    answer = wire.to_service_error(kind("what happened"))
    assert (answer.code, answer.description) == (code, "what happened")
    assert answer.headers["Etcd-Error"] == name
    assert answer.headers["Etcd-Outcome"] == outcome
    for write in (False, True):
        found = wire.from_service_error(answer, write=write)
        assert type(found) is kind
        assert found.message == "what happened"


def test_every_error_of_the_package_is_in_the_table() -> None:
    named = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = {kind for kind in named if issubclass(kind, EtcdError)}
    assert kinds - {EtcdError, errors.EtcdClosedError} <= {row[0] for row in TABLE}


def test_a_closed_client_of_the_service_is_an_unavailable_etcd() -> None:
    answer = wire.to_service_error(errors.EtcdClosedError("connection closed"))
    assert type(wire.from_service_error(answer, write=False)) is errors.EtcdUnavailableError


def test_numbers_cross_too() -> None:
    compacted = wire.to_service_error(EtcdCompactedError("gone", compact_revision=7))
    assert compacted.headers["Etcd-Compact-Revision"] == "7"
    found = wire.from_service_error(compacted, write=False)
    assert isinstance(found, EtcdCompactedError)
    assert found.compact_revision == 7
    large = wire.to_service_error(EtcdPayloadTooLargeError("large", size=9))
    assert large.headers["Etcd-Size"] == "9"
    back = wire.from_service_error(large, write=False)
    assert isinstance(back, EtcdPayloadTooLargeError)
    assert back.size == 9


@pytest.mark.parametrize(
    ("status", "text", "code", "name"),
    [
        (3, "etcdserver: key is not provided", 400, "INVALID_ARGUMENT"),
        (3, "etcdserver: duplicate key given in txn request", 400, "INVALID_ARGUMENT"),
        (3, "etcdserver: request is too large", 413, "REQUEST_TOO_LARGE"),
        (7, "etcdserver: permission denied", 403, "PERMISSION_DENIED"),
        (5, "etcdserver: requested lease not found", 404, "LEASE_NOT_FOUND"),
        (9, "etcdserver: lease already exists", 412, "LEASE_EXISTS"),
        (11, "etcdserver: mvcc: required revision has been compacted", 410, "COMPACTED"),
        (11, "etcdserver: mvcc: required revision is a future revision", 416, "FUTURE_REVISION"),
        (11, "etcdserver: too large lease TTL", 416, "OUT_OF_RANGE"),
        (8, "etcdserver: too many requests", 429, "TOO_MANY_REQUESTS"),
        (8, "etcdserver: mvcc: database space exceeded", 507, "NO_SPACE"),
        (14, "etcdserver: no leader", 503, "UNAVAILABLE"),
        (4, "context deadline exceeded", 504, "DEADLINE_EXCEEDED"),
        (16, "etcdserver: invalid auth token", 502, "UNAUTHENTICATED"),
        (15, "corrupt", 500, "DATA_LOSS"),
    ],
)
def test_what_etcd_says_has_a_code_and_a_name(status: int, text: str, code: int, name: str) -> None:
    answer = wire.to_service_error(error_from_status(status, text))
    assert (answer.code, answer.headers["Etcd-Error"]) == (code, name)


@pytest.mark.parametrize(
    ("answer", "write", "kind"),
    [
        (ServiceError(503, "overloaded", headers={"Retry-After": "1"}), True, "UNAVAILABLE"),
        (ServiceError(503, "service stopped"), True, "OUTCOME_UNKNOWN"),
        (ServiceError(503, "service stopped"), False, "UNAVAILABLE"),
        (ServiceError(500, "internal error"), True, "OUTCOME_UNKNOWN"),
        (ServiceError(500, "internal error"), False, "UNKNOWN"),
        (ServiceError(400, "invalid request"), True, "INVALID_ARGUMENT"),
    ],
)
def test_answers_of_the_framework_tell_the_truth_about_writes(
    answer: ServiceError, write: bool, kind: str
) -> None:
    assert wire.from_service_error(answer, write=write).name == kind


@pytest.mark.parametrize(
    ("error", "write", "name"),
    [
        (nats.errors.NoRespondersError(), True, "UNAVAILABLE"),
        (nats.errors.TimeoutError(), True, "OUTCOME_UNKNOWN"),
        (nats.errors.TimeoutError(), False, "DEADLINE_EXCEEDED"),
        (nats.errors.ConnectionClosedError(), False, "UNAVAILABLE"),
        (nats.errors.ConnectionClosedError(), True, "OUTCOME_UNKNOWN"),
        (PayloadTooLargeError(9, 8), True, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_no_answer_tells_the_truth_about_writes(error: Exception, write: bool, name: str) -> None:
    assert wire.from_nats_error(error, "etcd.app.kv.put", write=write).name == name
