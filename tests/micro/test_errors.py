"""Every error of micro with its exact message, and that errors survive pickling."""

from __future__ import annotations

import inspect
import pickle

import pytest

import micro
from micro import _errors

MESSAGES: list[tuple[Exception, str]] = [
    (micro.MicroError("text"), "text"),
    (micro.ConfigError("text"), "text"),
    (micro.ClosedError("text"), "text"),
    (micro.StoppedError("text"), "text"),
    (micro.AlreadyRespondedError("text"), "text"),
    (micro.NoResponseError("text"), "text"),
    (micro.ConnectError("text"), "text"),
    (
        micro.PayloadTooLargeError(11, 10),
        "message of 11 bytes exceeds the server's max_payload of 10",
    ),
    (
        micro.IncompatibleContractError("shop", "place.request", ("customer at /required", "b")),
        "'place.request' of service 'shop' breaks its contract: customer at /required; b",
    ),
    (
        micro.IncompatibleContractError("shop", "place.request", ()),
        "'place.request' of service 'shop' breaks its contract: the registry gives no reason",
    ),
    (
        micro.ContractDriftError("shop", "place", {"A1 (version 2.0.0)": ("x", "y"), "B": ("z",)}),
        "the client does not fit endpoint 'place' of service 'shop': "
        "instance A1 (version 2.0.0): x, y; instance B: z",
    ),
    (
        micro.InvalidAnswerError("a.b", [{"type": "t", "loc": ["items", 0], "msg": "bad"}] * 2),
        "answer from 'a.b' is not of the expected type: items.0: bad and 1 more",
    ),
    (
        micro.InvalidAnswerError("a.b", [{"type": "t", "loc": [], "msg": "bad"}]),
        "answer from 'a.b' is not of the expected type: bad",
    ),
    (
        micro.InvalidAnswerError("a.b", []),
        "answer from 'a.b' is not of the expected type: no reason given",
    ),
    (
        micro.PermissionDeniedError(("a.b", "c"), "service 'x'"),
        "service 'x' may not subscribe to 'a.b', 'c': "
        "grant the user subscribe permission for it, with the queue group if one is bound",
    ),
    (
        micro.StreamCaptureError("orders.add", "AUDIT"),
        "stream 'AUDIT' captures 'orders.add', and its acknowledgement arrived instead of "
        "the answer of the service: exclude the subject from the stream, or set its no_ack",
    ),
    (
        micro.StreamLostError("a.b", "item 3 is missing"),
        "the stream from 'a.b' is broken: item 3 is missing",
    ),
    (micro.JetStreamError(400, 10012, "no"), "JetStream error 10012: no"),
    (micro.NoStreamError("a.b"), "no stream stores 'a.b': create one with the subject"),
    (
        micro.ExpectationError(400, 10071, "wrong last sequence: 3"),
        "JetStream error 10071: wrong last sequence: 3",
    ),
    (micro.Reject("no such customer"), "service error 422: no such customer"),
    (micro.ServiceError(404, "no such thing"), "service error 404: no such thing"),
    (
        micro.ServiceError(404, "no such thing", "shop.find", b"{}", {"X": "1"}),
        "service error 404: no such thing (from 'shop.find')",
    ),
    (micro.RemoteServiceError(0, "zero is a number"), "service error 0: zero is a number"),
]
BUILTINS = [
    (micro.ConfigError, ValueError),
    (micro.ClosedError, RuntimeError),
    (micro.StoppedError, micro.ClosedError),
    (micro.AlreadyRespondedError, RuntimeError),
    (micro.PayloadTooLargeError, ValueError),
    (micro.ConnectError, ConnectionError),
    (micro.InvalidAnswerError, ValueError),
]


@pytest.mark.parametrize(("error", "message"), MESSAGES)
def test_message(error: Exception, message: str) -> None:
    assert str(error) == message


def test_table_of_messages_holds_every_error() -> None:
    errors = {
        value
        for value in vars(_errors).values()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert {type(error) for error, _ in MESSAGES} == errors
    assert {error.__name__ for error in errors} <= set(micro.__all__)


@pytest.mark.parametrize(("error", "message"), MESSAGES)
def test_pickling_keeps_type_message_and_attributes(error: Exception, message: str) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == message
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(("error", "_message"), MESSAGES)
def test_every_error_is_a_micro_error(error: Exception, _message: str) -> None:
    assert isinstance(error, micro.MicroError)


@pytest.mark.parametrize(("error", "builtin"), BUILTINS)
def test_error_can_be_caught_as_the_builtin_it_resembles(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)


def test_docstring_draws_every_error() -> None:
    assert _errors.__doc__ is not None
    for error, _ in MESSAGES:
        assert type(error).__name__ in _errors.__doc__


def test_service_error_keeps_what_it_is_given() -> None:
    headers = {"X": "1"}
    error = micro.ServiceError(409, "taken", "shop.add", b"details", headers)
    headers["X"] = "changed"
    assert (error.code, error.description, error.subject) == (409, "taken", "shop.add")
    assert (error.data, error.headers) == (b"details", {"X": "1"})


def test_service_error_has_empty_defaults() -> None:
    error = micro.ServiceError(409, "taken")
    assert (error.subject, error.data, error.headers) == ("", b"", {})


@pytest.mark.parametrize(
    ("code", "description", "message"),
    [
        (-1, "text", "invalid error code -1: expected a positive number"),
        (0, "text", "invalid error code 0: expected a positive number"),
        (500, "", "invalid error description '': expected one line of text"),
    ],
)
def test_service_error_refuses_what_cannot_be_sent(
    code: int, description: str, message: str
) -> None:
    with pytest.raises(micro.ConfigError) as caught:
        micro.ServiceError(code, description)
    assert str(caught.value) == message


def test_permission_error_names_subjects_and_owner() -> None:
    error = micro.PermissionDeniedError(("a",), "endpoint 'x'")
    assert (error.subjects, error.owner) == (("a",), "endpoint 'x'")


def test_payload_error_tells_size_and_limit() -> None:
    error = micro.PayloadTooLargeError(11, 10)
    assert (error.size, error.limit) == (11, 10)
