"""Messages, attributes and copies of every error of the tree."""

import copy
import pickle

import httpx
import pytest

from micro_http import (
    CircuitOpenError,
    ClosedError,
    ConfigError,
    DeadlineExceededError,
    LoopChangedError,
    MicroHTTPError,
    TryTimeoutError,
)

TABLE = [
    (ConfigError("invalid x 1: expected 2"), ValueError, "invalid x 1: expected 2"),
    (ClosedError(), RuntimeError, "client is closed"),
    (
        LoopChangedError(),
        RuntimeError,
        "client belongs to another event loop: expected one client per loop",
    ),
    (
        CircuitOpenError("https://a.test", 1.5),
        httpx.TransportError,
        "circuit of 'https://a.test' is open: expected to try again in 1.500 s",
    ),
    (TryTimeoutError(0.5), httpx.TimeoutException, "no answer to this try within 0.5 s"),
    (
        DeadlineExceededError(3),
        httpx.TimeoutException,
        "no answer within the deadline of 3 s over all tries",
    ),
]


@pytest.mark.parametrize(("error", "foreign", "message"), TABLE)
def test_message_and_kinship(error: Exception, foreign: type[Exception], message: str) -> None:
    assert str(error) == message
    assert isinstance(error, MicroHTTPError)
    assert isinstance(error, foreign)


@pytest.mark.parametrize("error", [row[0] for row in TABLE])
def test_errors_survive_pickle_and_deepcopy(error: Exception) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
