"""Every status and text has its type; every error its code, name and outcome."""

import pytest

import micro_etcd
from micro_etcd import EtcdError, EtcdOutcomeUnknownError, errors
from micro_etcd.errors import error_from_status

KINDS = list(  # each once, though one has two names
    dict.fromkeys(
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, EtcdError)
    )
)


@pytest.mark.parametrize(
    ("code", "text", "kind", "name"),
    [
        (2, "boom", "EtcdUnknownError", "UNKNOWN"),
        (3, "etcdserver: key is not provided", "EtcdInvalidArgumentError", "INVALID_ARGUMENT"),
        (3, "etcdserver: request is too large", "EtcdRequestTooLargeError", "REQUEST_TOO_LARGE"),
        (
            3,
            "etcdserver: authentication failed, invalid user ID or password",
            "EtcdUnauthenticatedError",
            "UNAUTHENTICATED",
        ),
        (4, "Deadline Exceeded", "EtcdDeadlineExceededError", "DEADLINE_EXCEEDED"),
        (5, "etcdserver: requested lease not found", "EtcdLeaseNotFoundError", "LEASE_NOT_FOUND"),
        (5, "etcdserver: member not found", "EtcdNotFoundError", "NOT_FOUND"),
        (6, "exists", "EtcdAlreadyExistsError", "ALREADY_EXISTS"),
        (7, "etcdserver: permission denied", "EtcdPermissionDeniedError", "PERMISSION_DENIED"),
        (8, "etcdserver: too many requests", "EtcdTooManyRequestError", "TOO_MANY_REQUESTS"),
        (8, "etcdserver: mvcc: database space exceeded", "EtcdNoSpaceError", "NO_SPACE"),
        (9, "etcdserver: lease already exists", "EtcdLeaseExistsError", "LEASE_EXISTS"),
        (9, "etcdserver: not capable", "EtcdBadRequestError", "FAILED_PRECONDITION"),
        (10, "aborted", "EtcdAbortedError", "ABORTED"),
        (
            11,
            "etcdserver: mvcc: required revision has been compacted",
            "EtcdCompactedError",
            "COMPACTED",
        ),
        (
            11,
            "etcdserver: mvcc: required revision is a future revision",
            "EtcdFutureRevisionError",
            "FUTURE_REVISION",
        ),
        (11, "etcdserver: too large lease TTL", "EtcdOutOfRangeError", "OUT_OF_RANGE"),
        (12, "unknown method RangeStream", "EtcdUnimplementedError", "UNIMPLEMENTED"),
        (13, "internal", "EtcdInternalError", "INTERNAL"),
        (14, "etcdserver: no leader", "EtcdUnavailableError", "UNAVAILABLE"),
        (15, "etcdserver: corrupt cluster", "EtcdDataLossError", "DATA_LOSS"),
        (16, "etcdserver: invalid auth token", "EtcdUnauthenticatedError", "UNAUTHENTICATED"),
    ],
)
def test_status_becomes_a_type(code: int, text: str, kind: str, name: str) -> None:
    error = error_from_status(code, text)

    assert type(error).__name__ == kind
    assert str(error) == error.message == text
    assert error.name == name
    assert error.outcome == "not-applied"


def test_status_without_text_still_says_something() -> None:
    assert str(error_from_status(14, "")) == "status 14 without a text"


def test_names_are_unique_and_codes_are_numbers_of_grpc() -> None:
    names = [kind.name for kind in KINDS]

    assert len(set(names)) == len(names) - 1  # EtcdError and EtcdUnknownError share one
    assert all(0 < kind.code <= 16 for kind in KINDS)


def test_only_an_unknown_outcome_is_unknown() -> None:
    assert [kind for kind in KINDS if kind.outcome == "unknown"] == [EtcdOutcomeUnknownError]


def test_one_base_class_and_its_old_name() -> None:
    assert all(issubclass(kind, EtcdError) for kind in KINDS)
    assert errors.EtcetraError is EtcdError
    error = EtcdError("said", {"detail": 1})
    assert (int(error), error.debug_map) == (2, {"detail": 1})


def test_every_class_is_exported_and_drawn_in_the_tree() -> None:
    tree = errors.__doc__
    assert tree is not None
    for kind in KINDS:
        assert kind.__name__ in tree
        assert kind.__name__ in micro_etcd.__all__
